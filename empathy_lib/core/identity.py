"""What a thing is, as a hash: values, files, functions that a reader wrote, the library's own code.

Knows: how content becomes a few hex digits, so that whatever a cell changes changes the request of a stage.
Does not know: stages (``run``).
"""

from __future__ import annotations

import dataclasses
import dis
import functools
import hashlib
import inspect
import json
import re
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
LIBRARY = __name__.partition(".")[0]
LAYERS = ("core", "dataset", "models", "sft", "reward", "grpo", "metrics", "human_eval")
_OPEN: list[Callable[..., Any]] = []  # functions and classes that are being told


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
        fields = dataclasses.fields(value)
        yield from _parts(type(value))
        yield from _parts({f.name: getattr(value, f.name) for f in fields if f.compare})
        # what an own __init__, or a cell, has set on it
        more = getattr(value, "__dict__", {}).keys() - {f.name for f in fields}
        if own := {name: getattr(value, name) for name in more if not name.startswith("_")}:
            yield from _parts(own)
    elif isinstance(value, re.Pattern):
        yield from _parts([value.pattern, value.flags])
    elif callable(value):
        yield from _once(value)
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


def _once(thing: Callable[..., Any]) -> Iterable[str]:
    """The parts of a function or class; where it leads back to itself, its name."""
    plain = inspect.isfunction(thing) or inspect.isclass(thing)
    if plain and thing in _OPEN:
        yield from _parts(["again", thing.__qualname__])
        return
    if plain:
        _OPEN.append(thing)
    try:
        yield from _parts(source_of(thing))
    finally:
        if plain:
            _OPEN.remove(thing)


def source_of(thing: Callable[..., Any]) -> Any:
    """What decides a function's or class's results, as far as it shows.

    Of the library's own and of installed packages' the name alone, since mending their code is no other
    request. Of a reader's own its source, what it has closed over, its defaults, and what it names from its
    module or notebook; of a class all that stands in its body, and its bases.

    Raises:
        UserError: it names an object of which one cannot be told from another.
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
        body = {
            key: _unwrapped(part)
            for key, part in vars(thing).items()
            if inspect.isfunction(part) or not (key.startswith("__") and key.endswith("__"))
        }
        told = {key: part for key, part in body.items() if not _is_slot(part)}
        bases = [base for base in thing.__mro__[1:] if base is not object]
        return [name, told, bases]
    code = getattr(thing, "__code__", None)
    if code is None:  # an object that is called
        return [type(thing), vars(thing)] if hasattr(thing, "__dict__") else name
    named = {key: thing.__globals__[key] for key in _names(code) if key in thing.__globals__}
    own = {
        key: type(each).__qualname__ if _is_of_the_library(each) else each
        for key, each in named.items()
        if not inspect.ismodule(each) and each is not thing
    }
    # super() closes over the class whose part this is
    cells = zip(code.co_freevars, thing.__closure__ or (), strict=True)
    closed = {key: cell.cell_contents for key, cell in cells if key != "__class__"}
    return ["code", _code(code), own, closed, thing.__defaults__, thing.__kwdefaults__]


def _unwrapped(part: Any) -> Any:
    """What stands behind a static or class method, or a property."""
    if isinstance(part, staticmethod | classmethod):
        return part.__func__
    if isinstance(part, property):
        return [each for each in (part.fget, part.fset) if each]
    return getattr(part, "func", part) if isinstance(part, functools.cached_property) else part


def _is_slot(part: Any) -> bool:
    """What a class makes of ``__slots__``, and what the standard library hangs on it."""
    return inspect.ismemberdescriptor(part) or type(part).__module__.startswith(("_abc", "abc"))


def _is_of_the_library(value: Any) -> bool:
    """An object that the library made and that cannot say what it is; its stages have a request of their
    own."""
    made = type(value).__module__.partition(".")[0] == LIBRARY and not callable(value)
    known = isinstance(value, BaseModel) or dataclasses.is_dataclass(value) or hasattr(value, "identity")
    return made and not known


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
    """Names that the code, and code within it, takes from its module; an attribute's name is none."""
    own = [step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")]
    inner = [name for part in code.co_consts if isinstance(part, CodeType) for name in _names(part)]
    return sorted({*own, *inner})


def _code(code: CodeType) -> list[Any]:
    """What the code does, without where it stands: moving a cell is no change."""
    constants = [_code(part) if isinstance(part, CodeType) else repr(part) for part in code.co_consts]
    return [code.co_code.hex(), list(code.co_names), list(code.co_varnames), constants]


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
