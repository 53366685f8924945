"""A whole synthetic Empathy-QA: which labels are drawn, who writes the posts, which noise is planted among
them.

Knows: the plan of labels, the two writers, the kinds of noise. Does not know: how a post is worded
(``synthesis``, ``long_form``), or how noise is found again (``cleaning``).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import get_args

import numpy as np

from empathy_lib.core.config import DatasetConfig
from empathy_lib.core.run import generator
from empathy_lib.core.schema import Answer, Intent, Item
from empathy_lib.dataset.fragments import Belief, Deck, Fragment, Library, Subtopic, load_library
from empathy_lib.dataset.held_out import hold_out
from empathy_lib.dataset.long_form import LongWriter
from empathy_lib.dataset.synthesis import Latent, Writer, cycle

_CHANGES = 3  # most places a near-duplicate differs in, few enough that it stays near


def generate(config: DatasetConfig, seed: int, library: Library | None = None) -> list[Item]:
    """Write a synthetic Empathy-QA.

    Args:
        config: ``questions``, ``answers_per_question``, ``held_out_causes`` and the three noise rates are
            read.
        seed: the same seed gives the same items, on every machine.
        library: the fragments; None reads ``data/synthesis/``.

    Returns:
        ``questions`` items and ``duplicate_rate`` times as many duplicates, shuffled, with ids ``syn-000001``
        on. Clean items do not depend on the noise rates (their order and ids do).

    Raises:
        UserError: a file of ``data/synthesis/`` is missing or faulty.
    """
    library = library or load_library()
    latents = list(plan(library, config.questions, generator(seed, "synthesis/plan")))
    held = hold_out(library, config.held_out_causes, generator(seed, "synthesis/held out"))
    kind = writer_of(config)
    writer = kind(library, generator(seed, "synthesis/posts"), generator(seed, "synthesis/answers"), held)
    items = [writer.item(latent, config.answers_per_question) for latent in latents]
    noise = Noise(library)
    answers = sum(len(item.answers) for item in items)
    extra = list(noise.duplicates(items, latents, config, generator(seed, "synthesis/duplicates")))
    noise.advertisements(
        items, round(config.advertisement_rate * answers), generator(seed, "synthesis/advertisements")
    )
    noise.shorts(items, round(config.short_answer_rate * answers), generator(seed, "synthesis/shorts"))
    items += extra
    order = generator(seed, "synthesis/order").permutation(len(items))
    for number, place in enumerate(order, 1):
        items[place].id = f"syn-{number:06d}"
    return [items[place] for place in order]


def writer_of(config: DatasetConfig) -> type[Writer]:
    """Who writes posts and answers of the configuration's length."""
    return LongWriter if config.answer_length == "long" else Writer


def plan(library: Library, count: int, rng: np.random.Generator) -> Iterator[Latent]:
    """Draw the labels of ``count`` items: topics in turn, each topic's sub-topics in turn, their
    :func:`combinations` in turn."""
    subtopics = {topic.id: cycle(topic.subtopics, rng) for topic in library.topics}
    combos = {(t.id, s.name): combinations(s, rng) for t in library.topics for s in t.subtopics}
    emotions = {(t.id, s.name): cycle(s.emotions, rng) for t in library.topics for s in t.subtopics}
    topics = cycle(library.topics, rng)
    for _ in range(count):
        topic = next(topics)
        subtopic = next(subtopics[topic.id])
        key = (topic.id, subtopic.name)
        situation, cause, belief, intent = next(combos[key])
        yield Latent(topic, subtopic, situation, cause, belief, next(emotions[key]), intent)


def combinations(
    subtopic: Subtopic, rng: np.random.Generator
) -> Iterator[tuple[Fragment, Fragment, Belief, Intent]]:
    """All (situation, cause, belief, intent) of a sub-topic without replacement, then all of them again, and
    so on.

    The next one is always the combination whose pairs of parts were used least so far (ties by chance), so
    that few items share two or more fragments.
    """
    parts = [subtopic.situations, subtopic.causes, subtopic.beliefs, list(get_args(Intent))]
    grid = np.array(list(product(*(range(len(part)) for part in parts))))
    pairs = [(a, b) for a in range(4) for b in range(a)]
    # one identifier per (group of columns, their values); a shared story weighs more than a shared pair, that
    # more than one with the intent
    groups = [(0, 1, 2), *pairs]
    weights = np.array([64.0 if len(group) == 3 else 1.0 if 3 in group else 4.0 for group in groups])
    keys = np.stack(
        [
            np.ravel_multi_index(grid[:, group].T, [len(parts[column]) for column in group])
            for group in groups
        ],
        axis=1,
    )
    keys += np.arange(len(groups)) * (keys.max() + 1)
    used = np.zeros(keys.max() + 1)
    while True:
        free = np.ones(len(grid), dtype=bool)
        while free.any():
            price = used[keys] @ weights + rng.random(len(grid)) * 0.5
            row = int(np.argmin(np.where(free, price, np.inf)))
            free[row] = False
            used[keys[row]] += 1
            yield tuple(part[place] for part, place in zip(parts, grid[row], strict=True))


class Noise:
    """Plants what cleaning and deduplication must find; every kind has a generator of its own."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.parts = library.common.noise

    def advertisements(self, items: list[Item], count: int, rng: np.random.Generator) -> None:
        """Add ``count`` advertisements to random items, with made-up contact data."""
        deck = Deck(self.parts.advertisements, rng)
        contacts = {kind: Deck(values, rng) for kind, values in self.parts.contacts.items()}
        for _ in range(count):
            text = deck.draw(**{kind: values.draw() for kind, values in contacts.items()})
            self._insert(items, Answer(text=text, noise="advertisement"), rng)

    def shorts(self, items: list[Item], count: int, rng: np.random.Generator) -> None:
        """Add ``count`` answers that are too short to help to random items."""
        deck = Deck(self.parts.shorts, rng)
        for _ in range(count):
            self._insert(items, Answer(text=deck.draw(), noise="short"), rng)

    def _insert(self, items: list[Item], answer: Answer, rng: np.random.Generator) -> None:
        answers = items[rng.integers(len(items))].answers
        answers.insert(int(rng.integers(len(answers) + 1)), answer)

    def duplicates(
        self, items: list[Item], latents: list[Latent], config: DatasetConfig, rng: np.random.Generator
    ) -> Iterator[Item]:
        """Repeat random posts exactly or nearly, as people do who post twice; the answers are others."""
        writer = writer_of(config)(self.library, rng, rng)
        kinds = cycle([lambda text, rng: text, self._repunctuate, self._reword, self._greet], rng)
        for place in rng.permutation(len(items))[: round(config.duplicate_rate * len(items))]:
            question = next(kinds)(items[place].question, rng)
            answers = writer.answers(latents[place], question, config.answers_per_question)
            yield items[place].model_copy(
                update={"question": question, "answers": answers, "noise": "duplicate"}
            )

    def _repunctuate(self, text: str, rng: np.random.Generator) -> str:
        marks = [place for place, char in enumerate(text) if char in "，。"]
        for place in sorted(rng.permutation(marks)[:_CHANGES], reverse=True):
            new = {"，": (" ", "。", "，，"), "。": ("！", "\n", "……")}[text[place]][rng.integers(3)]
            text = text[:place] + new + text[place + 1 :]
        return text

    def _reword(self, text: str, rng: np.random.Generator) -> str:
        changes = [pair for pair in self.parts.word_changes if pair[0] in text]
        for place in rng.permutation(len(changes))[:_CHANGES]:
            text = text.replace(*changes[place], 1)
        return text if changes else self._greet(text, rng)

    def _greet(self, text: str, rng: np.random.Generator) -> str:
        return self.parts.greetings[rng.integers(len(self.parts.greetings))] + text
