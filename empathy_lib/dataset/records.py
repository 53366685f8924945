"""Files and hub datasets as records, one at a time.

Knows: JSON lists, JSON lines, CSV, Parquet, text, folders of these, hub datasets; what a broken one looks
like. Does not know: what a record means (``layouts``). A fault is a record too, so that it is counted and
what follows is still read.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import ijson

from empathy_lib.core.config import HUB
from empathy_lib.core.errors import UserError
from empathy_lib.dataset.layouts import BadRecord

SUFFIXES = (".json", ".jsonl", ".csv", ".parquet", ".txt")
MAX_RECORD_BYTES = 1_000_000


@dataclass(frozen=True)
class Record:
    """A parsed record, or the fault that kept it from being parsed, and where it stands."""

    file: Path
    value: Any = None
    line: int | None = None
    number: int | None = None
    fault: BadRecord | None = None


def path_records(path: Path) -> Iterator[Record]:
    if path.is_file():
        if path.suffix.lower() not in SUFFIXES:
            raise UserError(f"{path}: unknown file type '{path.suffix}'; use {', '.join(SUFFIXES)}")
        yield from _file_records(path)
        return
    files = sorted(
        file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
    )
    if not files:
        raise UserError(
            f"{path}: the folder holds no {', '.join(SUFFIXES)} file; give a folder of dialogues, or a file"
        )
    for file in files:
        yield from _file_records(file)


def _file_records(path: Path) -> Iterator[Record]:
    readers = {".jsonl": _jsonl, ".json": _json, ".csv": _csv, ".parquet": _parquet, ".txt": _txt}
    if path.stat().st_size == 0:
        yield Record(path, fault=BadRecord("file", "is empty"))
        return
    yield from readers[path.suffix.lower()](path)


def _decoded(path: Path, data: bytes, line: int | None = None) -> Record:
    """A record with the decoded text as its value, or the fault."""
    try:
        return Record(path, data.decode("utf-8-sig"), line)
    except UnicodeDecodeError as error:
        reason = (
            f"is not UTF-8 (byte {error.start + 1}); convert the file, e.g. with: iconv -f GB18030 -t UTF-8"
        )
        return Record(path, line=line, fault=BadRecord("line" if line else "file", reason))


def _jsonl(path: Path) -> Iterator[Record]:
    with path.open("rb") as handle:
        for number in count(1):
            data = handle.readline(MAX_RECORD_BYTES + 1)
            if not data:
                return
            if (size := len(data)) > MAX_RECORD_BYTES:
                while data and not data.endswith(b"\n"):  # read on to the line's end without keeping it
                    data = handle.readline(MAX_RECORD_BYTES)
                    size += len(data)
                yield Record(
                    path,
                    line=number,
                    fault=BadRecord("line", f"has {size:,} bytes, more than {MAX_RECORD_BYTES:,}"),
                )
                continue
            record = _decoded(path, data, number)
            if record.fault is None:
                if not record.value.strip():
                    continue
                try:
                    record = Record(path, json.loads(record.value), number)
                except (json.JSONDecodeError, RecursionError) as error:
                    reason = (
                        f"is not valid JSON ({getattr(error, 'msg', 'nested too deeply')}); each line must "
                        f"be one JSON value"
                    )
                    record = Record(path, line=number, fault=BadRecord("line", reason))
            yield record


def _json(path: Path) -> Iterator[Record]:
    """Elements of a JSON list one by one; one dialogue (a list of turns), one object, or objects one after
    the other are records."""
    with path.open("rb") as handle:
        head = handle.read(4096)
        start = 3 if head.startswith(b"\xef\xbb\xbf") else 0
        if not head[start:].strip():
            yield Record(path, fault=BadRecord("file", "is empty"))
            return
        dialogue = re.match(rb"\s*\[\s*\{[^{}\[\]]*?\"role\"\s*:", head[start:]) is not None
        listed = head[start:].lstrip().startswith(b"[") and not dialogue
        handle.seek(start)
        values = ijson.items(handle, "item" if listed else "", use_float=True, multiple_values=True)
        number = 0
        while True:
            number += 1
            try:
                value = next(values)
            except StopIteration:
                return
            except (ijson.JSONError, UnicodeDecodeError) as error:
                line, why = _break(path)
                reason = f"{why or error} at record {number}; nothing after it could be read"
                yield Record(
                    path, line=line, number=number, fault=BadRecord("file", " ".join(reason.split()))
                )
                return
            yield Record(path, value, number=number if listed else None)


def _break(path: Path) -> tuple[int | None, str]:
    """Line and nature of what breaks a JSON file; nothing for one too large to be read whole."""
    if path.stat().st_size > 64 * MAX_RECORD_BYTES:
        return None, ""
    try:
        json.loads(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return (
            None,
            f"is not UTF-8 (byte {error.start + 1}); convert it, e.g. with: iconv -f GB18030 -t UTF-8; "
            f"stopped",
        )
    except json.JSONDecodeError as error:
        return error.lineno, f"is not valid JSON ({error.msg})"
    return None, ""


def _csv(path: Path) -> Iterator[Record]:
    csv.field_size_limit(MAX_RECORD_BYTES)
    with path.open(encoding="utf-8-sig", newline="") as handle:
        rows = csv.DictReader(handle)
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                yield Record(path, line=rows.line_num, fault=BadRecord("line", f"is no CSV row ({error})"))
                continue
            except UnicodeDecodeError as error:
                reason = (
                    f"is not UTF-8 ({error.reason}); convert the file, e.g. with: iconv -f GB18030 -t UTF-8"
                )
                yield Record(path, line=rows.line_num, fault=BadRecord("file", reason))
                return
            if isinstance(row.get("answers"), str):  # a list cannot stand in a cell but as JSON
                try:
                    row["answers"] = json.loads(row["answers"])
                except json.JSONDecodeError as error:
                    yield Record(
                        path,
                        line=rows.line_num,
                        fault=BadRecord("answers", f"is not valid JSON ({error.msg})"),
                    )
                    continue
            yield Record(path, row, line=rows.line_num)


def _parquet(path: Path) -> Iterator[Record]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=512):
            for row in batch.to_pylist():
                number += 1
                yield Record(path, row, number=number)
    except pyarrow.ArrowException as error:
        reason = (
            f"is no whole Parquet file ({str(error).splitlines()[0][:80]}); nothing after record {number} "
            f"could be read"
        )
        yield Record(path, number=number or None, fault=BadRecord("file", reason))


def _txt(path: Path) -> Iterator[Record]:
    yield _decoded(path, path.read_bytes())


def hub_records(name: str) -> Iterator[Record]:
    import datasets

    try:
        splits = datasets.load_dataset(name, streaming=True)
        for split, rows in splits.items():
            for number, row in enumerate(rows, 1):
                yield Record(Path(f"{HUB}{name}") / split, row, number=number)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UserError(
            f"{HUB}{name}: cannot be read ({reason}); check the id and the network; a private one needs: hf "
            f"auth login"
        ) from error
