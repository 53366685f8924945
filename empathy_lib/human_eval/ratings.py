"""The rating store: one CSV line per opinion, checked on the way in.

Knows: the columns, the four dimensions, what makes a line invalid, which ratings come from simulated raters.
Does not know: how a study is designed (``design``) or summarised (``ranking``).

The columns are ``rater,item,dimension,system,rank``. Rank 1 is the best; equal ranks are a tie (``1,1,2``, ``1,1,3`` and ``1.5,1.5,3``
mean the same). A system without a line, or with an empty rank, was not ranked.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pandas as pd

from empathy_lib.errors import UserError

COLUMNS = ("rater", "item", "dimension", "system", "rank")
# As reported of the paper's human study; what each asks is our wording.
DIMENSIONS = ("Fluency", "Identification", "Comforting", "Suggestion")
DIMENSION_QUESTIONS = {
    "Fluency": "Does it read naturally?",
    "Identification": "Does it grasp what the person feels and why?",
    "Comforting": "Would it comfort the person?",
    "Suggestion": "Is its advice helpful?",
}
SIMULATED_PREFIX = "simulated-"


def read_ratings(path: str | Path) -> pd.DataFrame:
    """Read and check a ratings CSV.

    Returns:
        One row per given rank: ``rater``, ``item``, ``dimension``, ``system`` (str), ``rank`` (float).

    Raises:
        UserError: no such file, not UTF-8, empty, a missing column, a broken line, an empty name, an unknown dimension, a rank
            that is no number from 1 up or is above the number of systems, a doubled (rater, item, dimension, system).
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such ratings file; give the path of a CSV with the columns {','.join(COLUMNS)}")
    first_line: dict[tuple[str, str, str, str], int] = {}
    rows: list[tuple[str, str, str, str, float]] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:  # -sig: spreadsheets write a byte-order mark
            reader = csv.DictReader(handle, strict=True)
            _check_header(path, reader.fieldnames)
            for record in reader:
                where = f"{path}, line {reader.line_num}"
                key, rank = _check_record(where, record)
                if key in first_line:
                    raise UserError(
                        f"{where}: field 'system': rater '{key[0]}' already ranked '{key[3]}' for item '{key[1]}', {key[2]} "
                        f"in line {first_line[key]}; keep one of the two lines"
                    )
                first_line[key] = reader.line_num
                if rank is not None:
                    rows.append((*key, rank))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}); save it as 'CSV UTF-8'") from error
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: not valid CSV ({error}); quote fields that hold commas or quotes") from error
    if not rows:
        raise UserError(f"{path}: holds no rank; give one line per (rater, item, dimension, system) below the header")
    systems = {row[3] for row in rows}
    for row in rows:
        if row[4] > len(systems):
            raise UserError(
                f"{path}, line {first_line[row[:4]]}: field 'rank': {row[4]:g} is above the number of systems ({len(systems)}); "
                f"use 1 (best) to {len(systems)}"
            )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _check_header(path: Path, header: list[str] | None) -> None:
    if not header or not any(name.strip() for name in header):
        raise UserError(f"{path}: the file is empty; its first line must be {','.join(COLUMNS)}")
    for column in COLUMNS:
        if header.count(column) != 1:
            fault = "missing" if column not in header else "given twice"
            raise UserError(f"{path}, line 1: column '{column}' is {fault}; the first line must be {','.join(COLUMNS)}")


def _check_record(where: str, record: dict) -> tuple[tuple[str, str, str, str], float | None]:
    if None in record or any(value is None for value in record.values()):
        raise UserError(f"{where}: the line has too {'many' if None in record else 'few'} fields; write as many as the first line has")
    values = {column: record[column].strip() for column in COLUMNS}
    for column in ("rater", "item", "system"):
        if not values[column]:
            raise UserError(f"{where}: field '{column}' is empty; name the {column}")
    if values["dimension"] not in DIMENSIONS:
        raise UserError(f"{where}: field 'dimension': unknown '{values['dimension']}'; use one of {', '.join(DIMENSIONS)}")
    key = (values["rater"], values["item"], values["dimension"], values["system"])
    return key, _rank(where, values["rank"]) if values["rank"] else None


def _rank(where: str, text: str) -> float:
    try:
        rank = float(text)
    except ValueError:
        rank = math.nan
    if not (math.isfinite(rank) and rank >= 1):
        raise UserError(f"{where}: field 'rank': '{text}' is no number from 1 up; use 1 for the best, 2 for the next, or leave it empty")
    return rank


def write_ratings(ratings: pd.DataFrame, path: str | Path) -> None:
    """Write ratings in the layout that :func:`read_ratings` reads."""
    ratings[list(COLUMNS)].to_csv(path, index=False, float_format="%g")


def is_simulated(ratings: pd.DataFrame) -> bool:
    """Whether any rater is a simulated one. The label is part of the rater's name, so it survives a CSV."""
    return bool(ratings["rater"].str.startswith(SIMULATED_PREFIX).any())
