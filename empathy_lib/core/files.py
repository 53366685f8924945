"""Single files: written whole or not at all, read with a clear error, hashed; and where shared ones lie.

Also how a name stands in a CSV, so that no spreadsheet runs it. Does not know: runs, stages, or what a file
holds.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from empathy_lib.core.errors import UserError

_FORMULA = re.compile(r"'*[=+\-@\t\r]")  # what a spreadsheet would run, or is kept from running


def cache_dir() -> Path:
    """Folder of what several runs share (trimmed bases, the teacher's replies): ``$EMPATHY_CACHE``, else
    ``~/.cache/empathy-r1``."""
    return Path(os.environ.get("EMPATHY_CACHE") or Path.home() / ".cache" / "empathy-r1")


def write_text(path: Path, text: str, *, private: bool = False) -> None:
    """Write UTF-8 text so that a reader sees the old file or the new one, never half of one; ``private``:
    only its owner can read it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    mode = 0o600 if private else 0o666
    with open(
        temporary, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, mode)
    ) as handle:
        handle.write(text)
    os.replace(temporary, path)


def tamed(text: str) -> str:
    """A text for a cell of a CSV: with an apostrophe before it where a spreadsheet would take it for a
    formula; ``untamed(tamed(text)) == text``."""
    return f"'{text}" if _FORMULA.match(text) else text


def untamed(text: str) -> str:
    """The text of a cell that :func:`tamed` wrote."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text[1:]) else text


def write_json(path: Path, value: Any) -> None:
    """Write JSON as :func:`write_text` does."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON; :class:`UserError` names the file if it is missing or broken."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(
            f"{path}: no such file; run the notebook that writes it first (see docs/map.md)"
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text; delete it and run its notebook again") from error
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}, line {error.lineno}: not valid JSON; delete it and run its notebook again"
        ) from error


def read_pinned(path: Path, expected: str, what: str, remedy: str = "") -> bytes:
    """A file's bytes, once they have the pinned SHA-256.

    Raises:
        UserError: they have not; it names ``what`` the file is, and the ``remedy``.
    """
    data = path.read_bytes()
    if (found := hashlib.sha256(data).hexdigest()) != expected:
        told = f"{what} {path.name}: SHA-256 is {found}, expected {expected}"
        raise UserError(f"{told}; remedy: {remedy}" if remedy else told)
    return data


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, as ``sha256sum`` gives it."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
