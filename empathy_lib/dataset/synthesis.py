"""The synthetic Empathy-QA: posts, answers and Chains of Empathy composed from hand-written fragments.

Knows: how one post, its answers and their chains are put together from the labels that it was given.
Does not know: the fragments themselves (``fragments``, ``data/synthesis/``), or how labels are drawn
(``generate``).

The paper releases no data; composition, strategies, lengths and noise are our choice. A synthetic post is an
exercise object: its labels are true by construction, its language is narrower than that of real people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from empathy_lib.core.coe import ChainOfEmpathy
from empathy_lib.core.copying import COPY_NGRAM
from empathy_lib.core.schema import Answer, Gold, Intent, Item
from empathy_lib.dataset.fragments import Belief, Deck, Fragment, Library, Subtopic, Topic
from empathy_lib.dataset.held_out import HeldOut

QUESTION_CHARS = (130, 220)
ANSWER_CHARS = (110, 220)
LAYER_CHARS = (25, 50)
_OPTIONAL = ("opening", "setting", "turn", "thanks")
_OPTIONAL_SHARE = 0.6


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


def cycle(values: list, rng: np.random.Generator) -> Iterator:
    """The values in a new random order, then in another, without end."""
    while True:
        yield from (values[place] for place in rng.permutation(len(values)))


def _outside(text: str, window: tuple[int, int]) -> float:
    return max(window[0] - len(text), len(text) - window[1], 0)


class Writer:
    """Composes items. Posts and answers have generators of their own, so that a change to one leaves the
    other as it was. ``held``: sentences that only posts with a held-out cause are written with."""

    # A part that says gists of the post back, and what stands in for it where these would copy the post.
    says_back: ClassVar = {
        "ack": ("situation", "plain_ack"),
        "root": ("cause", "support"),
        "belief": ("belief", "plain_belief"),
    }
    # What stands in for a part where there is nobody to settle things with.
    alone: ClassVar = {"talk": "confide"}

    def __init__(
        self,
        library: Library,
        posts: np.random.Generator,
        answers: np.random.Generator,
        held: HeldOut = HeldOut(),  # noqa: B008
    ) -> None:
        self.common, self.held = library.common, held
        self._posts, self._answers = posts, answers
        parts = self.common.question
        self._orders = Deck(["-".join(order) for order in parts.orders], posts)
        self._opening, self._setting = Deck(parts.openings, posts), Deck(parts.settings, posts)
        self._story, self._turn, self._thanks = (
            Deck(parts.stories, posts),
            Deck(parts.turns, posts),
            Deck(parts.thanks, posts),
        )
        self._cause_lead, self._belief_lead = Deck(parts.cause_leads, posts), Deck(parts.belief_leads, posts)
        self._emotion = self._parted(parts.emotions)
        self._question_closing = self._parted(parts.closings)
        own = self.common.answer
        self._shared = {
            "ack": Deck(own.acks, answers),
            "plain_ack": Deck(own.plain_acks, answers),
            "root": Deck(own.roots, answers),
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
        self._answer_orders = {
            s: Deck([",".join(o).replace("|", "/") for o in orders], answers)
            for s, orders in own.orders.items()
        }
        coe = self.common.coe
        self._layers = {"L1": Deck(coe.L1, answers), "L2": Deck(coe.L2, answers), "L3": Deck(coe.L3, answers)}
        self._specific = {intent: Deck(texts, answers) for intent, texts in coe.specifics.items()}
        self._L4 = {strategy: Deck(texts, answers) for strategy, texts in coe.L4.items()}

    def _parted(self, texts: Mapping[str, list[str]]) -> dict[tuple[str, bool], Deck]:
        """Decks by label, and by whether they are for posts that are held out."""
        return {
            (label, unseen): Deck(self.held.kept(templates, unseen=unseen), self._posts)
            for label, templates in texts.items()
            for unseen in (False, True)
        }

    def _unseen(self, latent: Latent) -> bool:
        return latent.cause.text in self.held.causes

    def item(self, latent: Latent, answers_per_question: tuple[int, int]) -> Item:
        """Write a post and its answers; the id is left for :func:`generate`."""
        question = self.question(latent)
        sentences = ("unseen" if self._unseen(latent) else "seen") if self.held.causes else ""
        return Item(
            id="syn",
            question=question,
            topic=latent.topic.name,
            subtopic=latent.subtopic.name,
            answers=self.answers(latent, question, answers_per_question),
            gold=latent.gold.model_copy(update={"sentences": sentences}),
            coe_origin="gold",
        )

    def question(self, latent: Latent) -> str:
        """Write the post: all parts that carry a label, and optional ones while it stays within
        ``QUESTION_CHARS``."""
        order = self._orders.draw().split("-")
        texts = self._labelled(latent)
        if "story" in order:
            texts["story"] = self._story.draw()
        decks = {
            "opening": self._opening,
            "setting": self._setting,
            "turn": self._turn,
            "thanks": self._thanks,
        }
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
        unseen = self._unseen(latent)
        return {
            "situation": latent.situation.text,
            "emotion": self._emotion[latent.emotion, unseen].draw(),
            "cause": self._cause_lead.draw(lambda lead: latent.cause.text.startswith(lead) if lead else 0)
            + latent.cause.text,
            "belief": self._belief_lead.draw() + latent.belief.text,
            "closing": self._question_closing[latent.intent, unseen].draw(),
        }

    def answers(self, latent: Latent, question: str, answers_per_question: tuple[int, int]) -> list[Answer]:
        """Write the answers to a post: each with another strategy while they last, no topic sentence
        twice."""
        grams = {question[start : start + COPY_NGRAM] for start in range(len(question) - COPY_NGRAM + 1)}

        def copied(text: str) -> float:
            return sum(text[i : i + COPY_NGRAM] in grams for i in range(len(text) - COPY_NGRAM + 1))

        pools = {
            "insight": cycle(latent.subtopic.insights, self._answers),
            "advice": cycle(latent.subtopic.advice, self._answers),
            "reframe": cycle([latent.belief.reframe], self._answers),
        }
        fewest, most = answers_per_question
        count = int(self._answers.integers(fewest, most + 1))
        return [
            self._answer(latent, strategy, pools, copied)
            for strategy in self._strategies(latent.intent, count)
        ]

    def _strategies(self, intent: Intent, count: int) -> list[str]:
        weights = {
            strategy: by_intent[intent] for strategy, by_intent in self.common.answer.strategies.items()
        }
        names, drawn = list(weights), []
        while len(drawn) < count:
            # sorting by u^(1/w) draws without replacement in proportion to the weights (Efraimidis and
            # Spirakis 2006)
            keys = self._answers.random(len(names)) ** (1 / np.array(list(weights.values())))
            drawn += [names[place] for place in np.argsort(-keys)]
        return drawn[:count]

    def _answer(
        self, latent: Latent, strategy: str, pools: dict[str, Iterator[str]], copied: Callable[[str], float]
    ) -> Answer:
        fields = latent.gold.model_dump()
        names = self._stand_ins(latent, copied)
        texts: list[str] = []

        def price(text: str) -> float:
            return copied(text) + 100 * (text in texts)

        def write(part: str) -> str:
            return (
                next(pools[part])
                if part in pools
                else self._deck(names.get(part, part), latent, strategy).draw(price, **fields)
            )

        main, extra = (side.strip(",").split(",") for side in self._answer_orders[strategy].draw().split("/"))
        for part in main:
            texts.append(write(part))
        target = int(self._answers.integers(ANSWER_CHARS[0], ANSWER_CHARS[0] + 40))
        while sum(map(len, texts)) < target:
            # support belongs to the acknowledgement, anything else before the farewell
            texts.insert(
                main.index("ack") + 1 if extra[0] == "support" else main.index("closing"), write(extra[0])
            )
        return Answer(text="".join(texts), strategy=strategy, coe=self.chain(latent, strategy))

    def _stand_ins(self, latent: Latent, copied: Callable[[str], float]) -> dict[str, str]:
        """The parts that this post's answers are not written with, and what stands in for each."""
        fields = latent.gold.model_dump()
        names = {} if latent.topic.id in self.common.answer.relational_topics else dict(self.alone)
        return names | {
            part: instead
            for part, (said, instead) in self.says_back.items()
            if any(copied(fields[gist]) for gist in said.split())
        }

    def _deck(self, part: str, latent: Latent, strategy: str) -> Deck:
        return {"bias": self._bias[latent.belief.bias], "closing": self._closing[strategy]}.get(
            part
        ) or self._shared[part]

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
