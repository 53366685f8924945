"""What a thing is, as a hash: values, files, functions that a reader wrote, the library's own code.

Knows: how content becomes a few hex digits, so that whatever a cell changes changes the request of a stage.
Does not know: stages (``run``).
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np
from pydantic import BaseModel

from empathy_lib.core.errors import UserError

PACKAGE = Path(__file__).resolve().parents[1]
LAYERS = ("core", "dataset", "models", "sft", "reward", "grpo", "metrics", "human_eval")


def digest(value: Any) -> str:
    """Sixteen hex digits of the SHA-256 of a value: JSON-able values, items and other models, arrays and
    tables, and functions (see :func:`source_of`); an object may say what it is by an ``identity()``."""
    total = hashlib.sha256()
    for part in _parts(value):
        total.update(part.encode("utf-8", "surrogatepass"))
    return total.hexdigest()[:16]


def _parts(value: Any) -> Iterable[str]:
    """The value as text, piece by piece: a dataset of gigabytes is never one string."""
    if value is None or isinstance(value, bool | int | float | str):
        yield json.dumps(value, ensure_ascii=False) + ","
    elif isinstance(value, Path):
        yield from _parts(str(value))
    elif isinstance(value, BaseModel):
        yield value.model_dump_json() + ","
    elif callable(getattr(value, "identity", None)) and not inspect.isclass(value):
        yield from _parts(value.identity())
    elif isinstance(value, Mapping):
        yield "{"
        for key in sorted(value, key=str):
            yield from _parts(str(key))
            yield from _parts(value[key])
        yield "}"
    elif isinstance(value, np.ndarray | np.generic):
        yield from _parts(value.tolist())
    elif hasattr(value, "to_dict") and hasattr(value, "columns"):  # a pandas table
        yield from _parts(value.to_dict("list"))
    elif dataclasses.is_dataclass(value) and not inspect.isclass(value):
        yield from _parts(source_of(type(value)))
        yield from _parts({f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.compare})
    elif callable(value):
        yield from _parts(source_of(value))
    elif isinstance(value, set | frozenset):
        yield from _parts(sorted(digest(each) for each in value))
    elif isinstance(value, Iterable):
        yield "["
        for each in value:
            yield from _parts(each)
        yield "]"
    else:
        raise UserError(
            f"cannot tell one {type(value).__name__} from another; hand in plain values, items, tables or "
            f"functions, or give its class a method identity() that returns such"
        )


def source_of(thing: Callable[..., Any]) -> Any:
    """What decides a function's or class's results, as far as it shows.

    Of the library's own and of installed packages' the name alone, since mending their code is no other
    request. Of a reader's own its source, what it has closed over, its defaults, and the plain values and
    own functions that it names from its module or notebook.
    """
    if isinstance(thing, functools.partial):
        return ["partial", thing.func, thing.args, thing.keywords]
    if (owner := getattr(thing, "__self__", None)) is not None and not inspect.ismodule(owner):
        return ["method", thing.__name__, owner]
    module = getattr(thing, "__module__", None) or ""
    name = f"{module}.{getattr(thing, '__qualname__', repr(thing))}"
    if not _is_readers_own(module):
        closed = getattr(thing, "__closure__", None) or ()
        return [name, *(cell.cell_contents for cell in closed)]
    if inspect.isclass(thing):
        functions = {key: part for key, part in vars(thing).items() if inspect.isfunction(part)}
        bases = [base for base in thing.__mro__[1:] if base is not object]
        return [name, functions, bases]
    code = getattr(thing, "__code__", None)
    if code is None:  # an object that is called
        return [type(thing), vars(thing)] if hasattr(thing, "__dict__") else name
    named = {key: thing.__globals__[key] for key in _names(code) if key in thing.__globals__}
    own = {key: each for key, each in named.items() if _is_plain(each) or _is_own_function(each, thing)}
    closed = [cell.cell_contents for cell in thing.__closure__ or ()]
    return ["code", _code(code), own, closed, thing.__defaults__, thing.__kwdefaults__]


def _is_readers_own(module: str) -> bool:
    """Written in a notebook or a script beside it, not installed and not of this library."""
    if module == "__main__":
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    own = file is not None and not Path(file).resolve().is_relative_to(PACKAGE)
    return (
        own
        and not any(part in Path(file).parts for part in ("site-packages", "dist-packages"))
        and (not Path(file).is_relative_to(Path(sys.base_prefix) / "lib"))
    )


def _names(code: CodeType) -> list[str]:
    """Names that the code, and code within it, takes from outside."""
    inner = [name for part in code.co_consts if isinstance(part, CodeType) for name in _names(part)]
    return sorted({*code.co_names, *inner})


def _code(code: CodeType) -> list[Any]:
    """What the code does, without where it stands: moving a cell is no change."""
    constants = [_code(part) if isinstance(part, CodeType) else repr(part) for part in code.co_consts]
    return [code.co_code.hex(), list(code.co_names), list(code.co_varnames), constants]


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    return value is None or isinstance(value, bool | int | float | str)


def _is_own_function(value: Any, beside: Any) -> bool:
    return inspect.isfunction(value) and value is not beside and _is_readers_own(value.__module__)


def file_digest(path: Path, *, without: frozenset[str] = frozenset()) -> str:
    """SHA-256 of a file, or of all files below a folder (names included) but those named in ``without``.

    Raises:
        UserError: there is no such file or folder; a hash of nothing would look like any other.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; check the path")
    total = hashlib.sha256()
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for file in files:
        if without & set(file.relative_to(path).parts):
            continue
        total.update(str(file.relative_to(path)).encode())
        with file.open("rb") as handle:
            total.update(hashlib.file_digest(handle, "sha256").digest())
    return total.hexdigest()


@functools.cache
def code_digest(last: str) -> str:
    """Hash of the library's Python files, from ``core`` up to the package ``last``."""
    packages = LAYERS[: LAYERS.index(last) + 1]
    files = sorted(file for package in packages for file in (PACKAGE / package).rglob("*.py"))
    return digest([[str(file.relative_to(PACKAGE)), file.read_text(encoding="utf-8")] for file in files])


def git_commit() -> str:
    """The commit the code stands at, with ``+`` where the tree has changes; ``unknown`` outside a
    checkout."""
    try:
        head, changes = (
            subprocess.run(
                ["git", *words], cwd=PACKAGE.parent, capture_output=True, text=True, check=True
            ).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "-uno"])
        )
        return head + ("+" if changes else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
