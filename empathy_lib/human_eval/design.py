"""The blinded study: which items, in which order, under which letters.

Knows: completions of the systems, seeded choice and shuffling, what a rater may see. Does not know: ranks.

A rater sees the post and the replies under letters. The chain of empathy is not shown: its tags would tell which systems write one. Of a
completion that breaks the grammar a rater sees what a user would see (``coe.answer_of``), which may hold words of the chain.
The letters are drawn anew for every (rater, item); who is who stands in a file of its own, kept from the raters.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase

import numpy as np
import pandas as pd

from empathy_lib import coe
from empathy_lib.artefacts import read_json, write_json
from empathy_lib.errors import UserError

Completions = dict[str, dict[str, str]]  # item id -> system -> completion
STUDY_FILE = "study.jsonl"
KEY_FILE = "key.json"


@dataclass(frozen=True)
class Study:
    """``sheets``: what raters see, one per (rater, item), in the order to be shown. ``key``: rater -> item -> letter -> system."""

    sheets: list[dict]
    key: dict[str, dict[str, dict[str, str]]]
    items: list[str]
    systems: list[str]


def read_completions(path: str | Path) -> Completions:
    """Read the completions that notebook 05 wrote: one ``{"id", "system", "completion"}`` a line.

    Raises:
        UserError: no such file, no JSON object, a field missing or no text, a doubled (id, system); names file, line, field, remedy.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; run notebook 05 first")
    found: Completions = {}
    with path.open(encoding="utf-8", errors="replace") as handle:
        for number, line in enumerate(handle, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise UserError(f"{path}, line {number}: not valid JSON ({error.msg}); run notebook 05 again") from error
            for field in ("id", "system", "completion"):
                if not isinstance(record, dict) or not isinstance(record.get(field), str):
                    raise UserError(f"{path}, line {number}: field '{field}' is missing or no text; run notebook 05 again")
            systems = found.setdefault(record["id"], {})
            if record["system"] in systems:
                raise UserError(
                    f"{path}, line {number}: system '{record['system']}' answered '{record['id']}' twice; run notebook 05 again"
                )
            systems[record["system"]] = record["completion"]
    return found


def build_study(completions: Completions, posts: Mapping[str, str], *, raters: int, items: int, rng: np.random.Generator) -> Study:
    """Draw a blinded study.

    Args:
        completions: item id -> system -> completion; only items that every system answered are used.
        posts: item id -> text of the post.
        raters: how many raters; named ``rater-01`` and so on.
        items: how many items at most; all raters judge the same ones, each in an order of their own.
        rng: decides items, orders and letters; the same generator state gives the same study.

    Raises:
        UserError: fewer than two systems or more than 26, no item that all systems answered, a post missing.
    """
    systems = sorted({system for answers in completions.values() for system in answers})
    if not 2 <= len(systems) <= len(ascii_uppercase):
        raise UserError(f"completions: {len(systems)} systems ({', '.join(systems)}); a ranking needs 2 to {len(ascii_uppercase)}")
    answered = sorted(item for item, answers in completions.items() if len(answers) == len(systems))
    if not answered:
        raise UserError("completions: no item was answered by all systems; run notebook 05 again")
    for item in answered:
        if item not in posts:
            raise UserError(f"completions: item '{item}' is not in the dataset of notebook 01; run notebook 05 again")
    chosen = [str(item) for item in rng.permutation(answered)[:items]]
    letters = ascii_uppercase[: len(systems)]
    sheets, key = [], {}
    for number in range(1, raters + 1):
        rater = f"rater-{number:02d}"
        key[rater] = {}
        for position, item in enumerate(rng.permutation(chosen), 1):
            shown = dict(zip(letters, (str(system) for system in rng.permutation(systems)), strict=True))
            key[rater][str(item)] = shown
            replies = [{"letter": letter, "text": coe.answer_of(completions[item][system])} for letter, system in shown.items()]
            sheets.append({"rater": rater, "position": position, "item": str(item), "post": posts[item], "replies": replies})
    return Study(sheets, key, chosen, systems)


def write_study(study: Study, folder: Path) -> None:
    """Write ``study.jsonl`` (for the raters) and ``key.json`` (not for the raters) into ``folder``."""
    with (Path(folder) / STUDY_FILE).open("w", encoding="utf-8") as handle:
        for sheet in study.sheets:
            handle.write(json.dumps(sheet, ensure_ascii=False) + "\n")
    write_json(Path(folder) / KEY_FILE, study.key)


def sheet_to_html(sheet: dict) -> str:
    """Show one sheet as its rater sees it; all text is escaped."""
    replies = "".join(
        f"<div style='border-left:4px solid #999;padding:2px 8px;margin:4px 0;white-space:pre-wrap'>"
        f"<b>{html.escape(reply['letter'])}</b> {html.escape(reply['text']) or '<i>(empty)</i>'}</div>"
        for reply in sheet["replies"]
    )
    head = f"{sheet['rater']}, sheet {sheet['position']}, item {sheet['item']}"
    return (
        "<div style='border:1px solid #ddd;padding:6px;margin:4px 0;text-align:left'>"
        f"<div style='color:#555;font-size:85%'>{html.escape(head)}</div>"
        f"<div style='white-space:pre-wrap'>{html.escape(sheet['post'])}</div>{replies}</div>"
    )


def unblind(letters: pd.DataFrame, key_path: str | Path) -> pd.DataFrame:
    """Turn ranks of letters into ratings.

    Args:
        letters: columns ``rater, item, dimension, letter, rank``.
        key_path: the ``key.json`` of the same study.

    Returns:
        Columns ``rater, item, dimension, system, rank`` (see ``ratings``).

    Raises:
        UserError: no such key, or a (rater, item, letter) the key does not hold.
    """
    key = read_json(Path(key_path))
    systems = []
    for row in letters.itertuples():
        system = key.get(row.rater, {}).get(row.item, {}).get(row.letter)
        if system is None:
            raise UserError(
                f"{key_path}: no letter '{row.letter}' for rater '{row.rater}', item '{row.item}'; use the key of the same study"
            )
        systems.append(system)
    return letters.assign(system=systems)[["rater", "item", "dimension", "system", "rank"]]
