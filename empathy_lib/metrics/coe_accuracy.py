"""Does a chain say what is true of the post? L1 to L3 marked against the gold labels of synthetic items.

Knows: the marking rule of each layer, and what guessing would score. Does not know: whether a reply is kind
or helpful; L4 has no gold label, its strategy being a choice. The rules read words, not meaning: "not
anxious" counts as naming anxiety, and a paraphrased cause may be missed. All thresholds are our choice; the
paper reports no such accuracy.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from empathy_lib.core.coe import parse
from empathy_lib.core.schema import Gold
from empathy_lib.dataset.lexicon import load_lexicon

MARKED = ("L1", "L2", "L3")
MAX_EMOTIONS = 2
CAUSE_OVERLAP = 0.5
_NOT_TEXT = re.compile(r"[\W_]+")


def _bigrams(text: str) -> set[str]:
    text = _NOT_TEXT.sub("", text)
    return {text[i : i + 2] for i in range(len(text) - 1)} or ({text} if text else set())


@dataclass(frozen=True)
class Marker:
    """Marks layers by the words of a lexicon.

    Args:
        emotions: emotion to all words that name it.
        intents: intent to all phrases of its family.
    """

    emotions: Mapping[str, Sequence[str]]
    intents: Mapping[str, Sequence[str]]

    def named_emotions(self, text: str) -> set[str]:
        """Emotions of which any word stands in ``text``."""
        return {emotion for emotion, words in self.emotions.items() if any(word in text for word in words)}

    def named_intents(self, text: str) -> set[str]:
        """Intents of which any phrase stands in ``text``."""
        return {
            intent for intent, phrases in self.intents.items() if any(phrase in text for phrase in phrases)
        }

    def names_emotion(self, text: str, gold: Gold, *, at_most: int | None = MAX_EMOTIONS) -> bool:
        """Whether L1 names the gold emotion, and at most ``at_most`` in all, so that listing every emotion
        earns nothing."""
        named = self.named_emotions(text)
        return gold.emotion in named and (at_most is None or len(named) <= at_most)

    def names_cause(self, text: str, gold: Gold) -> bool:
        """Whether at least half of the character bigrams of the gold cause's summary stand in L2."""
        wanted = _bigrams(gold.cause)
        return bool(wanted) and len(wanted & _bigrams(text)) / len(wanted) >= CAUSE_OVERLAP

    def names_intent(self, text: str, gold: Gold) -> bool:
        """Whether L3 names the gold intent and no other."""
        return self.named_intents(text) == {gold.intent}

    def mark(self, completion: str, gold: Gold | None) -> dict[str, float]:
        """1.0 or 0.0 for ``L1``, ``L2``, ``L3`` and ``L1_any`` (L1 without the limit on emotions named).

        0.0 everywhere for a completion that is not well-formed, NaN everywhere where there is no gold.
        """
        if gold is None:
            return dict.fromkeys((*MARKED, "L1_any"), math.nan)
        parsed = parse(completion)
        if parsed is None:
            return dict.fromkeys((*MARKED, "L1_any"), 0.0)
        return {
            "L1": float(self.names_emotion(parsed.coe.L1, gold)),
            "L2": float(self.names_cause(parsed.coe.L2, gold)),
            "L3": float(self.names_intent(parsed.coe.L3, gold)),
            "L1_any": float(self.names_emotion(parsed.coe.L1, gold, at_most=None)),
        }


def default_marker() -> Marker:
    """The marker of the dataset's own lexicon."""
    lexicon = load_lexicon()
    return Marker(
        emotions=lexicon.emotions, intents={intent: [phrase] for intent, phrase in lexicon.intents.items()}
    )


def constant_guess(golds: Sequence[Gold | None], marker: Marker) -> dict[str, float]:
    """What one and the same chain for every post would score: the best single emotion, cause and intent for
    these golds.

    An upper bound of guessing, since the best label is picked knowing the golds. NaN where no gold is known.
    """
    known = [gold for gold in golds if gold is not None]
    if not known:
        return dict.fromkeys(MARKED, math.nan)
    share = lambda hits: float(np.mean(hits))  # noqa: E731
    return {
        "L1": max(
            share([gold.emotion == label for gold in known]) for label in {gold.emotion for gold in known}
        ),
        "L2": max(
            share([marker.names_cause(cause, gold) for gold in known])
            for cause in {gold.cause for gold in known}
        ),
        "L3": max(
            share([gold.intent == label for gold in known]) for label in {gold.intent for gold in known}
        ),
    }


def shuffled_chains(
    completions: Sequence[str], golds: Sequence[Gold | None], marker: Marker
) -> dict[str, float]:
    """What a system's chains score against the golds of *other* posts: the exact mean over all mismatched
    pairs.

    A system above this reads the post; a system at it writes chains that fit any post. NaN with fewer than
    two golds.
    """
    known = [
        (completion, gold) for completion, gold in zip(completions, golds, strict=True) if gold is not None
    ]
    if len(known) < 2:
        return dict.fromkeys(MARKED, math.nan)
    marks = [
        marker.mark(completion, gold)
        for i, (completion, _) in enumerate(known)
        for j, (_, gold) in enumerate(known)
        if i != j
    ]
    return {layer: float(np.mean([mark[layer] for mark in marks])) for layer in MARKED}
