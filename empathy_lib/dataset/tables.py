"""Rows of CSV, Parquet and hub datasets as records, one at a time.

Knows: where a row begins and ends, and when it cannot be trusted. Does not know: files (``files``), what a
row means (``layouts``).
"""

from __future__ import annotations

import csv
import io
import re
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

from empathy_lib.core.config import HUB
from empathy_lib.core.errors import UserError
from empathy_lib.dataset.files import Notes, Source, Unpacking
from empathy_lib.dataset.layouts import BadRecord
from empathy_lib.dataset.records import ICONV, MAX_RECORD_BYTES, Record, parse

_NOT_UTF8 = re.compile("[\udc80-\udcff]")
_NEEDED = {"question", "answer", "answers"}


class _Lines:
    """Lines of a table, of which those of the present row are kept."""

    def __init__(self, handle: BinaryIO) -> None:
        # a line in another encoding costs itself alone: its bytes become lone surrogates, seen below
        self._text = io.TextIOWrapper(handle, "utf-8-sig", errors="surrogateescape", newline="")
        self.row: list[str] = []
        self.bytes, self.number, self.ended = 0, 0, False  # before the row; lines read

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._text.readline(MAX_RECORD_BYTES + 1)
        if not line:
            self.ended = True
            raise StopIteration
        self.number += 1
        self.row.append(line)
        return line

    def forget(self) -> None:
        self.bytes += sum(len(line.encode("utf-8", "surrogateescape")) for line in self.row)
        self.row = []

    def quote_line(self) -> int:
        """Line of the quote that opens and is not closed in the present row."""
        text, opened = "".join(self.row), 0
        for place, character in enumerate(text):
            if character == '"':
                opened = -1 if opened > 0 else place + 1
        return self.number - len(self.row) + 1 + text[: max(0, opened)].count("\n")


def csv_rows(source: Source, notes: Notes) -> Iterator[Record]:
    csv.field_size_limit(MAX_RECORD_BYTES)
    with source.open() as handle:
        lines = _Lines(handle)
        columns: list[str] = []
        rows: Any = None
        while True:
            lines.forget()
            start = lines.number + 1
            try:
                if rows is None:
                    rows = _reader(lines, source.suffix)
                cells = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                if lines.number == start and not (lines.ended and "end of data" in str(error)):
                    fault = BadRecord("line", f'is no CSV row ({error}); a quote within a cell is written ""')
                    yield Record(source.path, line=start, fault=fault)
                    continue
                unread = max(0, source.size - lines.bytes)
                share = f"{min(1.0, unread / source.size):.0%}" if source.size else "the rest"
                reason = (
                    f"opens a quote that is never closed ({error}); {share} of the file "
                    f'is unread; close the quote, or write one within a cell as ""'
                )
                quote = lines.quote_line()
                yield Record(
                    source.path, line=quote, fault=BadRecord("line", reason), unread=(unread, lines.bytes)
                )
                return
            if not any(cell.strip() for cell in cells):
                if columns and cells:
                    file = str(source.path)
                    notes.blank_rows[file] = notes.blank_rows.get(file, 0) + 1
                continue
            if not columns:
                columns = [cell.strip() for cell in cells]
                continue
            try:
                yield Record(source.path, _row(cells, columns, lines), line=start)
            except BadRecord as fault:
                yield Record(source.path, line=start, fault=fault)


def _reader(lines: _Lines, suffix: str) -> Any:
    """A strict reader, its delimiter told from the header."""
    header = next(lines)
    lines.row, lines.number = [], 0
    delimiter = "\t" if suffix == ".tsv" else ","
    if "," not in header and suffix != ".tsv":
        delimiter = max((",", "\t", ";"), key=header.count)

    def again() -> Iterator[str]:
        lines.number += 1
        lines.row.append(header)
        yield header
        yield from lines

    return csv.reader(again(), strict=True, delimiter=delimiter)


def _row(cells: list[str], columns: list[str], lines: _Lines) -> dict[str, Any]:
    """A row as a dict.

    Raises:
        BadRecord: it has more cells than columns, lacks one that is needed, or is not UTF-8.
    """
    tall = len(lines.row)  # a row of several lines may have swallowed others
    counts = f"has {len(cells)} cell(s) where the header names {len(columns)}"
    if len(cells) > len(columns):
        reason = f"{counts}; put a cell that holds a comma or a line end in quotes"
        raise BadRecord("line", reason, tall)
    if _NEEDED & set(columns[len(cells) :]):
        raise BadRecord("line", f"{counts}; put a cell that holds a line end in quotes", tall)
    if any(map(_NOT_UTF8.search, cells)):
        raise BadRecord("line", f"is not UTF-8; {ICONV}", tall)
    row: dict[str, Any] = dict(zip(columns, cells, strict=False))
    if isinstance(row.get("answers"), str):  # a list cannot stand in a cell but as JSON
        try:
            row["answers"] = parse(row["answers"])
        except BadRecord as fault:
            raise BadRecord("answers", str(fault)) from fault
    return row


def parquet_rows(source: Source, notes: Notes) -> Iterator[Record]:
    import pyarrow
    import pyarrow.parquet

    errors = (pyarrow.ArrowException, OSError, ValueError, TypeError, OverflowError)
    # columns that a partitioned folder keeps in its folders' names
    pairs = (part.split("=", 1) for part in source.path.parts[:-1] if part.count("=") == 1)
    partitions = {key: value for key, value in pairs if key}
    with source.open() as packed, _seekable(packed) as handle:
        try:
            table = pyarrow.parquet.ParquetFile(handle)
        except errors as error:
            fault = BadRecord(
                "file", f"is no whole Parquet file ({_first_line(error)}); nothing could be read"
            )
            yield Record(source.path, fault=fault, unread=(source.size, 0))
            return
        number = given = 0
        unpacking = Unpacking(source.path, source.size)
        for group in range(table.num_row_groups):
            after = number + table.metadata.row_group(group).num_rows
            try:
                for batch in table.iter_batches(batch_size=512, row_groups=[group]):
                    given += batch.nbytes
                    unpacking.count("", given)  # a run of equal values is packed in a few bytes
                    for row in batch.to_pylist():
                        number += 1
                        yield Record(source.path, partitions | row, number=number)
            except errors as error:
                lost = after - number
                reason = (
                    f"is no whole Parquet file ({_first_line(error)}); {lost} row(s) after record {number} "
                    f"could not be read"
                )
                yield Record(source.path, number=number + 1, fault=BadRecord("file", reason, lost))
                number = after


def _seekable(handle: BinaryIO) -> BinaryIO:
    """The file itself, or a copy on disk of one that is packed: Parquet is read from its end."""
    if handle.seekable():
        return handle
    copy = tempfile.TemporaryFile()  # noqa: SIM115  (closed by the caller)
    for chunk in iter(lambda: handle.read(1 << 20), b""):
        copy.write(chunk)
    copy.seek(0)
    return copy


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:80]


def hub_records(name: str) -> Iterator[Record]:
    """Rows of all splits of ``owner/name`` or ``owner/name:configuration``.

    Raises:
        UserError: there is none, it cannot be reached, or its rows do not fit its columns' types.
    """
    import datasets
    import pyarrow

    repository, _, configuration = (name, "", "") if Path(name).exists() else name.partition(":")
    number = 0
    try:
        splits = datasets.load_dataset(
            repository, *([configuration] if configuration else []), streaming=True
        )
        for split, rows in splits.items():
            for number, row in zip(count(1), rows, strict=False):
                yield Record(Path(f"{HUB}{name}") / split, row, number=number, name=split)
    except (
        TypeError,
        KeyError,
        pyarrow.ArrowException,
        datasets.exceptions.DatasetsError,
        OSError,
        ValueError,
    ) as error:
        reason = " ".join(str(error).split())[:240] or type(error).__name__
        raise UserError(
            f"{HUB}{name}: cannot be read ({reason}); {_remedy(error, repository, number)}"
        ) from error


def _remedy(error: Exception, repository: str, number: int) -> str:
    if "onfig name is missing" in str(error) or "BuilderConfig" in str(error):
        return f"choose a configuration: {HUB}{repository}:NAME"
    if number or isinstance(error, TypeError) or "cast" in str(error).lower():
        return (
            "its rows do not fit the types that its first rows had; download it (hf download --repo-type "
            f"dataset {repository}) and give the folder"
        )
    return "check the id and the network; a private one needs: hf auth login"
