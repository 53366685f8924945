"""A study for other tools, and back: a Label Studio project, a CSV for a spreadsheet, and the folder that
holds them all.

Knows: a study's sheets, the layouts. Does not know: who is who; what comes back is named by letters
(``design.unblind``).

Label Studio: replies are read once, and for each dimension a Ranker sorts their letters into buckets
``rank_1`` … ``rank_k``; letters in one bucket are a tie, letters left in the list have no rank. Each rater
has tasks of their own (filter by ``rater``), since orders and letters are drawn for each. The layouts are
those that Label Studio documents: tags *List*, *Ranker* with *Bucket* (``value.ranker`` maps each bucket to
ids, ``_`` holds what is left in the list), and *Label Studio JSON format of annotated tasks*
(labelstud.io/tags/ranker, labelstud.io/guide/task_format).
"""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
from pydantic import BaseModel, Field, ValidationError

from empathy_lib.core.errors import UserError
from empathy_lib.core.files import tamed, write_json, write_text
from empathy_lib.core.json_text import decode, parse_json
from empathy_lib.core.paper import DIMENSIONS
from empathy_lib.core.schema import describe
from empathy_lib.human_eval.design import Study, write_study
from empathy_lib.human_eval.instructions import DIMENSION_TEXTS, instructions
from empathy_lib.human_eval.ratings import ALL_DIMENSIONS, SECONDS, STUDY, dimension_name, read_ratings

CONFIG_FILE, TASKS_FILE = "label_studio_config.xml", "label_studio_tasks.json"
SHEETS_FILE = "sheets.csv"
LANGUAGES = ("zh", "en")
RANKER = "ranker"


def label_studio_config(study: Study) -> str:
    """The labelling interface as XML: the post, the replies, a Ranker for each dimension; questions in
    Chinese and English."""
    letters, chained = _letters(study)
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Header", value="求助帖 · post")
    ElementTree.SubElement(view, "Text", name="post", value="$post")
    for letter in letters:
        ElementTree.SubElement(view, "Header", value=letter)
        if chained:
            ElementTree.SubElement(view, "Text", name=f"chain_{letter}", value=f"$chain_{letter}")
        ElementTree.SubElement(view, "Text", name=f"reply_{letter}", value=f"$reply_{letter}")
    for dimension in DIMENSIONS:
        texts = [DIMENSION_TEXTS[language][dimension] for language in LANGUAGES]
        ElementTree.SubElement(
            view, "Header", value=" · ".join(f"{text.name}: {text.question}" for text in texts)
        )
        ElementTree.SubElement(
            view, "List", name=f"list_{dimension.lower()}", value="$items", title="未排序 · not ranked"
        )
        ranker = ElementTree.SubElement(
            view, "Ranker", name=dimension.lower(), toName=f"list_{dimension.lower()}"
        )
        for rank in range(1, len(letters) + 1):
            ElementTree.SubElement(ranker, "Bucket", name=f"rank_{rank}", title=str(rank))
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"


def _letters(study: Study) -> tuple[list[str], bool]:
    """The letters of every sheet, which are the same, and whether replies carry chains."""
    replies = study.sheets[0]["replies"]
    return [reply["letter"] for reply in replies], "chain" in replies[0]


def label_studio_tasks(study: Study) -> list[dict[str, Any]]:
    """The tasks, one for each sheet, as Label Studio imports them; no task names a system."""
    tasks, mark = [], study.mark
    for sheet in study.sheets:
        data = {STUDY: mark} | {field: sheet[field] for field in ("rater", "position", "item", "post")}
        for reply in sheet["replies"]:
            data |= {
                f"{'reply' if field == 'text' else field}_{reply['letter']}": reply[field]
                for field in reply
                if field != "letter"
            }
        data["items"] = [{"id": reply["letter"], "title": reply["letter"]} for reply in sheet["replies"]]
        tasks.append({"data": data})
    return tasks


class _Data(BaseModel):
    study: str = ""
    rater: str = Field(min_length=1)
    item: str = Field(min_length=1)
    items: list[dict[str, str]]


class _Ranking(BaseModel):
    ranker: dict[str, list[str]]


class _Result(BaseModel):
    from_name: str = Field(min_length=1)
    value: dict[str, Any]


class _Annotation(BaseModel):
    result: list[dict[str, Any]]
    was_cancelled: bool = False
    lead_time: float | None = Field(None, ge=0)


class _Task(BaseModel):
    data: _Data
    annotations: list[_Annotation]


def read_label_studio(path: str | Path) -> tuple[pd.DataFrame, Counter[str]]:
    """Read a project's JSON export. Tasks without an annotation, and skipped ones, are left out.

    Returns:
        Columns ``rater, item, dimension, letter, rank, seconds`` (``lead_time``) and ``study`` (the mark,
        empty where a task has none), for ``design.unblind``; and how many results are no ranking, by type: a
        relation, or a control that somebody added. A ranker with a name of its own is a dimension of its own.

    Raises:
        UserError: no such file, no JSON, another layout, an unknown bucket or letter, a letter
            ranked twice, a sheet annotated twice, nothing annotated; names the task's place in the file and
            the rater.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; export the project from Label Studio as JSON")
    remedy = "export the project from Label Studio as JSON"
    tasks = parse_json(decode(path.read_bytes(), str(path)), str(path), remedy)
    if not isinstance(tasks, list):
        raise UserError(
            f"{path}: holds no list of tasks; export the project from Label Studio as JSON, not as JSON-MIN"
        )
    rows: list[tuple] = []
    skipped: Counter[str] = Counter()
    seen: dict[tuple[str, str], int] = {}
    for number, raw in enumerate(tasks, 1):
        data = raw.get("data") if isinstance(raw, dict) else None
        where = f"{path}, task {number}, rater '{data.get('rater', '') if isinstance(data, dict) else ''}'"
        task = _valid(_Task, raw, where)
        kept = [annotation for annotation in task.annotations if not annotation.was_cancelled]
        if not kept:
            continue
        sheet = (task.data.rater, task.data.item)
        if len(kept) > 1 or sheet in seen:
            other = f"in task {seen[sheet]} as well" if sheet in seen else f"{len(kept)} times"
            raise UserError(
                f"{where}: item '{sheet[1]}' is annotated {other}; keep one annotation of each sheet"
            )
        seen[sheet] = number
        rows += _ranks(where, task.data, kept[0])
        skipped.update(kind for result in kept[0].result if (kind := _kind(result)) != RANKER)
    if not rows:
        raise UserError(f"{path}: holds no ranked reply; export the project once somebody has ranked one")
    table = pd.DataFrame(rows, columns=["rater", "item", "dimension", "letter", "rank", SECONDS, STUDY])
    return table, skipped


def _kind(result: dict[str, Any]) -> str:
    return str(result.get("type") or "without a type")


def read_answers(path: str | Path) -> tuple[pd.DataFrame, Counter[str]]:
    """Read what came back, a JSON export (by its suffix in any case, or by its beginning) or a filled CSV; as
    :func:`read_label_studio` gives it.

    Raises:
        UserError: as :func:`read_label_studio` and ``ratings.read_ratings``.
    """
    path, begins = Path(path), b""
    if path.is_file():
        with path.open("rb") as handle:
            begins = handle.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    if path.suffix.lower() == ".json" or begins[:1] in (b"[", b"{"):
        return read_label_studio(path)
    return read_ratings(path, blind=True), Counter()


def _valid(model: type[BaseModel], value: Any, where: str) -> Any:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise UserError(
            f"{where}: {describe(error)}; use the project that the study made, exported as JSON"
        ) from error


def _ranks(where: str, data: _Data, annotation: _Annotation) -> list[tuple]:
    letters = {item.get("id") for item in data.items}
    buckets = {f"rank_{rank}": float(rank) for rank in range(1, len(letters) + 1)}
    rows: list[tuple] = []
    seen: set[tuple[str, str]] = set()
    for raw in annotation.result:
        if _kind(raw) != RANKER:
            continue
        result = _valid(_Result, raw, where)
        dimension = dimension_name(result.from_name)
        if dimension.casefold() == ALL_DIMENSIONS:
            raise UserError(
                f"{where}: ranker '{dimension}' is called what results call the mean of the dimensions; "
                f"rename it"
            )
        for bucket, ids in _valid(_Ranking, result.value, f"{where}, {dimension}").ranker.items():
            if bucket == "_":
                continue
            if bucket not in buckets:
                raise UserError(
                    f"{where}, {dimension}: bucket '{bucket}' is none of rank_1 to rank_{len(buckets)}; mend "
                    f"it by hand"
                )
            for letter in ids:
                if letter not in letters or (dimension, letter) in seen:
                    fault = "is ranked twice" if letter in letters else "is not on this sheet"
                    raise UserError(f"{where}, {dimension}: letter '{letter}' {fault}; mend it by hand")
                seen.add((dimension, letter))
                lead = annotation.lead_time
                rows.append(
                    (
                        data.rater,
                        data.item,
                        dimension,
                        letter,
                        buckets[bucket],
                        float("nan") if lead is None else lead,
                        data.study,
                    )
                )
    return rows


def sheets_csv(study: Study) -> str:
    """The sheets for a spreadsheet: a line for each rank to give, ``rank`` empty; filled in,
    ``ratings.read_ratings(blind=True)`` reads it.

    Text that a spreadsheet would take for a formula gets an apostrophe before it, names of items too.
    """
    lines = io.StringIO()
    _, chained = _letters(study)
    shown = [*(["chain"] if chained else []), "text"]
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(["rater", "item", "dimension", "letter", "rank", "position", STUDY, "post", *shown])
    mark = study.mark
    for sheet in study.sheets:
        for dimension in DIMENSIONS:
            for reply in sheet["replies"]:
                texts = map(tamed, (sheet["post"], *(reply[name] for name in shown)))
                writer.writerow(
                    [
                        tamed(sheet["rater"]),
                        tamed(sheet["item"]),
                        dimension,
                        reply["letter"],
                        "",
                        sheet["position"],
                        mark,
                        *texts,
                    ]
                )
    return lines.getvalue()


def write_package(study: Study, out: str | Path) -> Path:
    """Write a study to be run without the notebooks: sheets, key, instructions, the Label Studio project, the
    CSV; whole or not at all.

    Raises:
        UserError: the folder exists and is not empty: it may hold people's ratings.
    """
    folder = Path(out).expanduser()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(
            f"--out {folder}: exists and is not empty; give a new folder, so that no study is written over"
        )
    building = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        building.mkdir(parents=True)
        write_study(study, building)
        for language in LANGUAGES:
            write_text(building / f"instructions.{language}.md", instructions(language))
        write_text(building / CONFIG_FILE, label_studio_config(study))
        write_json(building / TASKS_FILE, label_studio_tasks(study))
        # the mark tells spreadsheets that it is UTF-8
        write_text(building / SHEETS_FILE, "\ufeff" + sheets_csv(study))
        os.replace(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder
