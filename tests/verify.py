"""Does a run repeat? Every artefact and every checked cell of finished runs, beside those of the first.

    .venv/bin/python tests/verify.py FIRST again=FOLDER 'one thread'=FOLDER [--page docs/repeat.md]

``make verify`` makes the three smoke runs and calls this. A file is *identical* (but for times, peaks of
memory and commits), *near* (the same words, numbers within ``TOLERANCE`` of each other; weights within it by
norm), or *different*. The table has a row a stage; with ``--page`` it takes its place there. Fails where a
checked cell differs, which no number of threads may do, where a run lacks a file, or where the run called
``again`` is not identical.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
from safetensors.torch import load_file

from empathy_lib.app.report import update_block

TOLERANCE = 1e-3  # of the greater of two numbers, or of 1
ACCOUNTS = {"manifest.json", "request.txt"}  # when, where and how long: no part of what a stage is
TIMES = re.compile(r"time|runtime|per_second|minutes|gib|built|commit", re.IGNORECASE)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
CHECKED = "# NBVAL_CHECK_OUTPUT"
ORDER = ("identical", "near", "different")


def artefacts(run: Path) -> dict[str, Path]:
    """Files of a run by their place in it, without accounts and notebooks."""
    files = sorted(path for path in run.rglob("*") if path.is_file() and path.name not in ACCOUNTS)
    named = {path.relative_to(run).as_posix(): path for path in files}
    return {name: path for name, path in named.items() if not name.startswith("notebooks/")}


def without_times(told: object) -> object:
    """JSON content less the fields that say how long, how much memory, or which commit."""
    if isinstance(told, dict):
        return {key: without_times(value) for key, value in told.items() if not TIMES.search(key)}
    return [without_times(each) for each in told] if isinstance(told, list) else told


def said(path: Path) -> str:
    """A text file's content, times left out."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        return json.dumps(without_times(json.loads(text)), ensure_ascii=False)
    if path.suffix == ".jsonl":
        rows = map(json.loads, filter(None, text.splitlines()))
        return "\n".join(json.dumps(without_times(row), ensure_ascii=False) for row in rows)
    return text


def compared(one: Path, other: Path) -> str:
    """``identical``, ``near`` or ``different``."""
    if one.read_bytes() == other.read_bytes():
        return "identical"
    if one.suffix == ".safetensors":
        weights, others = load_file(one), load_file(other)
        if weights.keys() != others.keys():
            return "different"
        pairs = [(weights[name].float(), others[name].float()) for name in weights]
        return "near" if all((a - b).norm() <= TOLERANCE * a.norm() for a, b in pairs) else "different"
    try:
        first, second = said(one), said(other)
    except UnicodeDecodeError:  # a picture
        return "different"
    if first == second:
        return "identical"
    if NUMBER.sub("#", first) != NUMBER.sub("#", second):
        return "different"
    numbers, theirs = (np.array(NUMBER.findall(text), float) for text in (first, second))
    room = TOLERANCE * np.maximum(1, np.maximum(abs(numbers), abs(theirs)))
    return "near" if (abs(numbers - theirs) <= room).all() else "different"


def stages(first: Path, other: Path) -> tuple[dict[str, Counter], list[str]]:
    """Of each stage how many files are what, and the names of those that are not identical or are missing."""
    mine, theirs = artefacts(first), artefacts(other)
    counts, odd = (
        defaultdict(Counter),
        [f"only one has {name}" for name in sorted(mine.keys() ^ theirs.keys())],
    )
    for name in sorted(mine.keys() & theirs.keys()):
        found = compared(mine[name], theirs[name])
        counts[name.split("/")[0]][found] += 1
        if found != "identical":
            odd.append(f"{found}: {name}")
    return counts, odd


def cells(run: Path) -> dict[str, str]:
    """What each checked cell shows as text, by notebook and cell."""
    shown = {}
    for path in sorted((run / "notebooks").glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code" and cell.source.startswith(CHECKED):
                outs = [
                    out for out in cell.outputs if out.get("name") != "stderr"
                ]  # nor does nbval look there
                texts = [out.get("text") or out.get("data", {}).get("text/plain", "") for out in outs]
                shown[f"{path.stem} {cell.id}"] = "".join(texts)  # one stream may arrive in pieces
    return shown


def table(first: Path, others: dict[str, Path]) -> tuple[pd.DataFrame, list[str]]:
    """A row a stage and one for checked cells, a column a run; and what must not be."""
    columns, faults = {}, []
    for name, run in others.items():
        counts, odd = stages(first, run)
        print(f"{name}: {len(odd)} not identical", *odd, sep="\n  ")
        faults += [f"{name}: {each}" for each in odd if name == "again" or each.startswith("only")]
        column = {
            stage: ", ".join(f"{count[kind]} {kind}" for kind in ORDER if count[kind])
            for stage, count in counts.items()
        }
        mine, theirs = cells(first), cells(run)
        wrong = sorted(key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key))
        faults += [f"{name}: checked cell {key} differs" for key in wrong]
        column["checked cells"] = f"{len(mine) - len(wrong)} of {len(mine)} identical"
        columns[name] = column
    return pd.DataFrame(columns).rename_axis("stage"), faults


def markdown(found: pd.DataFrame) -> str:
    head = f"| stage | {' | '.join(found.columns)} |\n|{'---|' * (1 + len(found.columns))}\n"
    return head + "\n".join(
        f"| {stage} | {' | '.join(row)} |" for stage, row in zip(found.index, found.to_numpy(), strict=True)
    )


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("first", type=Path)
    asked.add_argument("others", nargs="+", metavar="NAME=FOLDER")
    asked.add_argument("--page", type=Path)
    given = asked.parse_args()
    runs = {name: Path(folder) for name, folder in (each.split("=", 1) for each in given.others)}
    found, faults = table(given.first, runs)
    print(markdown(found))
    if given.page:
        update_block(given.page, "verify", markdown(found))
    sys.exit("\n".join(faults) or None)
