"""Is what a chain says in the post at all? Emotions and causes that a Chain of Empathy names, looked for in
the question.

Knows: the words of the post. Needs no gold labels, so it works on real posts. Does not know: whether what is
said is true: a chain that repeats a sentence of the post is grounded and may still be wrong (``coe_accuracy``
marks truth, where gold is known). Rules and thresholds are our choice; the paper reports nothing of the kind.
"""

from __future__ import annotations

import math

from empathy_lib.core.coe import parse
from empathy_lib.core.text import content_bigrams
from empathy_lib.dataset.rules.chain import emotion_words
from empathy_lib.metrics.coe_accuracy import default_marker

# Of the gold chains of 120 synthetic validation posts 96 % share this much of L2 with their own post and 6 %
# with another post.
CAUSE_SHARED = 0.08


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
