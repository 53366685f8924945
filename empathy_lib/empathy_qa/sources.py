"""Where items come from: the synthesis, or a file of the user in one of three layouts.

Knows: how each layout is told from its content and turned into items. Does not know: cleaning, annotation, splits.

Layouts:
    PsyQA: a JSON list of ``{question, description, keywords, answers: [{answer_text}]}``; the post is question and
        description, the first two keywords are topic and sub-topic.
    SMILE / MeChat: a folder of JSON dialogues (or one), each a list of ``{role: client|counselor, content}``. The first post
        and the first reply make one item; turns of the same role that follow each other are one turn, a counselor's
        greeting before the first post is left out, what comes later is not used.
    JSONL: one :class:`~empathy_lib.empathy_qa.schema.Item` a line.
"""

from __future__ import annotations

import json
import re
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError, field_validator

from empathy_lib.artefacts import ROOT, file_digest, generator
from empathy_lib.config import SYNTHETIC, DatasetConfig
from empathy_lib.empathy_qa.schema import Answer, Item, describe, read_jsonl
from empathy_lib.errors import UserError

_LAYOUTS = "PsyQA (JSON list), SMILE (folder of JSON dialogues) or JSONL of the project's own schema; see the README, 'Bring your own'"


class _PsyAnswer(BaseModel):
    answer_text: str


class _PsyQuestion(BaseModel):
    question: str
    description: str = ""
    keywords: str | list[str] = ""
    answers: list[_PsyAnswer]

    @field_validator("question")
    @classmethod
    def _has_text(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("is empty; give the post's text or remove the record")
        return value


class _Turn(BaseModel):
    role: Literal["client", "counselor"]
    content: str


def source_path(config: DatasetConfig) -> Path:
    """Path of the user's data: as given, or below the repository for a relative path that is not below the working directory.

    Raises:
        UserError: there is no such path.
    """
    given = Path(config.data).expanduser()
    for path in (given, ROOT / given):
        if path.exists():
            return path
    raise UserError(f"{config.data}: no such file or folder (field dataset.data); give 'synthetic' or the path of {_LAYOUTS}")


def source_digest(config: DatasetConfig) -> str:
    """SHA-256 over what the items come from: the user's file or folder, or the texts of ``data/synthesis/``."""
    return file_digest(ROOT / "data" / "synthesis" if config.data == SYNTHETIC else source_path(config))


def read_source(config: DatasetConfig, seed: int) -> list[Item]:
    """Read, or generate, the raw items: uncleaned, and without a CoE unless the source itself carries one.

    Of a real source at most ``config.questions`` items are taken: a seeded sample in the source's own order.

    Raises:
        UserError: the path, its layout or a record is at fault; one line with file, line or record, field and remedy.
    """
    if config.data == SYNTHETIC:
        from empathy_lib.empathy_qa.synthesis import generate  # not needed, and not loaded, for the user's own data

        return generate(config, seed)
    path = source_path(config)
    items = _read_folder(path) if path.is_dir() else _read_file(path)
    if len(items) > config.questions:
        chosen = generator(seed, "sources").choice(len(items), size=config.questions, replace=False)
        items = [items[i] for i in sorted(chosen)]
    return items


def _read_folder(path: Path) -> list[Item]:
    files = sorted(path.glob("*.json"))
    if not files:
        raise UserError(f"{path}: the folder holds no .json file; give the folder of SMILE dialogues, or a file of another layout")
    return [_dialogue(_load_json(file), file, f"smile:{path.resolve().name}") for file in files]


def _read_file(path: Path) -> list[Item]:
    if path.suffix == ".jsonl":
        items = _own_items(path)
    elif path.suffix == ".json":
        content = _load_json(path)
        if not isinstance(content, list) or not content or not isinstance(content[0], dict):
            raise UserError(f"{path}: holds no list of objects; expected {_LAYOUTS}")
        if "role" in content[0]:
            items = [_dialogue(content, path, f"smile:{path.name}")]
        elif "question" in content[0] or "answers" in content[0]:
            items = [_psyqa(record, path, number) for number, record in enumerate(content, 1)]
        else:
            fields = ", ".join(map(str, list(content[0])[:5])) or "none"
            raise UserError(f"{path}, record 1: unknown layout with fields {fields}; expected {_LAYOUTS}")
    else:
        raise UserError(f"{path}: unknown file type '{path.suffix}'; use .json or .jsonl: {_LAYOUTS}")
    return items


def _load_json(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}; convert it, e.g. with: iconv -f GB18030 -t UTF-8") from error
    if not text.strip():
        raise UserError(f"{path}: the file is empty; expected {_LAYOUTS}")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: not valid JSON ({error.msg}); repair or remove the file") from error


def _own_items(path: Path) -> list[Item]:
    items = read_jsonl(path)
    if not items:
        raise UserError(f"{path}: the file is empty; expected one JSON object a line")
    seen: dict[str, int] = {}
    for number, item in enumerate(items, 1):
        if item.id in seen:
            raise UserError(f"{path}, record {number}: field 'id': '{item.id}' is record {seen[item.id]}'s; give every item its own id")
        seen[item.id] = number
    return [item.model_copy(update={"source": f"jsonl:{path.name}"}) for item in items]


def _psyqa(record: Any, path: Path, number: int) -> Item:
    try:
        parsed = _PsyQuestion.model_validate(record)
    except ValidationError as error:
        raise UserError(f"{path}, record {number}: {describe(error)}; PsyQA has question, description, keywords, answers") from error
    words = re.split(r"[,，、;；\s]+", parsed.keywords) if isinstance(parsed.keywords, str) else parsed.keywords
    topic, subtopic = ([word.strip() for word in words if word.strip()] + ["", ""])[:2]
    post = "\n".join(part.strip() for part in (parsed.question, parsed.description) if part.strip())
    answers = [Answer(text=answer.answer_text) for answer in parsed.answers]
    return Item(id=f"psyqa-{number:06d}", question=post, topic=topic, subtopic=subtopic, answers=answers, source=f"psyqa:{path.name}")


def _dialogue(content: Any, path: Path, source: str) -> Item:
    if not isinstance(content, list) or not content:
        raise UserError(f"{path}: holds no list of turns; a SMILE dialogue is [{{role, content}}, …]")
    turns = []
    for number, record in enumerate(content, 1):
        try:
            turns.append(_Turn.model_validate(record))
        except ValidationError as error:
            raise UserError(
                f"{path}, record {number}: {describe(error)}; a SMILE turn has role (client or counselor) and content"
            ) from error
    merged = [(role, "\n".join(t.content.strip() for t in group).strip()) for role, group in groupby(turns, key=lambda turn: turn.role)]
    start = 0 if merged[0][0] == "client" else 1
    post = merged[start][1] if len(merged) > start else ""
    if not post:
        raise UserError(f"{path}: field 'content' of the first client turn is empty or missing; give the post's text or remove the file")
    replies = [Answer(text=text) for _, text in merged[start + 1 : start + 2]]
    return Item(id=f"smile-{path.stem}", question=post, answers=replies, source=source)
