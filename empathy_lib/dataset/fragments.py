"""What the synthetic Empathy-QA is written from: the validated contents of ``data/synthesis/``.

Knows: the layout of ``topics/*.yaml`` and ``common.yaml``, what makes them valid, the ``[a|b]`` notation and
how sentences are dealt from a deck. Does not know: how posts and answers are composed (``synthesis``).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from empathy_lib.core.errors import UserError
from empathy_lib.core.schema import Intent, describe
from empathy_lib.dataset.lexicon import SYNTHESIS_DIR, Lexicon, read_yaml

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_FIELD = re.compile(r"\{(\w*)\}")
_FIELDS = {
    "emotion",
    "situation",
    "cause",
    "belief",
    "bias",
    "intent",
    "specific",
    "strategy",
    "wechat",
    "qq",
    "phone",
    "url",
}


def _sentence(text: str) -> str:
    if text[-1] not in "。！？…”":
        raise ValueError(f"'{text}' has no end mark; end it with 。, ！ or ？")
    return text


def _template(text: str) -> str:
    if re.search(r"[\[\]{}]", _FIELD.sub("", _CHOICE.sub("", text))) or set(_FIELD.findall(text)) - _FIELDS:
        raise ValueError(f"'{text}' has an unclosed [ or {{, or an unknown {{field}}")
    return text


Text = Annotated[str, Field(min_length=1)]
Sentence = Annotated[Text, AfterValidator(_sentence)]
Gist = Annotated[str, Field(min_length=2, max_length=22)]
Template = Annotated[str, AfterValidator(_template)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Fragment(_Part):
    """A sentence of the post's story, and its third-person summary."""

    text: Sentence
    gist: Gist


class Belief(Fragment):
    bias: str
    reframe: Sentence


class Subtopic(_Part):
    name: Text
    emotions: Annotated[list[str], Field(min_length=2)]
    situations: Annotated[list[Fragment], Field(min_length=2)]
    causes: Annotated[list[Fragment], Field(min_length=2)]
    beliefs: Annotated[list[Belief], Field(min_length=1)]
    insights: Annotated[list[Sentence], Field(min_length=1)]
    advice: Annotated[list[Sentence], Field(min_length=2)]


class Topic(_Part):
    id: Text
    name: Text
    name_en: Text
    subtopics: Annotated[list[Subtopic], Field(min_length=1)]


class QuestionParts(_Part):
    orders: Annotated[list[list[str]], Field(min_length=1)]
    openings: list[Template]
    settings: list[Template]
    stories: list[Template]
    turns: list[Template]
    cause_leads: list[Template]
    belief_leads: list[Template]
    thanks: list[Template]
    emotions: dict[str, list[Template]]
    closings: dict[Intent, list[Template]]


class AnswerParts(_Part):
    strategies: dict[str, dict[Intent, float]]
    orders: dict[str, list[list[str]]]
    relational_topics: list[str]
    acks: list[Template]
    plain_acks: list[Template]
    roots: list[Template]
    doubts: list[Template]
    plain_doubts: list[Template]
    supports: list[Template]
    biases: dict[str, list[Template]]
    thinking: list[Template]
    leads: list[Template]
    leads2: list[Template]
    paces: list[Template]
    cares: list[Template]
    talks: list[Template]
    confides: list[Template]
    closings: dict[str, list[Template]]


class CoEParts(_Part):
    L1: list[Template]
    L2: list[Template]
    L3: list[Template]
    specifics: dict[Intent, list[Template]]
    L4: dict[str, list[Template]]


class NoiseParts(_Part):
    contacts: dict[str, list[str]]
    advertisements: list[Template]
    shorts: list[Template]
    greetings: list[str]
    word_changes: list[tuple[str, str]]


class LongQuestionParts(_Part):
    orders: Annotated[list[list[str]], Field(min_length=1)]
    days: list[Template]
    inner: list[Template]
    stories: list[Template]
    closings: dict[Intent, list[Template]]


class LongAnswerParts(_Part):
    orders: dict[str, list[list[str]]]
    retells: list[Template]
    sources: list[Template]
    hears: list[Template]
    supports: list[Template]
    echoes: list[Template]
    thoughts: list[Template]
    hows: list[Template]
    steps: list[Template]
    paces: list[Template]
    kinds: list[Template]
    cares: list[Template]
    says: list[Template]
    tells: list[Template]
    leads: list[Template]
    leadons: list[Template]
    closings: dict[str, list[Template]]
    bias_extra: list[Template]
    thinking: list[Template]


class Long(_Part):
    """``synthesis_long.yaml``: what posts and answers of PsyQA's length need beside ``common.yaml``."""

    question: LongQuestionParts
    answer: LongAnswerParts


class Common(_Part):
    """``common.yaml``: all that does not depend on the topic."""

    lexicon: Lexicon
    question: QuestionParts
    answer: AnswerParts
    coe: CoEParts
    noise: NoiseParts

    @model_validator(mode="after")
    def _sections_agree(self) -> Common:
        for section, keys, due in (
            ("question.emotions", self.question.emotions, self.lexicon.emotions),
            ("answer.biases", self.answer.biases, self.lexicon.biases),
            ("answer.orders", self.answer.orders, self.answer.strategies),
            ("answer.closings", self.answer.closings, self.answer.strategies),
            ("coe.L4", self.coe.L4, self.answer.strategies),
        ):
            if set(keys) != set(due):
                raise ValueError(f"{section}: the keys must be {', '.join(due)}")
        return self


class Library(_Part):
    """Everything the synthesis draws from."""

    topics: list[Topic]
    common: Common
    long: Long


def _validated(model: type[BaseModel], path: Path) -> Any:
    try:
        return model.model_validate(read_yaml(path))
    except ValidationError as error:
        raise UserError(f"{path}: {describe(error)}") from error


@lru_cache
def load_library(folder: Path = SYNTHESIS_DIR) -> Library:
    """Read and check ``common.yaml`` and all ``topics/*.yaml`` of ``folder``.

    Raises:
        UserError: names file and field of the first fault.
    """
    common = _validated(Common, folder / "common.yaml")
    long_file = folder.with_name("synthesis_long.yaml")
    long = _validated(Long, long_file)
    for section, keys in (("orders", long.answer.orders), ("closings", long.answer.closings)):
        if set(keys) != set(common.answer.strategies):
            raise UserError(
                f"{long_file}: field 'answer.{section}': the keys must be "
                f"{', '.join(common.answer.strategies)}"
            )
    topics = []
    for path in sorted((folder / "topics").glob("*.yaml")):
        topic = _validated(Topic, path)
        for place, subtopic in enumerate(topic.subtopics):
            where = f"{path}: field 'subtopics.{place}"
            for emotion in set(subtopic.emotions) - set(common.lexicon.emotions):
                raise UserError(f"{where}.emotions': '{emotion}' is not in the lexicon of common.yaml")
            for bias in {belief.bias for belief in subtopic.beliefs} - set(common.lexicon.biases):
                raise UserError(f"{where}.beliefs': bias '{bias}' is not in the lexicon of common.yaml")
        topics.append(topic)
    if not topics:
        raise UserError(f"{folder / 'topics'}: no *.yaml there; restore the topic files from the repository")
    return Library(topics=topics, common=common, long=long)


def alternatives(template: str) -> list[list[str]]:
    """Split a template at its choices: ``"a[b|c]d"`` gives ``[["a"], ["b", "c"], ["d"]]``."""
    return [piece.split("|") if place % 2 else [piece] for place, piece in enumerate(_CHOICE.split(template))]


class Deck:
    """Deals templates in a shuffled cycle, so that each one comes up equally often, and none again
    before a third of the others.

    Args:
        templates: texts in the ``[a|b]`` notation.
        rng: decides the order and every choice.
    """

    def __init__(self, templates: list[str], rng: np.random.Generator) -> None:
        self._cards = [alternatives(template) for template in templates]
        self._rng = rng
        self._pile: list[int] = []
        self._recent: deque[int] = deque(maxlen=len(templates) // 3)

    def draw(self, cost: Callable[[str], float] = lambda text: 0.0, **fields: str) -> str:
        """Deal one text with its ``{fields}`` filled in: the first that costs nothing, or the cheapest of the
        whole deck.

        Cards passed over stay on top of the pile, so a choosy draw does not make the use of the cards uneven.
        """
        passed: list[int] = []
        best, best_cost, best_card = "", float("inf"), -1
        for _ in range(len(self._cards)):
            if not self._pile:
                fresh = [
                    card for card in self._rng.permutation(len(self._cards)).tolist() if card not in passed
                ]
                self._pile = sorted(fresh, key=lambda card: card not in self._recent)
            card = self._pile.pop()
            text = "".join(
                piece[0] if len(piece) == 1 else piece[self._rng.integers(len(piece))]
                for piece in self._cards[card]
            )
            text = text.format_map(fields) if fields else text
            price = cost(text)
            if price < best_cost:
                best, best_cost, best_card = text, price, card
            passed.append(card)
            if price == 0:
                break
        passed.remove(best_card)
        self._recent.append(best_card)
        self._pile.extend(reversed(passed))
        return best
