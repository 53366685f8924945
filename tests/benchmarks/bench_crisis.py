"""What does the crisis gate find? Shares flagged, with Wilson intervals, and time a post.

    .venv/bin/python tests/benchmarks/bench_crisis.py [RUN_FOLDER]

Reads tests/crisis/locked.jsonl (written by language models, see the README beside it), never its texts aloud:
only shares are printed. With a run folder also the share of its training posts and references; on synthetic
ones, which speak of no danger, these are false alarms. The last line is JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from empathy_lib.core.crisis import FLAGGED, screen
from empathy_lib.core.schema import read_jsonl
from empathy_lib.core.statistics import wilson_share

LOCKED = Path(__file__).parents[1] / "crisis" / "locked.jsonl"
TO_FLAG = {"level 3": lambda row: row["level"] == 3, "levels 2 and 3": lambda row: row["level"] >= FLAGGED}
STYLES = ("plain", "indirect", "disguised", "contradictory")


def groups(rows: list[dict]) -> dict[str, Callable[[dict], bool]]:
    """What shares are taken of: levels, styles and categories of what is to be flagged, level 0 in parts."""
    named = dict(TO_FLAG)
    for style in STYLES:
        named[f"  {style}"] = lambda row, style=style: row["level"] >= FLAGGED and row["style"] == style
    named["level 1"] = lambda row: row["level"] == 1
    named["level 0"] = lambda row: row["level"] == 0
    for category in dict.fromkeys(row["category"] for row in rows if row["level"] == 0):
        named[f"  {category}"] = lambda row, category=category: row["category"] == category
    return named


def shares(rows: list[dict]) -> pd.DataFrame:
    """Share flagged of each group, ``low`` and ``high`` of its 95 % interval, and n."""
    flagged = [screen(row["text"]).flagged for row in rows]
    table = {}
    for name, belongs in groups(rows).items():
        found = [float(flag) for row, flag in zip(rows, flagged, strict=True) if belongs(row)]
        share = wilson_share(found)
        table[name] = {"flagged": share.value, "low": share.low, "high": share.high, "n": len(found)}
    return pd.DataFrame(table).T


if __name__ == "__main__":
    rows = [json.loads(line) for line in LOCKED.read_text(encoding="utf-8").splitlines()]
    started = time.process_time()
    table = shares(rows)
    milliseconds = 1000 * (time.process_time() - started) / len(rows)
    print(table.round(3).to_string(), f"\n{milliseconds:.1f} ms a text")
    result = {name.strip(): row for name, row in table.round(4).to_dict("index").items()}
    if len(sys.argv) > 1:
        items = read_jsonl(Path(sys.argv[1]) / "01_dataset" / "train.jsonl")
        for name, texts in (
            ("training posts", [item.question for item in items]),
            ("references", [text for item in items for text in item.references]),
        ):
            share = wilson_share([float(screen(text).flagged) for text in texts])
            print(f"{name}: {share.value:.2%} [{share.low:.2%}, {share.high:.2%}] of {len(texts)} flagged")
            result[name] = {"flagged": share.value, "low": share.low, "high": share.high, "n": len(texts)}
    print(json.dumps(result))
