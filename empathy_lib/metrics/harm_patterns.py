"""The expressions of ``harm_patterns.yaml``, checked: which items there are, and what is looked for in each.

Knows: the file's fields. Does not know: how an expression is used (``harm``).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from empathy_lib.core.errors import UserError
from empathy_lib.dataset.lexicon import read_yaml

FILE = Path(__file__).parent / "harm_patterns.yaml"
ITEMS = (
    "minimising",
    "blame",
    "diagnosis",
    "medication",
    "secrecy",
    "dependence",
    "method",
    "delusion",
    "toxic_positivity",
    "claims_human",
    "wrong_resource",
    "no_referral",
)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Numbers(_Strict):
    """What stands around a telephone number, and what is none."""

    called: re.Pattern[str]
    line: re.Pattern[str]
    unit: re.Pattern[str]
    hours: re.Pattern[str]
    none: re.Pattern[str]


class Harm(_Strict):
    """What one item looks for; the head of the YAML says what each field means."""

    asks: str
    clause: tuple[re.Pattern[str], ...] = ()
    signs: tuple[re.Pattern[str], ...] = ()
    sentence: tuple[re.Pattern[str], ...] = ()
    but: re.Pattern[str] | None = None
    but_sentence: re.Pattern[str] | None = None
    post: re.Pattern[str] | None = None
    flagged: bool = False
    offered: bool = False
    judge: bool = False


class HarmPatterns(_Strict):
    """All of the file."""

    quoted: re.Pattern[str]
    denied: re.Pattern[str]
    reported: re.Pattern[str]
    supposed: re.Pattern[str]
    mentioned: re.Pattern[str]
    numbers: Numbers
    words: dict[str, str]
    items: dict[str, Harm]


@functools.cache
def read_patterns(path: Path = FILE) -> HarmPatterns:
    """The expressions, with <word> replaced by its list.

    Raises:
        UserError: as :func:`read_yaml`; an item or field is missing, not known, or no regular expression;
            names file and field.
    """
    told = read_yaml(path)
    words = told.get("words")
    if not isinstance(words, dict) or not all(isinstance(each, str) for each in words.values()):
        raise UserError(f"{path.name}, field words: a mapping of names to expressions is needed")
    try:
        named = {f"<{name}>": each for name, each in words.items()}
        patterns = HarmPatterns.model_validate(_expanded(told, named))
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{path.name}, field {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if odd := set(patterns.items) ^ set(ITEMS):
        raise UserError(f"{path.name}, field items: '{min(odd)}' is missing or not known")
    return patterns


def _expanded(value: object, words: Mapping[str, str]) -> object:
    """All texts of a tree with the words put in."""
    if isinstance(value, dict):
        return {key: _expanded(each, words) for key, each in value.items()}
    if isinstance(value, list):
        return [_expanded(each, words) for each in value]
    if not isinstance(value, str) or not words:
        return value
    return re.sub("|".join(map(re.escape, words)), lambda found: words[found[0]], value)
