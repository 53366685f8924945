"""Which files a path holds, also within .gz and .zip, and which of them are not read.

Knows: folders, links, hidden files, archives, names. Does not know: what a file holds (``records``). Nothing
is left out without a word: what is not read goes to :class:`Notes`.
"""

from __future__ import annotations

import gzip
import io
import lzma
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from empathy_lib.core.errors import UserError

SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".txt")
ARCHIVES = (".gz", ".zip")
READ = (*SUFFIXES, *ARCHIVES)
# What reading an archive or a disk may raise; what a lying archive makes the standard library raise besides.
READ_ERRORS = (OSError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error)
_LIES = (ValueError, struct.error, lzma.LZMAError)
_HIDDEN = {"__macosx", "thumbs.db", "desktop.ini", "_success", "_metadata", "_common_metadata"}
_OURS = {"manifest.json", "report.json", "rejected.jsonl", "train.jsonl"}  # marks a dataset folder we wrote
_SPLITS = ("train.jsonl", "validation.jsonl", "test.jsonl")
_SHOWN = 5  # file names in a remark
# Texts compress at 3 to 20; deflate at 1,000 at most, bzip2 and overlapping members of a zip without end.
MAX_RATIO = 200
UNCHECKED = 64 << 20  # bytes that any archive may give: blank rows of a spreadsheet compress well
_BUFFER = 1 << 18


@dataclass
class Notes:
    """What was passed over, and what was read otherwise than it stands."""

    not_read: list[dict[str, str]] = field(default_factory=list)  # {file, why}
    hidden: list[str] = field(default_factory=list)
    blank_rows: dict[str, int] = field(default_factory=dict)
    joined: int = 0  # rows whose id and post were there before: further answers
    renamed: int = 0  # ids given in several files
    turns_cut: int = 0  # turns that held several speakers' words
    remarks: list[str] = field(default_factory=list)

    def add(self, other: Notes) -> None:
        """Put other notes behind these."""
        for name, held in vars(other).items():
            own = getattr(self, name)
            setattr(self, name, own | held if isinstance(own, dict) else own + held)

    def lines(self) -> list[str]:
        """One line for each kind of thing that a reader of the source should know."""
        lines = list(self.remarks)
        why: dict[str, list[str]] = {}
        for entry in self.not_read:
            why.setdefault(entry["why"], []).append(entry["file"])
        lines += [f"not read: {_some(names)}: {reason}" for reason, names in why.items()]
        if self.hidden:
            lines.append(f"{len(self.hidden)} hidden file(s) or folder(s) skipped: {_some(self.hidden)}")
        for file, rows in self.blank_rows.items():
            lines.append(f"{rows} blank row(s) of {file} skipped")
        if self.joined:
            lines.append(f"{self.joined} record(s) repeat an id and its post: read as its further answers")
        if self.renamed:
            lines.append(f"{self.renamed} id(s) are given in several files: the file's name was put before")
        if self.turns_cut:
            lines.append(f"{self.turns_cut} turn(s) held several speakers' words: cut at their labels")
        return lines


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def shown(path: Path | str) -> str:
    """A path as text that can be written, whatever bytes its name has."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


class Unpacking:
    """How much a packed file has given so far, all its parts together."""

    def __init__(self, path: Path, packed: int) -> None:
        self._path, self._packed = path, packed
        self._parts: dict[str, int] = {}  # what was read twice counts once
        self._total = 0

    def count(self, part: str, given: int) -> None:
        """Note that a part has given so many bytes.

        Raises:
            UserError: all parts together gave more than ``UNCHECKED`` and ``MAX_RATIO`` times what is packed.
        """
        more = given - self._parts.get(part, 0)
        if more <= 0:
            return
        self._parts[part] = given
        self._total += more
        if self._total > max(UNCHECKED, MAX_RATIO * self._packed):
            raise UserError(
                f"{self._path}: {self._packed:,} bytes unpack to more than {self._total:,}, over {MAX_RATIO} "
                f"times as many; no text compresses so well, and reading stops here; if it is what you want, "
                f"unpack it and give the files (a Parquet file: as JSON lines)"
            )


class _Measured(io.RawIOBase):
    """A part of an archive, unpacked as it is read and counted."""

    def __init__(self, packed: BinaryIO, part: str, unpacking: Unpacking) -> None:
        self._packed, self._part, self._unpacking = packed, part, unpacking
        self._given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        try:
            data = self._packed.read1(len(buffer))  # what is there: a break later on costs nothing before it
        except _LIES as error:
            raise zipfile.BadZipFile(str(error)) from error
        self._given += len(data)
        self._unpacking.count(self._part, self._given)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._packed.close()
        super().close()


def _measured(opened: Callable[[], BinaryIO], part: str, unpacking: Unpacking) -> io.BufferedReader:
    try:
        packed = opened()
    except _LIES as error:
        raise zipfile.BadZipFile(str(error)) from error
    return io.BufferedReader(_Measured(packed, part, unpacking), _BUFFER)


@dataclass(frozen=True)
class Source:
    """One file: ``path`` as shown, ``name`` below the root without suffixes (for ids), how to open it, bytes
    to read (in a .gz: packed)."""

    path: Path
    name: str
    suffix: str
    open: Callable[[], BinaryIO]
    size: int

    @property
    def folder(self) -> str:
        """Name of the folder that the file lies in."""
        parent = shown(self.path.absolute().parent.name)
        return parent.removesuffix(".zip").removesuffix(".json")


def sources(root: Path, notes: Notes) -> Iterator[Source]:
    """All files of a path that can be read, in the order of their names.

    A folder that an earlier construction wrote gives its splits alone, and is passed over below another.
    """
    if root.is_file():
        yield from _unpacked(root, shown(root.name), notes)
        return
    for file in source_files(root, notes):
        yield from _unpacked(file, shown(file.relative_to(root)), notes)


def source_files(root: Path, notes: Notes) -> list[Path]:
    """The files below a folder that are not hidden, readable or not, in the order of their names."""
    names = {entry.name for entry in root.iterdir()}
    if names >= _OURS:
        notes.remarks.append(f"{shown(root.name)} is a dataset of this project: its three splits are read")
        return [root / name for name in _SPLITS if name in names]
    return sorted(_walk(root, root, {os.path.realpath(root)}, notes))


def _walk(folder: Path, root: Path, seen: set[str], notes: Notes) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        _pass_over(notes, shown(folder.relative_to(root)), f"cannot be opened ({error.strerror})")
        return
    for entry in entries:
        name = shown(entry.relative_to(root))
        if _is_hidden(entry.name):
            notes.hidden.append(name)
        elif entry.is_dir():
            real = os.path.realpath(entry)
            if real in seen:  # a link in a circle, or to a folder read already
                _pass_over(notes, name, "is a link to a folder that is read already")
                continue
            seen.add(real)
            if {inner.name for inner in entry.iterdir()} >= _OURS if os.access(entry, os.R_OK) else False:
                _pass_over(notes, name, "is a dataset that this project wrote; give it alone to read it")
                continue
            if entry.suffix.lower() in READ and entry.suffix.lower() != ".parquet":
                notes.remarks.append(f"{name} is a folder, not a file: the files in it are read")
            yield from _walk(entry, root, seen, notes)
        else:
            yield entry


def _is_hidden(name: str) -> bool:
    # a dataset that is being written into the folder it is made from is none of the source
    return name.startswith((".", "~$")) or name.lower() in _HIDDEN or name.endswith(".building")


def _pass_over(notes: Notes, file: str, why: str) -> None:
    notes.not_read.append({"file": file, "why": why})


def _unpacked(file: Path, name: str, notes: Notes) -> Iterator[Source]:
    suffix = file.suffix.lower()
    try:
        status = file.stat()
    except OSError as error:
        link = "is a link to nothing" if file.is_symlink() else f"cannot be opened ({error.strerror})"
        _pass_over(notes, name, link)
        return
    if not stat.S_ISREG(status.st_mode):
        _pass_over(notes, name, "is no regular file")
        return
    shown_path = Path(shown(file))
    if shown_path != file:
        notes.remarks.append(f"{name}: the file's name is no UTF-8; it is read under this one")
    inner = Path(name).with_suffix("") if suffix == ".gz" else Path(name)
    if suffix == ".zip":
        yield from _members(file, shown_path, name, notes)
    elif inner.suffix.lower() not in SUFFIXES:
        _pass_over(notes, name, f"unknown file type '{suffix}'; use {', '.join(READ)}")
    elif suffix == ".gz":
        unpacking = Unpacking(shown_path, status.st_size)
        opened = partial(_measured, partial(gzip.open, file), "", unpacking)
        yield Source(shown_path, _stem(inner), inner.suffix.lower(), opened, status.st_size)
    else:
        opened = lambda: file.open("rb")  # noqa: E731
        yield Source(shown_path, _stem(inner), suffix, opened, status.st_size)


def _stem(name: Path | PurePosixPath) -> str:
    return name.with_suffix("").as_posix() if name.name else ""


def _members(file: Path, shown_path: Path, name: str, notes: Notes) -> Iterator[Source]:
    """The files within a zip, in the order of their names."""
    try:
        archive = zipfile.ZipFile(file)
    except (*READ_ERRORS, *_LIES) as error:
        _pass_over(notes, name, f"is no whole zip archive ({error})")
        return
    with archive:
        # not is_dir(), which fails at a member without a name
        files = [info for info in archive.infolist() if not info.filename.endswith("/")]
        members = [(_member_name(info), info) for info in files]
        alone, unpacking = len(members) == 1, Unpacking(shown_path, file.stat().st_size)
        ordered = sorted(members, key=lambda pair: PurePosixPath(pair[0]).parts)
        for number, (inner, info) in enumerate(ordered):
            path, full = PurePosixPath(inner), f"{name}/{inner}"
            suffix = path.suffix.lower()
            if suffix not in SUFFIXES and alone:  # posts.json.zip, whose one member is called anything
                suffix = Path(file.stem).suffix.lower()
            if any(map(_is_hidden, path.parts)):
                notes.hidden.append(full)
            elif info.flag_bits & 1:
                _pass_over(notes, full, "is encrypted; unpack the archive")
            elif suffix in SUFFIXES:
                opened = partial(_measured, partial(archive.open, info), str(number), unpacking)
                # a name from an archive is shown, never opened; that of "/x" stands below the archive's too
                inside = Path(f"{shown_path}/{inner}")
                yield Source(inside, _stem(path).lstrip("/"), suffix, opened, info.file_size)
            else:
                _pass_over(notes, full, f"unknown file type '{suffix}'; use {', '.join(SUFFIXES)}")


def _member_name(info: zipfile.ZipInfo) -> str:
    """A member's name; Windows packs Chinese ones in GBK, which zipfile takes for cp437."""
    if info.flag_bits & 0x800 or info.filename.isascii():
        return info.filename
    raw = info.filename.encode("cp437", "replace")
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return info.filename
