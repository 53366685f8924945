"""What does the crisis gate find? Shares flagged by rules, by the classifier, by both, and time a post.

    .venv/bin/python tests/benchmarks/bench_crisis.py [RUN_FOLDER]

Reads tests/crisis/locked.jsonl (written by language models, see the README beside it), never its texts aloud:
only shares are printed, with Wilson intervals. A text is flagged by both where either flags it. With a run
folder also the share of its training posts and references; on synthetic ones, which speak of no danger, these
are false alarms. The last line is JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from empathy_lib.core.config import E5
from empathy_lib.core.crisis import FLAGGED, screen
from empathy_lib.core.schema import read_jsonl
from empathy_lib.core.statistics import wilson_share
from empathy_lib.models.crisis import Classifier
from empathy_lib.models.encoder import load_encoder

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


def flags(texts: Sequence[str], classifier: Classifier) -> dict[str, np.ndarray]:
    """Whether each way flags each text."""
    rules = np.array([screen(text).flagged for text in texts])
    alone = classifier.probabilities(texts) >= classifier.threshold
    return {"rules": rules, "classifier": alone, "both": rules | alone}


def measured(flagged: np.ndarray) -> dict[str, float]:
    """Share flagged, ``low`` and ``high`` of its 95 % interval, and n."""
    share = wilson_share(flagged.astype(float))
    return {"flagged": share.value, "low": share.low, "high": share.high, "n": len(flagged)}


def shown(row: dict[str, dict[str, float]]) -> dict[str, str]:
    """Shares and intervals of each way, as a row of the table."""
    cells = {way: f"{s['flagged']:.3f} [{s['low']:.3f}, {s['high']:.3f}]" for way, s in row.items()}
    return cells | {"n": str(row["rules"]["n"])}


if __name__ == "__main__":
    rows = [json.loads(line) for line in LOCKED.read_text(encoding="utf-8").splitlines()]
    classifier = Classifier(load_encoder(E5))
    started = time.process_time()
    found = flags([row["text"] for row in rows], classifier)
    milliseconds = 1000 * (time.process_time() - started) / len(rows)
    result, table = {}, {}
    for name, belongs in groups(rows).items():
        those = np.array([belongs(row) for row in rows])
        result[name.strip()] = {way: measured(flag[those]) for way, flag in found.items()}
        table[name] = shown(result[name.strip()])
    if len(sys.argv) > 1:
        items = read_jsonl(Path(sys.argv[1]) / "01_dataset" / "train.jsonl")
        posts = flags([item.question for item in items], classifier)
        replies = np.array([screen(text).flagged for item in items for text in item.references])
        result["training posts"] = {way: measured(flag) for way, flag in posts.items()}
        result["references"] = {"rules": measured(replies)}  # the classifier reads posts alone
        table |= {name: shown(result[name]) for name in ("training posts", "references")}
    print(pd.DataFrame(table).T.to_string(), f"\n{milliseconds:.1f} ms of CPU a text")
    print(json.dumps(result))
