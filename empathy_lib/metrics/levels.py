"""What scores are held against: a human level, and an answer that any post of its kind could get.

Knows: items. Does not know: how an answer is scored (``scoring``). Where every system is scored on the same
references as the human level, their rows can be compared; both levels are our choice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from empathy_lib.core import coe
from empathy_lib.core.schema import Item
from empathy_lib.metrics.scoring import Example


def human_level(items: Sequence[Item], rng: np.random.Generator) -> tuple[list[Example], list[Item]]:
    """One reference of each item, drawn at random, answers; what is left is what everybody is scored on.

    Returns:
        The examples of the human level, and the items with the other references, for every system. Of an item
        with one reference the systems keep it; the human level then has none, so its scores against
        references are not available, but reward, copy rate and length are.
    """
    examples, scored_on = [], []
    for item in items:
        drawn = int(rng.integers(len(item.answers)))
        answer = item.answers[drawn]
        completion = coe.render(answer.coe, answer.text) if answer.coe else answer.text
        others = [other for place, other in enumerate(item.answers) if place != drawn]
        texts = [other.text for other in others]
        examples.append(Example(item.id, item.question, completion, texts, item.gold, answer.coe is not None))
        scored_on.append(item.model_copy(update={"answers": others}) if others else item)
    return examples, scored_on


def answers_of_the_kind(items: Sequence[Item], pool: Sequence[Item], rng: np.random.Generator) -> list[str]:
    """For each item an answer to a random other post of its sub-topic in ``pool``; of its topic, or of any,
    where there is none. What a system must beat to have read the post."""
    found = []
    for item in items:
        others = [other for other in pool if other.id != item.id]
        same_topic = [other for other in others if item.topic and other.topic == item.topic]
        same = [other for other in same_topic if item.subtopic and other.subtopic == item.subtopic]
        choice = same or same_topic or others
        other = choice[int(rng.integers(len(choice)))]
        found.append(other.references[int(rng.integers(len(other.references)))])
    return found
