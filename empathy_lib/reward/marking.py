"""Does a chain say what is true of the post? L1 to L3 marked against the gold labels of synthetic items.

Knows: the marking rule of each label. Does not know: what is paid for them (``chain``), what guessing or
pasting would score (``metrics.coe_levels``), or whether a reply is kind or helpful; L4 has no gold label, its
strategy being a choice. The rules read words, not meaning: "not anxious" counts as naming anxiety, a cause in
other words may be missed, and one that is quoted is found, not understood. All thresholds are our choice; the
paper reports no such accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache

import pandas as pd

from empathy_lib.core.coe import ChainOfEmpathy, parse
from empathy_lib.core.copying import mask_copied_spans
from empathy_lib.core.schema import Gold, Item
from empathy_lib.core.text import visible_length
from empathy_lib.dataset.fragments import load_library
from empathy_lib.dataset.glosses import english
from empathy_lib.dataset.lexicon import load_lexicon
from empathy_lib.dataset.rules.clauses import MAX_QUOTE
from empathy_lib.reward.nearest import Candidate, Nearest, bigrams, squeezed

LAYER_OF = {"L1": "L1", "cause": "L2", "bias": "L2", "belief": "L2", "L3": "L3"}
MARKED = tuple(LAYER_OF)
WITHIN_SUBTOPIC = ("cause_subtopic", "belief_subtopic")
ALL_MARKS = ("L1", "L1_any", "cause", "bias", "belief", *WITHIN_SUBTOPIC, "L3", "gist_recall")
MAX_EMOTIONS = 2
GIST_RECALL = 0.5
NO_GOLD = "no gold labels: only synthetic posts carry them"
# Gold layers have 50 characters at most, those of the rules annotator 63; a post has 130 or more.
MAX_LAYER = 120
# What a layer may quote: of L1 and L3 one clause, of L2 two. Where the sentences of the gold cause and belief
# are known, they may be quoted whole, and so much beside them: the words that lead to them.
MAX_QUOTED = {"L1": MAX_QUOTE, "L2": 2 * MAX_QUOTE, "L3": MAX_QUOTE}
MAX_BESIDE = 16
# Letters that stand in the post's order, in runs of any length: of gold L2 16 at most are of other sentences
# than its own; a post with every third character left out has 70.
MAX_IN_ORDER = 20
# Different letters of the post that a layer's own words may be made of, quotations aside, and their share of
# all its letters. Gold L2: 29 and .83 at most; 25 of the post's keywords: 42 and 1 at least.
MAX_LETTERS, MAX_SHARE, _FEW = 32, 0.9, 8
_OWN_NGRAM = 4


def quoted(layer: str, post: str, own: Sequence[str] = ()) -> int:
    """Characters of ``layer`` that stand in a run of eight or more in ``post``, those of the sentences
    ``own`` not counted; marks and white space hide nothing."""
    text = squeezed(layer)
    for sentence in filter(None, own):
        text = mask_copied_spans(text, squeezed(sentence), _OWN_NGRAM)
    return len(text) - len(mask_copied_spans(text, squeezed(post)))


def in_order(layer: str, post: str) -> int:
    """Letters of ``layer`` that stand in ``post`` in the same order, whatever stands between them: the length
    of their longest common subsequence (bit-parallel, Hyyrö 2004)."""
    a, b = squeezed(layer), squeezed(post)
    places: dict[str, int] = {}
    for place, letter in enumerate(a):
        places[letter] = places.get(letter, 0) | 1 << place
    free = whole = (1 << len(a)) - 1
    for letter in b:
        hit = free & places.get(letter, 0)
        free = ((free + hit) | (free - hit)) & whole
    return len(a) - free.bit_count()


def is_made_of(layer: str, post: str) -> bool:
    """Whether the layer's own words are the post's in another order, such as its keywords: what is left
    without quotations has too many of the post's letters, or hardly another."""
    letters = set(squeezed(mask_copied_spans(layer, post)))
    shared = len(letters & set(squeezed(post)))
    return shared > MAX_LETTERS or (shared >= _FEW and shared > MAX_SHARE * len(letters))


@lru_cache(maxsize=1024)
def _rest(post: str, own: tuple[str, ...]) -> str:
    """The post without the sentences ``own``, a word of which may have been changed."""
    for sentence in own:
        post = mask_copied_spans(post, sentence, _OWN_NGRAM)
    return post


@dataclass(frozen=True)
class Marker:
    """Marks layers by the words of a lexicon and the fragments of a library.

    Args:
        emotions: emotion to all words that name it.
        intents: intent to all phrases of its family.
        biases: bias to its name.
        causes, beliefs: what a layer may speak of; see :meth:`knowing`.
        count_span: whether a layer that is too long, or quotes too much, names nothing.
    """

    emotions: Mapping[str, Sequence[str]]
    intents: Mapping[str, Sequence[str]]
    biases: Mapping[str, str] = field(default_factory=dict)
    causes: Nearest = field(default_factory=Nearest)
    beliefs: Nearest = field(default_factory=Nearest)
    count_span: bool = True

    def knowing(self, golds: Iterable[Gold | None]) -> Marker:
        """With the causes and beliefs of these labels among what a layer may speak of: a user's own are in no
        library."""
        known = [gold for gold in golds if gold is not None]
        return replace(
            self,
            causes=self.causes.knowing(gold.cause for gold in known),
            beliefs=self.beliefs.knowing(gold.belief for gold in known),
        )

    def named_emotions(self, text: str) -> set[str]:
        """Emotions of which any word stands in ``text``."""
        return {emotion for emotion, words in self.emotions.items() if any(word in text for word in words)}

    def named_intents(self, text: str) -> set[str]:
        """Intents of which any phrase stands in ``text``."""
        return {
            intent for intent, phrases in self.intents.items() if any(phrase in text for phrase in phrases)
        }

    def named_biases(self, text: str) -> set[str]:
        """Biases whose name stands in ``text``."""
        return {bias for bias, name in self.biases.items() if name in text}

    def names_emotion(self, text: str, gold: Gold, *, at_most: int | None = MAX_EMOTIONS) -> bool:
        """Whether L1 names the gold emotion, and at most ``at_most`` in all, so that listing every emotion
        earns nothing."""
        named = self.named_emotions(text)
        return gold.emotion in named and (at_most is None or len(named) <= at_most)

    def recalls_gist(self, text: str, gold: Gold) -> bool:
        """Whether at least half of the character bigrams of the gold cause's summary stand in L2."""
        wanted = bigrams(gold.cause)
        return bool(wanted) and len(wanted & bigrams(text)) / len(wanted) >= GIST_RECALL

    def names_bias(self, text: str, gold: Gold) -> bool:
        """Whether L2 names the gold bias (given by key or by name) and no other."""
        wanted = {bias for bias, name in self.biases.items() if gold.bias in (bias, name)}
        return bool(wanted) and self.named_biases(text) == wanted

    def names_intent(self, text: str, gold: Gold) -> bool:
        """Whether L3 names the gold intent and no other."""
        return self.named_intents(text) == {gold.intent}

    def pasted(self, name: str, layer: str, gold: Gold, post: str) -> bool:
        """Whether the layer ``name`` is longer than any honest one by far, or takes more of the post than its
        labels need: in runs, with letters left out, or in another order."""
        if visible_length(layer) > MAX_LAYER:
            return True
        if not post:
            return False
        if is_made_of(layer, post):
            return True
        own = self._own(gold) if name == "L2" else ()
        known = bool(own)
        if quoted(layer, post, own) > (MAX_BESIDE if known else MAX_QUOTED[name]):
            return True
        most = MAX_IN_ORDER if known else MAX_QUOTED[name] + MAX_BESIDE
        return in_order(layer, _rest(post, own) if known else post) > most

    def _own(self, gold: Gold) -> tuple[str, ...]:
        """The sentences that a post says its cause and belief with; empty where they are not known."""
        own = self.causes.sentence(gold.cause), self.beliefs.sentence(gold.belief)
        return own if all(own) else ()

    def mark(self, completion: str, gold: Gold | None, post: str = "") -> dict[str, float]:
        """1.0 or 0.0 for each of :data:`ALL_MARKS`; see :meth:`mark_chain`.

        0.0 everywhere for a completion that is not well-formed, NaN everywhere where there is no gold.
        """
        parsed = parse(completion)
        return self.mark_chain(parsed.coe if parsed else None, gold, post)

    def mark_chain(self, chain: ChainOfEmpathy | None, gold: Gold | None, post: str = "") -> dict[str, float]:
        """Marks of a chain, None being a broken one; NaN where the gold label is empty or not known.

        ``L1_any`` is L1 without the limit on emotions named, and ``gist_recall`` the older rule for the
        cause; both count no span, so pasting the post wins them. Without ``post`` no quotation is seen.
        """
        if gold is None:
            return dict.fromkeys(ALL_MARKS, math.nan)
        layers = chain or ChainOfEmpathy.model_construct(L1="", L2="", L3="", L4="")
        # a layer that pastes names nothing
        l1, l2, l3 = (
            "" if self.count_span and self.pasted(name, text, gold, post) else text
            for name, text in (("L1", layers.L1), ("L2", layers.L2), ("L3", layers.L3))
        )
        own = self._own(gold)
        rest = (_rest(post, own) if own else "") if self.count_span else None
        cause = self.causes.identifies(l2, gold.cause, rest)
        belief = self.beliefs.identifies(l2, gold.belief, rest)
        marks = {
            "L1": self.names_emotion(l1, gold),
            "L1_any": self.names_emotion(layers.L1, gold, at_most=None),
            "cause": cause[0],
            "bias": self.names_bias(l2, gold) if gold.bias else math.nan,
            "belief": belief[0],
            "cause_subtopic": cause[1],
            "belief_subtopic": belief[1],
            "L3": self.names_intent(l3, gold),
            "gist_recall": self.recalls_gist(layers.L2, gold),
        }
        return {name: float(value) for name, value in marks.items()}

    def table(self, items: Sequence[Item], completions: Sequence[str]) -> pd.DataFrame:
        """Marks of the completions, one row an item, the mean over its completions; those of all items
        follow each other, once or several times over."""
        asked = list(items) * (len(completions) // max(1, len(items)))
        marker = self.knowing(item.gold for item in items)
        marks = [marker.mark(c, i.gold, i.question) for i, c in zip(asked, completions, strict=True)]
        frame = pd.DataFrame(marks, columns=list(ALL_MARKS), dtype=float)
        return frame.groupby([item.id for item in asked], sort=False).mean()

    def in_english(self, item: Item, completion: str) -> str:
        """The marks of one completion in English, for readers without Chinese: "emotion sad ✗ · cause ✓ …".

        What it names is said where its words are those of the lexicon. Empty for an item without gold labels.
        """
        if item.gold is None:
            return ""
        parsed = parse(completion)
        if parsed is None:
            return "no label is right: not well-formed"
        marks = self.knowing([item.gold]).mark(completion, item.gold, item.question)
        named = {
            "L1": self.named_emotions(parsed.coe.L1),
            "bias": self.named_biases(parsed.coe.L2),
            "L3": self.named_intents(parsed.coe.L3),
        }
        titles = {"L1": "emotion", "L3": "intent"}
        parts = []
        for name in MARKED:
            said = ", ".join(sorted(map(english, named.get(name, ()))))
            sign = {1.0: "✓", 0.0: "✗"}.get(marks[name], "not available")
            parts.append(" ".join(filter(None, (titles.get(name, name), said, sign))))
        return " · ".join(parts)


@cache
def default_marker() -> Marker:
    """The marker of the dataset's own lexicon and fragments."""
    lexicon = load_lexicon()
    subtopics = [(f"{t.id}/{s.name}", s) for t in load_library().topics for s in t.subtopics]
    return Marker(
        emotions=lexicon.emotions,
        intents={intent: [phrase] for intent, phrase in lexicon.intents.items()},
        biases=lexicon.biases,
        causes=Nearest(Candidate(c.gist, c.text, name) for name, s in subtopics for c in s.causes),
        beliefs=Nearest(Candidate(b.gist, b.text, name) for name, s in subtopics for b in s.beliefs),
    )
