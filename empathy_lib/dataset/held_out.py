"""Which sentences of the synthesis no training post holds, so that a figure can tell reading from recall.

Knows: how causes, emotion sentences and closings are picked. Does not know: how posts are written with them
(``synthesis``), or into which split a post goes (``split``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from empathy_lib.dataset.fragments import Library

OF_EACH_KIND = 2  # sentences held out of those for each emotion, and of the closings for each intent


@dataclass(frozen=True)
class HeldOut:
    """``causes``: sentences of causes; ``sentences``: templates of emotion sentences and closings. All empty:
    nothing is held out."""

    causes: frozenset[str] = frozenset()
    sentences: frozenset[str] = frozenset()

    def kept(self, templates: Sequence[str], *, unseen: bool) -> list[str]:
        """The templates for posts that are held out, or for all others."""
        return [text for text in templates if (text in self.sentences) == unseen]


def hold_out(library: Library, causes_per_topic: int, rng: np.random.Generator) -> HeldOut:
    """Pick ``causes_per_topic`` causes of every topic, each of another sub-topic while they last, and
    :data:`OF_EACH_KIND` sentences of every emotion and intent; nothing at all for 0.

    A post whose cause is held out is written with a held-out emotion sentence and closing, any other post
    with none: so a post is new in all three, or in none.
    """
    if not causes_per_topic:
        return HeldOut()
    causes: set[str] = set()
    for topic in library.topics:
        subtopics = rng.permutation(len(topic.subtopics))[:causes_per_topic]
        for subtopic in (topic.subtopics[place] for place in subtopics):
            causes.add(subtopic.causes[rng.integers(len(subtopic.causes))].text)
    question, long = library.common.question, library.long.question
    decks = (*question.emotions.values(), *question.closings.values(), *long.closings.values())
    return HeldOut(frozenset(causes), frozenset(_picked(decks, rng)))


def _picked(decks: Iterable[Sequence[str]], rng: np.random.Generator) -> Iterable[str]:
    for templates in decks:
        # one must be left for the training posts
        for place in rng.permutation(len(templates))[: min(OF_EACH_KIND, len(templates) - 1)]:
            yield templates[place]
