"""A path as records: each file, of a folder or an archive too, handed to the reader of its kind.

Knows: which reader a suffix has, what is said where a file cannot be read on. Does not know: how a kind is
read (``records``, ``tables``), or what a record means (``layouts``).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from empathy_lib.core.errors import UserError
from empathy_lib.dataset.files import READ, READ_ERRORS, Notes, Source, sources
from empathy_lib.dataset.layouts import BadRecord
from empathy_lib.dataset.records import Record, foreign_encoding, json_lines, json_values, text_file
from empathy_lib.dataset.tables import csv_rows, parquet_rows

_READERS = {
    ".json": json_values,
    ".jsonl": json_lines,
    ".ndjson": json_lines,
    ".txt": text_file,
    ".csv": csv_rows,
    ".tsv": csv_rows,
    ".parquet": parquet_rows,
}


def path_records(path: Path, notes: Notes | None = None) -> Iterator[Record]:
    """Every record of a file, of an archive or of a folder of them.

    Raises:
        UserError: there is no file that could be read.
    """
    notes, found = notes if notes is not None else Notes(), 0
    for source in sources(path, notes):
        found += 1
        yield from source_records(source, notes, named=holds_several(path))
    if not found:
        passed = "; ".join(notes.lines())
        if path.is_file():
            raise UserError(f"{path}: {notes.not_read[0]['why'] if notes.not_read else 'holds no file'}")
        raise UserError(
            f"{path}: the folder holds no {', '.join(READ)} file; give a folder of dialogues, or a file"
            + (f" ({passed})" if passed else "")
        )


def holds_several(path: Path) -> bool:
    """Whether a path may hold several files, so that their names must be part of generated ids."""
    return not path.is_file() or path.suffix.lower() == ".zip"


def source_records(source: Source, notes: Notes, *, named: bool) -> Iterator[Record]:
    """The records of one file; ``named`` if its name must be part of generated ids."""
    place = {"name": source.name if named else "", "folder": source.folder}
    number = 0
    try:
        with source.open() as handle:
            begins = handle.read(4)
        fault = foreign_encoding(begins) if begins else BadRecord("file", "is empty")
        if fault is not None:
            yield Record(source.path, fault=fault, unread=(source.size, 0), **place)
            return
        for record in _READERS[source.suffix](source, notes):
            number += 1
            yield Record(**{**vars(record), **place})
    except READ_ERRORS as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())[:100]
        fault = BadRecord("file", f"cannot be read on after {number} record(s) ({reason}); mend or unpack it")
        yield Record(source.path, fault=fault, unread=(source.size, 0), **place)
