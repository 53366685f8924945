"""Files as records, one at a time.

Knows: JSON lists, JSON lines, text; what a broken one looks like. Does not know: which files there are
(``files``, ``reading``), tables (``tables``), what a record means (``layouts``). A fault is a record too, so
that it is counted and what follows is still read; where nothing after it can be, it says how much that is.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

from empathy_lib.dataset.files import Notes, Source
from empathy_lib.dataset.layouts import BadRecord, is_turn, layout_of

MAX_RECORD_BYTES = 1_000_000
MAX_JSON_CHARS = 16 * MAX_RECORD_BYTES  # read in search of the end of a record that is too long
BYTES_AN_ANSWER = 1_000  # how much of a file of which nothing could be read counts as one answer
CHUNK = 1 << 18
MAX_DIGITS = 4_000  # of a number; longer ones are kept as text, nobody counts with them
ICONV = "convert the file, e.g. with: iconv -f GB18030 -t UTF-8"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class Record:
    """A parsed record, or the fault that kept it from being parsed, and where it stands.

    ``unread``: bytes after a fault that stopped the reading, and bytes read before it. ``name`` is unique to
    the file, ``folder`` names the one it lies in.
    """

    file: Path
    value: Any = None
    line: int | None = None
    number: int | None = None
    fault: BadRecord | None = None
    unread: tuple[int, int] | None = None
    name: str = ""
    folder: str = ""


def parse(text: str) -> Any:
    """JSON as Python values; numbers too long to be one stay text.

    Raises:
        BadRecord: it is no JSON.
    """
    try:
        return _DECODER.decode(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise BadRecord("line", f"is not valid JSON ({_why(error)})") from error


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= MAX_DIGITS else digits


_DECODER = json.JSONDecoder(parse_int=_integer)


def _why(error: Exception) -> str:
    return getattr(error, "msg", "nested too deeply")


def decoded(source: Source, data: bytes, line: int | None = None) -> Record:
    """A record with the decoded text as its value, or the fault."""
    try:
        return Record(source.path, data.decode("utf-8-sig"), line)
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8 (byte {error.start + 1}); {ICONV}"
        return Record(source.path, line=line, fault=BadRecord("line" if line else "file", reason))


def foreign_encoding(begins: bytes) -> BadRecord | None:
    """The fault of a file that begins as UTF-16 or UTF-32, which spreadsheets write; None for any other."""
    if not begins.startswith((*_UTF16, codecs.BOM_UTF32_BE)):
        return None
    wide = begins.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE))
    name = "UTF-32" if wide else "UTF-16"
    return BadRecord("file", f"is {name}; convert the file, e.g. with: iconv -f {name} -t UTF-8")


def json_lines(source: Source, notes: Notes) -> Iterator[Record]:
    """Lines of JSON; a whole JSON value under this suffix is read as :func:`json_values` reads it."""
    with source.open() as handle:
        if _is_one_value(handle.readline(MAX_RECORD_BYTES + 1), handle.readline(MAX_RECORD_BYTES)):
            yield from _values(source)
            return
    yield from _lines(source)


def _is_one_value(first: bytes, second: bytes) -> bool:
    """Whether a .jsonl file is a JSON file in truth: a list over lines or of records, or an indented
    object."""
    first = first.removeprefix(codecs.BOM_UTF8).strip()
    if first in (b"[", b"{"):
        return True
    if not first.startswith(b"["):
        return False
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        return len(first) >= MAX_RECORD_BYTES or first.endswith((b",", b"[", b"{"))
    return not second.strip() and layout_of(value) is None


def _lines(source: Source) -> Iterator[Record]:
    with source.open() as handle:
        for number in count(1):
            data = handle.readline(MAX_RECORD_BYTES + 1)
            if not data:
                return
            if (size := len(data)) > MAX_RECORD_BYTES:
                while data and not data.endswith(b"\n"):  # read on to the line's end without keeping it
                    data = handle.readline(MAX_RECORD_BYTES)
                    size += len(data)
                fault = BadRecord("line", f"has {size:,} bytes, more than {MAX_RECORD_BYTES:,}")
                yield Record(source.path, line=number, fault=fault)
                continue
            record = decoded(source, data, number)
            if record.fault is None:
                if not record.value.strip():
                    continue
                try:
                    record = Record(source.path, parse(record.value), number)
                except BadRecord as fault:
                    reason = f"{fault}; each line must be one JSON value"
                    record = Record(source.path, line=number, fault=BadRecord("line", reason))
            yield record


def json_values(source: Source, notes: Notes) -> Iterator[Record]:
    """Elements of a JSON list one by one; one dialogue (a list of turns), one object, or objects one after
    the other are records."""
    with source.open() as handle:
        first, second = handle.readline(MAX_RECORD_BYTES + 1), handle.readline(2)
    first = first.removeprefix(codecs.BOM_UTF8).strip()
    if first.startswith(b"{") and first.endswith(b"}") and second.startswith(b"{"):
        yield from _lines(source)  # JSON lines under another name: a broken one costs itself alone
    else:
        yield from _values(source)


def _values(source: Source) -> Iterator[Record]:
    elements = _elements(source)
    listed = next(elements, None)
    first = next(elements, None)
    if first is None:
        if not listed:
            yield Record(source.path, fault=BadRecord("file", "is empty"))
        return
    if listed and first.fault is None and is_turn(first.value):
        yield _dialogue(source, chain([first], elements))
        return
    second = next(elements, None)
    if not listed and second is None:  # one object is the file
        first = Record(**{**vars(first), "number": None})
    yield first
    yield from (record for record in chain([second], elements) if record is not None)


def _dialogue(source: Source, turns: Iterator[Record]) -> Record:
    """A list of turns as one record."""
    values: list[Any] = []
    size = 0
    for turn in turns:
        if turn.fault is not None:
            return Record(source.path, line=turn.line, fault=BadRecord("file", str(turn.fault)))
        values.append(turn.value)
        size += len(str(turn.value))
        if size > MAX_JSON_CHARS:
            fault = BadRecord("file", f"is a dialogue of more than {MAX_JSON_CHARS:,} characters")
            return Record(source.path, fault=fault)
    return Record(source.path, values)


def _elements(source: Source) -> Iterator[Any]:
    """First whether the file is a list, then a :class:`Record` for each of its elements or values. Holds one
    element at a time."""
    with source.open() as handle:
        text = _Window(handle)
        try:
            listed = text.peek() == "["
        except BadRecord:  # no UTF-8 from the first byte on, which the first element says
            listed = False
        yield listed
        text.skip(1 if listed else 0)
        for number in count(1):
            try:
                mark = text.peek()
                if number > 1 and listed and mark == ",":
                    text.skip(1)
                    mark = text.peek()
                elif number > 1 and listed and mark not in ("]", ""):
                    raise BadRecord("file", "is not valid JSON (Expecting ',' delimiter)")
                if mark == "]" and listed:
                    text.skip(1)
                    if text.peek():
                        raise BadRecord("file", "goes on after its list's end")
                    return
                if not mark:
                    if listed:
                        raise BadRecord("file", "is not valid JSON (it ends within its list)")
                    return
                value, size = text.value()
            except BadRecord as fault:
                read, left = text.base + text.bytes_before(), source.size
                unread = max(0, left - read)
                share = f"{unread / left:.0%} of the file is unread" if left else "the rest is unread"
                reason = (
                    f"{fault} at byte {read + 1:,}, record {number}; nothing after it could be read "
                    f"({share}); mend the file there, or convert it to JSON lines"
                )
                yield Record(
                    source.path,
                    line=text.line_before(0),
                    number=number,
                    fault=BadRecord("file", reason),
                    unread=(unread, read),
                )
                return
            if size > MAX_RECORD_BYTES:
                fault = BadRecord("record", f"has {size:,} characters, more than {MAX_RECORD_BYTES:,}")
                yield Record(source.path, line=text.line_before(size), number=number, fault=fault)
            else:
                yield Record(source.path, value, number=number)


class _Window:
    """A text file seen through a window that moves on value by value."""

    def __init__(self, handle: Any) -> None:
        self._handle, self._decoder = handle, codecs.getincrementaldecoder("utf-8")()
        self._text, self._place, self._ended = "", 0, False
        self._raw = 0  # bytes decoded so far
        self.base, self.line = 0, 1  # byte and line of the window's start
        self._more()
        if self._text.startswith("\ufeff"):
            self.skip(1)

    def _more(self, size: int = CHUNK) -> None:
        data = self._handle.read(size)
        try:
            self._text += self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            # what is right before it is still to be read; the place itself is the fault
            self._text += error.object[: error.start].decode("utf-8")
            self._bad = f"is not UTF-8; {ICONV}"
            self._ended = True
            return
        self._ended = not data

    _bad = ""

    def bytes_before(self) -> int:
        return len(self._text[: self._place].encode())

    def line_before(self, characters: int) -> int:
        """The line that stands so many characters before the place."""
        return self.line + self._text.count("\n", 0, self._place - characters)

    def skip(self, characters: int) -> None:
        self._place += characters

    def _settle(self) -> None:
        """Forget what was read."""
        before = self._text[: self._place]
        self.base += len(before.encode())
        self.line += before.count("\n")
        self._text, self._place = self._text[self._place :], 0

    def peek(self) -> str:
        """The next character that is no space; empty at the end.

        Raises:
            BadRecord: the file is no UTF-8 from here on.
        """
        while True:
            while self._place < len(self._text) and self._text[self._place] in " \t\r\n":
                self._place += 1
            if self._place < len(self._text):
                return self._text[self._place]
            if self._ended:
                if self._bad:
                    raise BadRecord("file", self._bad)
                return ""
            self._settle()
            self._more()

    def value(self) -> tuple[Any, int]:
        """The next value and its length in characters.

        Raises:
            BadRecord: there is none, or it does not end within ``MAX_JSON_CHARS``.
        """
        if self._place > len(self._text) // 2:  # not each time: the rest is copied, and may hold millions
            self._settle()
        size = CHUNK
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._place)
                if end < len(self._text) or self._ended:
                    length, self._place = end - self._place, end
                    return value, length
            except RecursionError:
                raise BadRecord("record", "is nested too deeply") from None
            except json.JSONDecodeError as error:
                if self._ended or len(self._text) - self._place > MAX_JSON_CHARS:
                    self._place = min(error.pos, len(self._text))
                    why = self._bad or f"is not valid JSON ({error.msg})"
                    raise BadRecord("file", why) from error
            self._more(size)
            size *= 2  # so that a long value is not scanned again and again


def text_file(source: Source, notes: Notes) -> Iterator[Record]:
    """A text file as one record."""
    with source.open() as handle:
        data = handle.read(MAX_JSON_CHARS + 1)
    if len(data) > MAX_JSON_CHARS:
        fault = BadRecord(
            "file", f"is one dialogue of more than {MAX_JSON_CHARS:,} bytes; one file, one dialogue"
        )
        yield Record(source.path, fault=fault, unread=(source.size, 0))
        return
    yield decoded(source, data)
