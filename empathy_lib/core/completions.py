"""Completions of several systems and the posts that they answer, as JSONL files.

Knows: the lines ``{id, system, completion}`` and ``{id, question}``. Does not know: who wrote them, or what
becomes of them: a judge (``metrics.judge``) or a study (``human_eval.design``).
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field

from empathy_lib.core.errors import UserError
from empathy_lib.core.schema import iter_jsonl

CHECK_PREFIX = (
    "attention-check:"  # a study names its attention checks so (``human_eval.checks``); no system may
)
Completions = dict[str, dict[str, str]]  # item id -> system -> completion


class _Line(BaseModel):
    id: str = Field(min_length=1)
    system: str = Field(min_length=1)
    completion: str


class _Post(BaseModel):
    id: str
    question: str = Field(min_length=1)


def read_completions(path: str | Path) -> Completions:
    """Read completions of several systems: one ``{"id", "system", "completion"}`` a line, as notebook 05
    writes them.

    Raises:
        UserError: no such file, an empty one, no JSON object, a field missing or no text, a doubled
            (id, system), the name of an attention check.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"{path}: no such file; run notebook 05 first, or give a JSONL of {{id, system, completion}}"
        )
    found: Completions = {}
    for number, line in iter_jsonl(path, _Line, "; a line is {id, system, completion}"):
        systems = found.setdefault(line.id, {})
        if line.system in systems:
            raise UserError(
                f"{path}, line {number}: system '{line.system}' answered '{line.id}' twice; keep one of the "
                f"two lines"
            )
        if line.system.startswith(CHECK_PREFIX):
            raise UserError(
                f"{path}, line {number}: field 'system': '{line.system}' is the name of an attention check; "
                f"rename it"
            )
        systems[line.system] = line.completion
    if not found:
        raise UserError(f"{path}: the file is empty; give a JSONL of {{id, system, completion}}")
    return found


def read_posts(path: str | Path) -> dict[str, str]:
    """Read posts: one ``{"id", "question"}`` a line, other fields aside, such as a split of notebook 01.

    The same post may stand there again, as in a file of completions with their questions.

    Raises:
        UserError: no such file, no JSON object, a field missing or no text, one id with two posts.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"{path}: no such file; give a JSONL of {{id, question}}, such as test.jsonl of notebook 01"
        )
    posts: dict[str, str] = {}
    first_line: dict[str, int] = {}
    for number, line in iter_jsonl(path, _Post, "; a line is {id, question}"):
        if posts.setdefault(line.id, line.question) != line.question:
            raise UserError(
                f"{path}, line {number}: field 'id': '{line.id}' is that of another post in line "
                f"{first_line[line.id]}; give every post its own"
            )
        first_line.setdefault(line.id, number)
    if not posts:
        raise UserError(f"{path}: the file is empty; give a JSONL of {{id, question}}")
    return posts
