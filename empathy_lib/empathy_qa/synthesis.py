"""The synthetic Empathy-QA: posts, answers and Chains of Empathy composed from hand-written fragments.

Knows: how latent labels are drawn, how a post, its answers and their chains are put together, which noise is planted.
Does not know: the fragments themselves (``fragments``, ``data/synthesis/``) or how noise is found again (``cleaning``).

The paper releases no data; composition, strategies, lengths and noise are our choice. A synthetic post is an exercise object:
its labels are true by construction, its language is narrower than that of real people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import get_args

import numpy as np

from empathy_lib.artefacts import generator
from empathy_lib.coe import ChainOfEmpathy
from empathy_lib.config import DatasetConfig
from empathy_lib.copying import COPY_NGRAM
from empathy_lib.empathy_qa.fragments import Belief, Deck, Fragment, Library, Subtopic, Topic, load_library
from empathy_lib.empathy_qa.schema import Answer, Gold, Intent, Item

QUESTION_CHARS = (130, 220)
ANSWER_CHARS = (110, 220)
LAYER_CHARS = (25, 50)
_OPTIONAL = ("opening", "setting", "turn", "thanks")
_OPTIONAL_SHARE = 0.6
_CHANGES = 3  # most places a near-duplicate differs in, few enough that it stays near


@dataclass(frozen=True)
class Latent:
    """The labels an item is generated from, with the fragments that carry them."""

    topic: Topic
    subtopic: Subtopic
    situation: Fragment
    cause: Fragment
    belief: Belief
    emotion: str
    intent: Intent

    @property
    def gold(self) -> Gold:
        return Gold(
            emotion=self.emotion,
            situation=self.situation.gist,
            cause=self.cause.gist,
            belief=self.belief.gist,
            bias=self.belief.bias,
            intent=self.intent,
        )


def generate(config: DatasetConfig, seed: int, library: Library | None = None) -> list[Item]:
    """Write a synthetic Empathy-QA.

    Args:
        config: ``questions``, ``answers_per_question`` and the three noise rates are read.
        seed: the same seed gives the same items, on every machine.
        library: the fragments; None reads ``data/synthesis/``.

    Returns:
        ``questions`` items and ``duplicate_rate`` times as many duplicates, shuffled, with ids ``syn-000001`` on. Clean items
        do not depend on the noise rates (their order and ids do).

    Raises:
        UserError: a file of ``data/synthesis/`` is missing or faulty.
    """
    library = library or load_library()
    latents = list(plan(library, config.questions, generator(seed, "synthesis/plan")))
    kind = writer_of(config)
    writer = kind(library, generator(seed, "synthesis/posts"), generator(seed, "synthesis/answers"))
    items = [writer.item(latent, config.answers_per_question) for latent in latents]
    noise = Noise(library)
    answers = sum(len(item.answers) for item in items)
    extra = list(noise.duplicates(items, latents, config, generator(seed, "synthesis/duplicates")))
    noise.advertisements(items, round(config.advertisement_rate * answers), generator(seed, "synthesis/advertisements"))
    noise.shorts(items, round(config.short_answer_rate * answers), generator(seed, "synthesis/shorts"))
    items += extra
    order = generator(seed, "synthesis/order").permutation(len(items))
    for number, place in enumerate(order, 1):
        items[place].id = f"syn-{number:06d}"
    return [items[place] for place in order]


def writer_of(config: DatasetConfig) -> type[Writer]:
    """Who writes posts and answers of the configuration's length."""
    from empathy_lib.empathy_qa.long_form import LongWriter  # here, since it builds on this module

    return LongWriter if config.answer_length == "long" else Writer


def plan(library: Library, count: int, rng: np.random.Generator) -> Iterator[Latent]:
    """Draw the labels of ``count`` items: topics in turn, each topic's sub-topics in turn, their :func:`combinations` in turn."""
    subtopics = {topic.id: _cycle(topic.subtopics, rng) for topic in library.topics}
    combos = {(t.id, s.name): combinations(s, rng) for t in library.topics for s in t.subtopics}
    emotions = {(t.id, s.name): _cycle(s.emotions, rng) for t in library.topics for s in t.subtopics}
    topics = _cycle(library.topics, rng)
    for _ in range(count):
        topic = next(topics)
        subtopic = next(subtopics[topic.id])
        key = (topic.id, subtopic.name)
        situation, cause, belief, intent = next(combos[key])
        yield Latent(topic, subtopic, situation, cause, belief, next(emotions[key]), intent)


def _cycle(values: list, rng: np.random.Generator) -> Iterator:
    while True:
        yield from (values[place] for place in rng.permutation(len(values)))


def combinations(subtopic: Subtopic, rng: np.random.Generator) -> Iterator[tuple[Fragment, Fragment, Belief, Intent]]:
    """All (situation, cause, belief, intent) of a sub-topic without replacement, then all of them again, and so on.

    The next one is always the combination whose pairs of parts were used least so far (ties by chance), so that few items share two
    or more fragments.
    """
    parts = [subtopic.situations, subtopic.causes, subtopic.beliefs, list(get_args(Intent))]
    grid = np.array(list(product(*(range(len(part)) for part in parts))))
    pairs = [(a, b) for a in range(4) for b in range(a)]
    # one identifier per (group of columns, their values); a shared story weighs more than a shared pair, that more than one with the intent
    groups = [(0, 1, 2), *pairs]
    weights = np.array([64.0 if len(group) == 3 else 1.0 if 3 in group else 4.0 for group in groups])
    keys = np.stack([np.ravel_multi_index(grid[:, group].T, [len(parts[column]) for column in group]) for group in groups], axis=1)
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


def _outside(text: str, window: tuple[int, int]) -> float:
    return max(window[0] - len(text), len(text) - window[1], 0)


class Writer:
    """Composes items. Posts and answers have generators of their own, so that a change to one leaves the other as it was."""

    def __init__(self, library: Library, posts: np.random.Generator, answers: np.random.Generator) -> None:
        self.common = library.common
        self._posts, self._answers = posts, answers
        parts = self.common.question
        self._orders = Deck(["-".join(order) for order in parts.orders], posts)
        self._opening, self._setting = Deck(parts.openings, posts), Deck(parts.settings, posts)
        self._story, self._turn, self._thanks = Deck(parts.stories, posts), Deck(parts.turns, posts), Deck(parts.thanks, posts)
        self._cause_lead, self._belief_lead = Deck(parts.cause_leads, posts), Deck(parts.belief_leads, posts)
        self._emotion = {emotion: Deck(texts, posts) for emotion, texts in parts.emotions.items()}
        self._question_closing = {intent: Deck(texts, posts) for intent, texts in parts.closings.items()}
        own = self.common.answer
        self._shared = {
            "ack": Deck(own.acks, answers),
            "plain_ack": Deck(own.plain_acks, answers),
            "belief": Deck(own.doubts, answers),
            "plain_belief": Deck(own.plain_doubts, answers),
            "support": Deck(own.supports, answers),
            "thinking": Deck(own.thinking, answers),
            "lead": Deck(own.leads, answers),
            "lead2": Deck(own.leads2, answers),
            "pace": Deck(own.paces, answers),
            "care": Deck(own.cares, answers),
            "talk": Deck(own.talks, answers),
            "confide": Deck(own.confides, answers),
        }
        self._bias = {bias: Deck(texts, answers) for bias, texts in own.biases.items()}
        self._closing = {strategy: Deck(texts, answers) for strategy, texts in own.closings.items()}
        self._answer_orders = {s: Deck([",".join(o).replace("|", "/") for o in orders], answers) for s, orders in own.orders.items()}
        coe = self.common.coe
        self._layers = {"L1": Deck(coe.L1, answers), "L2": Deck(coe.L2, answers), "L3": Deck(coe.L3, answers)}
        self._specific = {intent: Deck(texts, answers) for intent, texts in coe.specifics.items()}
        self._L4 = {strategy: Deck(texts, answers) for strategy, texts in coe.L4.items()}

    def item(self, latent: Latent, answers_per_question: tuple[int, int]) -> Item:
        """Write a post and its answers; the id is left for :func:`generate`."""
        question = self.question(latent)
        return Item(
            id="syn",
            question=question,
            topic=latent.topic.name,
            subtopic=latent.subtopic.name,
            answers=self.answers(latent, question, answers_per_question),
            gold=latent.gold,
            coe_origin="gold",
        )

    def question(self, latent: Latent) -> str:
        """Write the post: all parts that carry a label, and optional ones while it stays within ``QUESTION_CHARS``."""
        order = self._orders.draw().split("-")
        texts = self._labelled(latent)
        if "story" in order:
            texts["story"] = self._story.draw()
        decks = {"opening": self._opening, "setting": self._setting, "turn": self._turn, "thanks": self._thanks}
        optional = [part for part in order if part in _OPTIONAL]
        for place in self._posts.permutation(len(optional)):
            part, length = optional[place], sum(map(len, texts.values()))
            if length < QUESTION_CHARS[0] or self._posts.random() < _OPTIONAL_SHARE:
                text = decks[part].draw()
                if length + len(text) <= QUESTION_CHARS[1]:
                    texts[part] = text
        return "".join(texts[part] for part in order if part in texts)

    def _labelled(self, latent: Latent) -> dict[str, str]:
        """The parts of a post that carry a label."""
        return {
            "situation": latent.situation.text,
            "emotion": self._emotion[latent.emotion].draw(),
            "cause": self._cause_lead.draw(lambda lead: latent.cause.text.startswith(lead) if lead else 0) + latent.cause.text,
            "belief": self._belief_lead.draw() + latent.belief.text,
            "closing": self._question_closing[latent.intent].draw(),
        }

    def answers(self, latent: Latent, question: str, answers_per_question: tuple[int, int]) -> list[Answer]:
        """Write the answers to a post: each with another strategy while they last, no topic sentence twice."""
        grams = {question[start : start + COPY_NGRAM] for start in range(len(question) - COPY_NGRAM + 1)}
        copied = lambda text: sum(text[i : i + COPY_NGRAM] in grams for i in range(len(text) - COPY_NGRAM + 1))  # noqa: E731
        pools = {
            "insight": _cycle(latent.subtopic.insights, self._answers),
            "advice": _cycle(latent.subtopic.advice, self._answers),
            "reframe": _cycle([latent.belief.reframe], self._answers),
        }
        fewest, most = answers_per_question
        count = int(self._answers.integers(fewest, most + 1))
        return [self._answer(latent, strategy, pools, copied) for strategy in self._strategies(latent.intent, count)]

    def _strategies(self, intent: Intent, count: int) -> list[str]:
        weights = {strategy: by_intent[intent] for strategy, by_intent in self.common.answer.strategies.items()}
        names, drawn = list(weights), []
        while len(drawn) < count:
            # sorting by u^(1/w) draws without replacement in proportion to the weights (Efraimidis and Spirakis 2006)
            keys = self._answers.random(len(names)) ** (1 / np.array(list(weights.values())))
            drawn += [names[place] for place in np.argsort(-keys)]
        return drawn[:count]

    def _answer(self, latent: Latent, strategy: str, pools: dict[str, Iterator[str]], copied: Callable[[str], float]) -> Answer:
        fields = {"emotion": latent.emotion, "situation": latent.situation.gist, "belief": latent.belief.gist}
        names = {} if latent.topic.id in self.common.answer.relational_topics else {"talk": "confide"}
        # a gist that repeats the post's own words is left out of the answer
        names |= {part: f"plain_{part}" for part, field in (("ack", "situation"), ("belief", "belief")) if copied(fields[field])}
        texts: list[str] = []

        def price(text: str) -> float:
            return copied(text) + 100 * (text in texts)

        def write(part: str) -> str:
            return next(pools[part]) if part in pools else self._deck(names.get(part, part), latent, strategy).draw(price, **fields)

        main, extra = (side.strip(",").split(",") for side in self._answer_orders[strategy].draw().split("/"))
        for part in main:
            texts.append(write(part))
        target = int(self._answers.integers(ANSWER_CHARS[0], ANSWER_CHARS[0] + 40))
        while sum(map(len, texts)) < target:
            # support belongs to the acknowledgement, anything else before the farewell
            texts.insert(main.index("ack") + 1 if extra[0] == "support" else main.index("closing"), write(extra[0]))
        return Answer(text="".join(texts), strategy=strategy, coe=self.chain(latent, strategy))

    def _deck(self, part: str, latent: Latent, strategy: str) -> Deck:
        return {"bias": self._bias[latent.belief.bias], "closing": self._closing[strategy]}.get(part) or self._shared[part]

    def chain(self, latent: Latent, strategy: str) -> ChainOfEmpathy:
        """Write the four layers; each holds its gold words as they are."""
        fields = {
            "emotion": latent.emotion,
            "situation": latent.situation.gist,
            "cause": latent.cause.gist,
            "belief": latent.belief.gist,
            "bias": self.common.lexicon.biases[latent.belief.bias],
            "intent": self.common.lexicon.intents[latent.intent],
            "strategy": strategy,
        }
        fields["specific"] = self._specific[latent.intent].draw(**fields)
        fits = lambda text: _outside(text, LAYER_CHARS)  # noqa: E731
        layers = {name: deck.draw(fits, **fields) for name, deck in self._layers.items()}
        return ChainOfEmpathy(**layers, L4=self._L4[strategy].draw(fits, **fields))


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

    def duplicates(self, items: list[Item], latents: list[Latent], config: DatasetConfig, rng: np.random.Generator) -> Iterator[Item]:
        """Repeat random posts exactly or nearly, as people do who post twice; the answers are others."""
        writer = writer_of(config)(self.library, rng, rng)
        kinds = _cycle([lambda text, rng: text, self._repunctuate, self._reword, self._greet], rng)
        for place in rng.permutation(len(items))[: round(config.duplicate_rate * len(items))]:
            question = next(kinds)(items[place].question, rng)
            answers = writer.answers(latents[place], question, config.answers_per_question)
            yield items[place].model_copy(update={"question": question, "answers": answers, "noise": "duplicate"})

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


__all__ = ["Latent", "Noise", "Writer", "combinations", "generate", "plan"]
