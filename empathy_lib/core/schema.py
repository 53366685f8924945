"""The one record layout of Empathy-QA, shared by every source, stage and notebook.

Knows: the fields of an item, what makes a record valid, how items are read from and written to JSONL.
Does not know: where items come from (``sources``, ``synthesis``) or what is done to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from empathy_lib.core.coe import LAYERS, ChainOfEmpathy
from empathy_lib.core.errors import UserError
from empathy_lib.core.json_text import decode, nearest_name, parse_json

Intent = Literal["validated", "understood", "advice"]
Record = TypeVar("Record", bound=BaseModel)


class Gold(BaseModel):
    """The latent labels a synthetic item was generated from: the key that CoE accuracy is marked against."""

    model_config = ConfigDict(extra="forbid")
    emotion: str = Field(description="primary emotion, a word of the emotion lexicon (L1)")
    situation: str = Field(description="third-person summary of the situation (L1)")
    cause: str = Field(description="third-person summary of the cause (L2)")
    belief: str = Field(description="third-person summary of the belief (L2)")
    bias: str = Field(description="cognitive bias behind the belief (L2)")
    intent: Intent = Field(description="the kind of support sought (L3)")
    sentences: Literal["", "seen", "unseen"] = Field(
        "",
        description="unseen: no training post holds this post's cause, emotion sentence or closing; seen: a "
        "training post may; empty: nothing was held out",
    )


class Answer(BaseModel):
    """One reference answer. ``coe`` holds the four layers that lead to *this* answer (L4 is its strategy)."""

    model_config = ConfigDict(extra="forbid")
    text: str
    strategy: str = ""
    coe: ChainOfEmpathy | None = None
    noise: str = Field(
        "", description="kind of noise planted by the synthesis; empty for a clean or real answer"
    )


class Item(BaseModel):
    """One help-seeking post with all of its reference answers (paper section 'Empathy-QA')."""

    model_config = ConfigDict(extra="forbid")
    id: str
    question: str
    topic: str = ""
    subtopic: str = ""
    answers: list[Answer]
    gold: Gold | None = None
    source: str = "synthetic"
    coe_origin: Literal["", "gold", "rules", "teacher"] = ""
    noise: str = Field(
        "", description="kind of noise planted in the question; empty for a clean or real item"
    )
    crisis: int = Field(
        0,
        ge=0,
        le=3,
        exclude_if=lambda level: not level,
        description="level of the crisis gate (empathy_lib.core.crisis); left out where it is 0",
    )

    @field_validator("question")
    @classmethod
    def _question_has_text(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("is empty; give the post's text")
        return value

    @property
    def references(self) -> list[str]:
        """Texts of all reference answers."""
        return [answer.text for answer in self.answers]


def write_jsonl(items: Iterable[BaseModel], path: Path) -> int:
    """Write one item (or other record) a line (UTF-8); return how many."""
    count = 0
    with Path(path).open("w", encoding="utf-8") as handle:
        for item in items:
            handle.write(jsonl_line(item))
            count += 1
    return count


def jsonl_line(item: BaseModel) -> str:
    """An item (or other record) as :func:`write_jsonl` writes it; defaults too: a reader need not know
    ours."""
    return item.model_dump_json(exclude_none=True) + "\n"


def iter_jsonl(path: Path, model: type[Record] = Item, layout: str = "") -> Iterator[tuple[int, Record]]:
    """Yield ``(line number, item)``, or another record by its ``model``; ``layout`` says in an error what a
    line looks like.

    Raises:
        UserError: a line is no JSON, holds half a character, breaks the schema, or has a misspelt field where
            a known one is not given; names file, line, field and remedy.
    """
    with Path(path).open("rb") as handle:
        for number, raw in enumerate(handle, 1):
            where = f"{path}, line {number}"
            line = decode(raw, where)
            if not line.strip():
                continue
            value = parse_json(line, where, "each line must be one JSON object")
            if not isinstance(value, dict):
                kind = "a JSON list" if isinstance(value, list) else "no JSON object"
                raise UserError(f"{where}: field 'record': {kind}; write one JSON object a line{layout}")
            _refuse_misspelt(value, model, where)
            try:
                record = model.model_validate(value)
            except ValidationError as error:
                raise UserError(f"{where}: {describe(error)}{layout}") from error
            yield number, record


def _refuse_misspelt(value: dict, model: type[BaseModel], where: str) -> None:
    """A field that is left out costs nothing but what it was for, so a misspelt one would be lost in
    silence."""
    absent = [name for name in model.model_fields if name not in value]
    for name in value:
        if name not in model.model_fields and (meant := nearest_name(name, absent)):
            raise UserError(f"{where}: field '{name}': no such field; did you mean {meant}?")


def read_jsonl(path: Path) -> list[Item]:
    """Read a whole JSONL file of items; see :func:`iter_jsonl` for the errors."""
    return [item for _, item in iter_jsonl(path)]


def describe(error: ValidationError) -> str:
    """Say the first fault of a pydantic error as ``field 'a.b': reason`` on one line."""
    field, reason = first_fault(error)
    return f"field '{field}': {reason}"


def first_fault(error: ValidationError) -> tuple[str, str]:
    """The first fault of a pydantic error as ``("a.b", reason)``."""
    fault = error.errors()[0]
    return ".".join(str(part) for part in fault["loc"]) or "record", fault["msg"].removeprefix(
        "Value error, "
    )


__all__ = [
    "LAYERS",
    "Answer",
    "Gold",
    "Intent",
    "Item",
    "describe",
    "first_fault",
    "iter_jsonl",
    "jsonl_line",
    "read_jsonl",
    "write_jsonl",
]
