"""The rating store: one CSV line per opinion, checked on the way in.

Knows: the columns, the names of dimensions, what makes a line invalid, which ratings come from simulated
raters.
Does not know: how a study is designed (``design``) or summarised (``ranking``).

The columns are ``rater,item,dimension,system,rank``. Rank 1 is the best; equal ranks are a tie (``1,1,2``,
``1,1,3`` and ``1.5,1.5,3`` mean the same). A system without a line, or with an empty rank, was not ranked. A
column ``seconds`` may follow: how long the rater had the sheet (rater, item) before them, repeated on its
lines. While a study is blind, ``letter`` stands in the place of ``system``, and a column ``study`` may say
which study a sheet is of.

The paper's four dimensions are known in any case (``fluency``); a study's own are called what it calls them.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from empathy_lib.core.errors import UserError
from empathy_lib.core.files import tamed, untamed, write_text
from empathy_lib.core.json_text import nearest_name
from empathy_lib.core.paper import DIMENSIONS

COLUMNS = ("rater", "item", "dimension", "system", "rank")
SECONDS = "seconds"
STUDY = "study"
ALL_DIMENSIONS = "all"  # what results call the mean over dimensions; no dimension may
DIMENSION_QUESTIONS = {
    "Fluency": "Does it read naturally?",
    "Identification": "Does it grasp what the person feels and why?",
    "Comforting": "Would it comfort the person?",
    "Suggestion": "Is its advice helpful?",
}
SIMULATED_PREFIX = "simulated-"
_KNOWN = {name.casefold(): name for name in DIMENSIONS}


def read_ratings(path: str | Path, *, blind: bool = False) -> pd.DataFrame:
    """Read and check a ratings CSV.

    Args:
        path: the file.
        blind: whether replies are named by their ``letter``, as in a sheet that was filled in;
            ``design.unblind`` turns these into systems.

    Returns:
        One row per given rank: ``rater``, ``item``, ``dimension``, ``system`` or ``letter`` (str), ``rank``
            (float), and ``seconds``
        (float, NaN where empty) and, of a blind file, ``study`` if the file has those columns.

    Raises:
        UserError: no such file, not UTF-8, empty, a missing column, a broken line, an empty name, a dimension
            that is nearly another's or named "all", a rank that is no number from 1 up or is above the number
            of systems, a doubled (rater, item, dimension, system), seconds that are no number from 0 up.
    """
    path = Path(path)
    columns = [*COLUMNS[:3], "letter" if blind else "system", COLUMNS[4]]
    if not path.is_file():
        raise UserError(
            f"{path}: no such ratings file; give the path of a CSV with the columns {','.join(columns)}"
        )
    first_line: dict[tuple[str, ...], int] = {}
    rows: list[tuple] = []
    dimensions: dict[str, tuple[str, str]] = {}
    try:
        # -sig: spreadsheets write a byte-order mark
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle, strict=True)
            _check_header(path, reader.fieldnames, columns)
            more = [name for name in (SECONDS, *([STUDY] if blind else [])) if name in reader.fieldnames]
            for record in reader:
                where = f"{path}, line {reader.line_num}"
                key, rank, seconds = _check_record(where, record, columns)
                _check_spelling(where, key[2], dimensions)
                if key in first_line:
                    raise UserError(
                        f"{where}, rater '{key[0]}': field '{columns[3]}': '{key[3]}' is already ranked for "
                        f"item '{key[1]}', {key[2]} "
                        f"in line {first_line[key]}; keep one of the two lines"
                    )
                first_line[key] = reader.line_num
                if rank is not None:
                    rows.append((*key, rank, seconds, record.get(STUDY, "").strip()))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}); save it as 'CSV UTF-8'") from error
    except csv.Error as error:
        raise UserError(
            f"{path}, line {reader.line_num}: not valid CSV ({error}); quote fields that hold commas or "
            f"quotes"
        ) from error
    if not rows:
        raise UserError(
            f"{path}: holds no rank; give one line per (rater, item, dimension, {columns[3]}) below the "
            f"header"
        )
    for name, (spelt, where) in dimensions.items():
        near = name not in _KNOWN and nearest_name(spelt, DIMENSIONS)
        if near and near.casefold() in dimensions:
            raise UserError(
                f"{where}: field 'dimension': '{spelt}' is none of the others; did you mean {near}?"
            )
    most = len({row[3] for row in rows})
    for row in rows:
        if row[4] > most:
            raise UserError(
                f"{path}, line {first_line[row[:4]]}, rater '{row[0]}': field 'rank': {row[4]:g} is above "
                f"the number of {columns[3]}s "
                f"({most}); use 1 (best) to {most}"
            )
    return pd.DataFrame(rows, columns=[*columns, SECONDS, STUDY])[[*columns, *more]]


def dimension_name(name: str) -> str:
    """A dimension as results call it: the paper's in its own spelling, others as they are."""
    return _KNOWN.get(name.casefold(), name)


def _check_spelling(where: str, dimension: str, seen: dict[str, tuple[str, str]]) -> None:
    """A dimension spelt in two ways would be two; ``seen``: folded name -> spelling and its first line."""
    spelt, first = seen.setdefault(dimension.casefold(), (dimension, where))
    if spelt != dimension:
        raise UserError(
            f"{where}: field 'dimension': '{dimension}' is '{spelt}' in {first.rpartition(', ')[2]}; write "
            f"it in one way"
        )


def _check_header(path: Path, header: list[str] | None, columns: list[str]) -> None:
    if not header or not any(name.strip() for name in header):
        raise UserError(f"{path}: the file is empty; its first line must be {','.join(columns)}")
    for column in columns:
        if header.count(column) != 1:
            fault = "missing" if column not in header else "given twice"
            raise UserError(
                f"{path}, line 1: column '{column}' is {fault}; the first line must be {','.join(columns)}"
            )


def _check_record(
    where: str, record: dict, columns: list[str]
) -> tuple[tuple[str, ...], float | None, float]:
    """The line's (rater, item, dimension, name), its rank (None if empty) and its seconds (NaN if not there
    or empty)."""
    if None in record or any(value is None for value in record.values()):
        raise UserError(
            f"{where}: the line has too {'many' if None in record else 'few'} fields; write as many as the "
            f"first line has"
        )
    rater, item, dimension, name = (untamed(record[column].strip()) for column in columns[:4])
    rank = record[columns[4]].strip()
    for column, value in zip(columns, (rater, item), strict=False):
        if not value:
            raise UserError(f"{where}: field '{column}' is empty; name the {column}")
    where += f", rater '{rater}'"
    if not name:
        raise UserError(f"{where}: field '{columns[3]}' is empty; name the {columns[3]}")
    if not dimension:
        raise UserError(f"{where}: field 'dimension' is empty; name the dimension, such as {DIMENSIONS[0]}")
    if dimension.casefold() == ALL_DIMENSIONS:
        raise UserError(
            f"{where}: field 'dimension': '{dimension}' is what results call the mean of the dimensions; "
            f"rename it"
        )
    seconds = record.get(SECONDS, "").strip()
    return (
        (rater, item, dimension_name(dimension), name),
        _number(where, "rank", rank, 1, "use 1 for the best, 2 for the next, or leave it empty")
        if rank
        else None,
        _number(where, SECONDS, seconds, 0, "give the seconds spent on the sheet, or leave it empty")
        if seconds
        else math.nan,
    )


def _number(where: str, column: str, text: str, least: int, remedy: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= least):
        raise UserError(f"{where}: field '{column}': '{text}' is no number from {least} up; {remedy}")
    return number


def write_ratings(ratings: pd.DataFrame, path: str | Path) -> None:
    """Write ratings in the layout that :func:`read_ratings` reads; ``seconds`` too, where there are any.

    A name that a spreadsheet would take for a formula has an apostrophe before it, which reading takes off.
    """
    table = ratings[[*COLUMNS, *ratings.columns.intersection([SECONDS])]]
    table = table.assign(**{name: table[name].map(tamed) for name in COLUMNS[:4]})
    write_text(Path(path), table.to_csv(index=False, float_format="%g"))


def is_simulated(ratings: pd.DataFrame) -> bool:
    """Whether any rater is a simulated one. The label is part of the rater's name, so it survives a CSV."""
    return bool(ratings["rater"].str.startswith(SIMULATED_PREFIX).any())


def without_raters(ratings: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The ratings of the others.

    Raises:
        UserError: a name that no rater has, or nobody left.
    """
    raters = sorted(set(ratings["rater"]))
    for name in names:
        if name not in raters:
            raise UserError(f"--without {name}: no such rater; the file holds {', '.join(raters)}")
    if set(names) >= set(raters):
        raise UserError("--without leaves out every rater; keep at least one")
    return ratings[~ratings["rater"].isin(names)]
