"""Is what a chain says in the post at all? Emotions and causes that a Chain of Empathy names, looked for in
the question.

Knows: the words of the post. Needs no gold labels, so it works on real posts. Does not know: whether what is
said is true: a chain that repeats a sentence of the post is grounded and may still be wrong (``marking``
marks truth, where gold is known). Rules and thresholds are our choice; the paper reports nothing of the kind.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache

from empathy_lib.core.coe import ChainOfEmpathy, parse
from empathy_lib.core.text import content_bigrams, visible_length
from empathy_lib.dataset.rules.chain import default_rules, emotion_words
from empathy_lib.dataset.rules.clauses import MAX_QUOTE
from empathy_lib.reward.marking import (
    MAX_BESIDE,
    MAX_EMOTIONS,
    MAX_IN_ORDER,
    MAX_LAYER,
    default_marker,
    in_order,
    is_made_of,
    quoted,
)
from empathy_lib.reward.nearest import squeezed

# Of the gold chains of 120 synthetic validation posts 96 % share this much of L2 with their own post and 6 %
# with another post.
CAUSE_SHARED = 0.08
GROUNDED = ("L1", "L2", "L3")
# A layer may quote so many clauses of the post, each of MIN_QUOTE to MAX_QUOTE letters.
QUOTES = {"L1": 1, "L2": 2, "L3": 1}
MIN_QUOTE = 3
_QUOTE = re.compile("「([^「」]*)」")


def emotion_grounding(l1: str, post: str) -> float:
    """Share of the emotions named in L1 (by a word of the lexicon) that a word of the same emotion, an
    everyday one too, names in the post; 0 to 1.

    NaN where L1 names none: there is nothing to look for.
    """
    named = default_marker().named_emotions(l1)
    words = emotion_words()
    return (
        sum(any(word in post for word in words[emotion]) for emotion in named) / len(named)
        if named
        else math.nan
    )


def cause_grounding(l2: str, post: str) -> float:
    """1.0 if at least :data:`CAUSE_SHARED` of L2's content bigrams stand in the post, else 0.0; NaN where L2
    has none."""
    ours = content_bigrams(l2)
    return float(len(ours & content_bigrams(post)) / len(ours) >= CAUSE_SHARED) if ours else math.nan


def grounding(completion: str, post: str) -> dict[str, float]:
    """``grounding_emotion`` and ``grounding_cause`` of a completion that was asked for a chain.

    0.0 for one that is not well-formed, as in ``coe_accuracy``: else a system would gain by breaking its
    weaker chains. NaN without a post.
    """
    parsed = parse(completion)
    if not post or parsed is None:
        return dict.fromkeys(("grounding_emotion", "grounding_cause"), 0.0 if post else math.nan)
    return {
        "grounding_emotion": emotion_grounding(parsed.coe.L1, post),
        "grounding_cause": cause_grounding(parsed.coe.L2, post),
    }


def grounded_layers(chain: ChainOfEmpathy, post: str) -> dict[str, float]:
    """1.0 or 0.0 for each of :data:`GROUNDED`: does the layer keep to the post?

    All that it quotes (in 「」) stands in the post, is quoted once in the whole chain, and is no longer than
    an honest quotation; beside, it pastes nothing. A layer that quotes nothing shares words with the post, as
    :func:`cause_grounding` has it. L1 names an emotion that the post names, two at most, and none only where
    the rules find none; L2 names one bias at most; L3 exactly one intent. Without gold no more can be
    checked: grounded is not true.
    """
    marker, words, seen = default_marker(), emotion_words(), set()
    found = dict.fromkeys(GROUNDED, 0.0)
    for name in GROUNDED:
        layer = getattr(chain, name)
        said = _QUOTE.sub("", layer)
        emotions = marker.named_emotions(said)
        sound = {
            "L1": len(emotions) <= MAX_EMOTIONS
            and all(any(word in post for word in words[emotion]) for emotion in emotions)
            and bool(emotions or not _names_emotion(post)),
            "L2": len(marker.named_biases(said)) <= 1,
            "L3": len(marker.named_intents(said)) == 1,
        }
        found[name] = float(sound[name] and _keeps_to(post, layer, said, QUOTES[name], seen))
    return found


@lru_cache(maxsize=1024)
def _names_emotion(post: str) -> bool:
    return bool(default_rules().labels(post)[0])


def _keeps_to(post: str, layer: str, said: str, most: int, seen: set[str]) -> bool:
    """Whether what the layer quotes stands in the post, once and not at length; ``seen`` gets the quotes."""
    quotes = [squeezed(quote) for quote in _QUOTE.findall(layer)]
    once = len(quotes) <= most and len(set(quotes)) == len(quotes) and not seen & set(quotes)
    seen |= set(quotes)
    letters = squeezed(post)
    most_letters = min(MAX_QUOTE, len(letters) // 2)  # of a short post a quotation is half at most
    true = all(MIN_QUOTE <= len(quote) <= most_letters and quote in letters for quote in quotes)
    pastes = quoted(said, post) > MAX_BESIDE or in_order(said, post) > MAX_IN_ORDER or is_made_of(said, post)
    if visible_length(layer) > MAX_LAYER or pastes or not (once and true):
        return False
    return bool(quotes) or cause_grounding(said, post) == 1
