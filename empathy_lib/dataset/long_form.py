"""Posts of about 200 characters and answers of about 600, PsyQA's lengths: the long variant of the synthetic
Empathy-QA.

Knows: which parts of ``synthesis_long.yaml`` join those of ``common.yaml``, how a text grows to its target.
Does not know: how labels are drawn or chains written; that is ``synthesis``, whose :class:`Writer` it
extends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import ClassVar

import numpy as np

from empathy_lib.core.schema import Answer
from empathy_lib.dataset.fragments import Deck, Library
from empathy_lib.dataset.held_out import HeldOut
from empathy_lib.dataset.synthesis import Latent, Writer

# Where a text stops growing; the last sentence may reach beyond. Measured on PsyQA by its authors: about 200
# and 600 characters.
QUESTION_TARGET = (165, 215)
ANSWER_TARGET = (550, 690)
# of which one names nothing of the post's own, and so would recur too often
_TWO_SENTENCES = re.compile("[。？！].+[。？！]")


class LongWriter(Writer):
    """Composes long items. A part with a "+" in ``synthesis_long.yaml`` is written while the text is shorter
    than its target."""

    says_back: ClassVar = {
        "ack": ("situation", "plain_ack"),
        "belief": ("belief", "plain_belief"),
        "retell": ("situation cause", "support"),
        "source": ("cause", "hear"),
        "echo": ("situation", "hear"),
        "thought": ("belief", "thinking"),
    }
    alone: ClassVar = {"say": "tell"}

    def __init__(
        self,
        library: Library,
        posts: np.random.Generator,
        answers: np.random.Generator,
        held: HeldOut = HeldOut(),  # noqa: B008
    ) -> None:
        super().__init__(library, posts, answers, held)
        question, own = library.long.question, library.long.answer
        self._orders = Deck([",".join(order) for order in question.orders], posts)
        self._question_closing = self._parted(question.closings)
        self._optional = {"opening": self._opening, "setting": self._setting, "turn": self._turn}
        self._optional |= {
            "story": Deck(question.stories, posts),
            "day": Deck(question.days, posts),
            "inner": Deck(question.inner, posts),
        }
        lasting = lambda texts: [text for text in texts if not _TWO_SENTENCES.search(text)]  # noqa: E731
        decks = {
            "ack": lasting(library.common.answer.acks),
            "belief": lasting(library.common.answer.doubts),
            "retell": own.retells,
            "source": own.sources,
            "hear": own.hears,
            "support": own.supports,
            "echo": own.echoes,
            "thought": own.thoughts,
            "thinking": own.thinking,
            "lead": own.leads,
            "leadon": own.leadons,
            "how": own.hows,
            "step": own.steps,
            "pace": own.paces,
            "kind": own.kinds,
            "care": own.cares,
            "say": own.says,
            "tell": own.tells,
        }
        self._shared |= {part: Deck(texts, answers) for part, texts in decks.items()}
        self._bias = {
            bias: Deck(texts + own.bias_extra, answers)
            for bias, texts in library.common.answer.biases.items()
        }
        self._closing = {strategy: Deck(texts, answers) for strategy, texts in own.closings.items()}
        self._answer_orders = {
            s: Deck([",".join(order) for order in orders], answers) for s, orders in own.orders.items()
        }

    def question(self, latent: Latent) -> str:
        """Write the post: all parts that carry a label, and optional ones up to a target drawn from
        ``QUESTION_TARGET``."""
        order, labelled = self._orders.draw().split(","), self._labelled(latent)
        return "".join(
            self._grow(
                order,
                lambda part: labelled.get(part) or self._optional[part].draw(),
                QUESTION_TARGET,
                self._posts,
            )
        )

    def _answer(
        self, latent: Latent, strategy: str, pools: dict[str, Iterator[str]], copied: Callable[[str], float]
    ) -> Answer:
        fields = latent.gold.model_dump()
        # of a pool, after which it has nothing new
        turns = 2 * max(len(latent.subtopic.insights), len(latent.subtopic.advice))
        names = self._stand_ins(latent, copied)
        written: set[str] = set()

        def write(part: str) -> str:
            if part == "/":
                return "\n"
            if part in pools:
                text = next((text for text in islice(pools[part], turns) if text not in written), "")
            else:
                price = lambda text: copied(text) + 100 * (text in written)  # noqa: E731
                text = self._deck(names.get(part, part), latent, strategy).draw(price, **fields)
            written.add(text)
            return text

        order = self._answer_orders[strategy].draw().split(",")
        text = "".join(self._grow(order, write, ANSWER_TARGET, self._answers))
        return Answer(text=text, strategy=strategy, coe=self.chain(latent, strategy))

    @staticmethod
    def _grow(
        order: list[str], write: Callable[[str], str], target: tuple[int, int], rng: np.random.Generator
    ) -> list[str]:
        """The parts of ``order`` in order: those without a "+", and as many of the others, in random turn, as
        the target takes."""
        texts = {place: write(part) for place, part in enumerate(order) if not part.endswith("+")}
        aim = int(rng.integers(*target))
        for place in rng.permutation([place for place, part in enumerate(order) if part.endswith("+")]):
            if sum(map(len, texts.values())) >= aim:
                break
            texts[int(place)] = write(order[place].removesuffix("+"))
        return [texts[place] for place in sorted(texts)]
