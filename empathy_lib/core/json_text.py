"""JSON that people hand in, read so that every fault is one line.

Knows: UTF-8, what this interpreter's JSON cannot hold (deep nesting, long integers), half characters, names
that are nearly right. Does not know: the layout of any record (``schema``) or file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from rapidfuzz.distance import OSA

from empathy_lib.core.errors import UserError

_HALF = re.compile("[\ud800-\udfff]")
# UTF-8 cannot hold half a character, an escape can
_ESCAPED_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_SHORTEST_MISSPELT = 5  # letters; of shorter names only the case may differ ("code" is no misspelt "coe")
_SHORTEST_PREFIX = 3


def decode(raw: bytes, where: str) -> str:
    """UTF-8 as text, without a byte-order mark.

    Raises:
        UserError: it is not UTF-8.
    """
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{where}: not UTF-8 text (byte {error.start + 1}); save the file as UTF-8"
        ) from error


def parse_json(text: str, where: str, remedy: str) -> Any:
    """The value of a JSON text; ``where`` begins and ``remedy`` ends what is said of a broken one.

    Raises:
        UserError: no JSON, nested too deep, an integer too long to read, half a character (a lone surrogate,
            as in ``"\\ud83d"``, which no file in UTF-8 can hold).
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        place = f" in line {error.lineno}" if error.lineno > 1 else ""
        raise UserError(f"{where}: not valid JSON ({error.msg}{place}); {remedy}") from error
    except RecursionError as error:
        raise UserError(f"{where}: JSON nested too deep to be a record; {remedy}") from error
    except ValueError as error:  # the only other one: an integer above the interpreter's limit of digits
        raise UserError(f"{where}: holds an integer of thousands of digits; write it as text") from error
    if _ESCAPED_HALF.search(text) and (half := half_character(value)):
        field, character = half
        escape = f"\\u{ord(character):04x}"
        raise UserError(
            f"{where}: field '{field}': holds a lone surrogate ({escape}), which is half a character; write "
            f"the whole character, or \\ufffd in its place"
        )
    return value


def half_character(value: Any) -> tuple[str, str] | None:
    """The first half character of a JSON value and the field that holds it."""
    stack: list[tuple[str, Any]] = [("", value)]
    while stack:
        field, value = stack.pop()
        if isinstance(value, str):
            if found := _HALF.search(value):
                return field or "record", found.group()
        elif isinstance(value, dict | list):
            pairs = list(value.items() if isinstance(value, dict) else enumerate(value))
            for key, _ in pairs:
                if isinstance(key, str) and (found := _HALF.search(key)):
                    return ascii(key)[1:-1], found.group()
            stack += [(f"{field}.{key}".lstrip("."), part) for key, part in reversed(pairs)]
    return None


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """Which of the ``known`` names a misspelt one means: another case, the beginning, or a letter or two
    amiss; None where none is near."""
    own = name.casefold()
    for other in known:
        plain = other.casefold()
        if re.sub(r"\W|_", "", own) == re.sub(r"\W|_", "", plain):
            return other
        if len(plain) < _SHORTEST_MISSPELT:
            continue
        begins = len(own) >= _SHORTEST_PREFIX and plain.startswith(own)
        if begins or OSA.distance(own, plain) <= (2 if len(plain) >= 8 else 1):
            return other
    return None
