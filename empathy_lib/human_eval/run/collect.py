"""A study that people rate: its folder, its database beside it, and the CSV that comes out.

Knows: which files a study has and that they belong together. Does not know: how a sheet is shown (``page``)
or a rating kept (``store``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pandas as pd
from pydantic import BaseModel, Field

from empathy_lib.core.errors import UserError
from empathy_lib.core.files import tamed, write_text
from empathy_lib.core.identity import file_digest
from empathy_lib.core.run import RATINGS
from empathy_lib.core.schema import iter_jsonl
from empathy_lib.human_eval.design import KEY_FILE, STUDY_FILE, unblind
from empathy_lib.human_eval.ratings import STUDY, write_ratings
from empathy_lib.human_eval.run.store import RatingStore


class Reply(BaseModel):
    """One reply under its letter; ``chain`` is shown above the text where the design wants raters to see
    it."""

    letter: str = Field(min_length=1)
    text: str
    chain: str = ""


class Sheet(BaseModel):
    """What one rater sees of one item: a line of ``study.jsonl``. Other fields are left alone."""

    rater: str = Field(min_length=1)
    position: int
    item: str = Field(min_length=1)
    post: str
    study: str = ""
    replies: list[Reply] = Field(min_length=2)


@dataclass(frozen=True)
class Collection:
    """A study with its database. ``sheets``: rater -> sheets in the order to be shown."""

    folder: Path
    sheets: dict[str, list[Sheet]]
    store: RatingStore


def read_sheets(folder: Path) -> dict[str, list[Sheet]]:
    """Read ``study.jsonl`` and check that the key beside it is its own.

    Raises:
        UserError: a file is missing, empty or broken, a sheet or letter is there twice, the key is that of
            another study.
    """
    path, key = folder / STUDY_FILE, folder / KEY_FILE
    for file in (path, key):
        if not file.is_file():
            raise UserError(
                f"{file}: no such file; a study is a folder with {STUDY_FILE} and {KEY_FILE}, as `study` and "
                f"notebook 06 write it"
            )
    sheets: list[Sheet] = []
    seen: dict[tuple[str, str], int] = {}
    for number, sheet in iter_jsonl(
        path, Sheet, "; a line is {rater, position, item, post, replies: [{letter, text}]}"
    ):
        where = f"{path}, line {number}: rater '{sheet.rater}', item '{sheet.item}'"
        if (sheet.rater, sheet.item) in seen:
            raise UserError(
                f"{where}: already in line {seen[sheet.rater, sheet.item]}; write the study again"
            )
        if len({reply.letter for reply in sheet.replies}) < len(sheet.replies):
            raise UserError(f"{where}: a letter is there twice; write the study again")
        seen[sheet.rater, sheet.item] = number
        sheets.append(sheet)
    if not sheets:
        raise UserError(f"{path}: the file is empty; write the study again")
    marked = [(*row, sheet.study) for sheet in sheets for row in _letters([sheet])]
    unblind(
        pd.DataFrame(marked, columns=["rater", "item", "letter", STUDY]).assign(dimension="", rank=0), key
    )
    ordered = sorted(sheets, key=lambda sheet: (sheet.rater, sheet.position))
    return {rater: list(own) for rater, own in groupby(ordered, key=lambda sheet: sheet.rater)}


def _letters(sheets: list[Sheet]) -> list[tuple[str, str, str]]:
    return [(sheet.rater, sheet.item, reply.letter) for sheet in sheets for reply in sheet.replies]


def open_collection(folder: str | Path) -> Collection:
    """Open a study for its raters; makes ``ratings.sqlite`` in the folder the first time.

    Raises:
        UserError: as :func:`read_sheets` and :class:`~empathy_lib.human_eval.run.store.RatingStore`.
    """
    folder = Path(folder).expanduser()
    sheets = read_sheets(folder)
    letters = _letters([sheet for own in sheets.values() for sheet in own])
    return Collection(
        folder, sheets, RatingStore(folder / RATINGS, file_digest(folder / STUDY_FILE), letters)
    )


def export_ratings(collection: Collection, path: Path) -> dict[str, int]:
    """Write the ratings of all complete sheets, unblinded, as the CSV that ``rank`` reads; may be done while
    people still rate.

    Returns:
        How many sheets are ``complete`` (written), ``begun`` and ``untouched`` (both left out).

    Raises:
        UserError: no sheet is complete.
    """
    counts = collection.store.counts()
    rows = collection.store.complete_ratings()
    if not rows:
        raise UserError(
            f"{collection.store.path}: no sheet is complete yet ({counts['begun']} begun); export once "
            f"somebody has rated one"
        )
    letters = pd.DataFrame(rows, columns=["rater", "item", "dimension", "letter", "rank", "seconds"])
    write_ratings(unblind(letters, collection.folder / KEY_FILE), path)
    return counts


def write_links(links: Mapping[str, str], path: Path) -> None:
    """Write the raters' links as a CSV of ``rater,link`` that only its owner can read."""
    table = pd.DataFrame([(tamed(rater), link) for rater, link in links.items()], columns=["rater", "link"])
    write_text(path, table.to_csv(index=False), private=True)
