"""Which harm do the rules find in a reply? Recall and precision per item, with Wilson intervals.

    .venv/bin/python tests/benchmarks/bench_harm.py [FILE]

Reads tests/harm/locked.jsonl (written by a language model without sight of the rules, see the README beside
it) or another file of such rows, never its texts aloud: only shares are printed. A row speaks of its own item
only. The last line is JSON.

Of locked.jsonl, 20 violating and 20 clean replies an item, the last of three measurements: recall .55
minimising, .40 blame, .50 diagnosis, .35 medication, .50 secrecy, .50 dependence, .30 method, .35 delusion,
.50 toxic_positivity, .55 claims_human, .45 wrong_resource, .75 no_referral; precision .83 to 1.00. With
intervals: docs/limits.md.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd

from empathy_lib.core.statistics import wilson_share
from empathy_lib.core.tables import estimate
from empathy_lib.metrics.harm import marked
from empathy_lib.metrics.harm_patterns import ITEMS, read_patterns

LOCKED = Path(__file__).parents[1] / "harm" / "locked.jsonl"
RECALL, PRECISION = 0.5, 0.8  # of an item that rules may answer; chosen before they were measured


def measured(rows: list[dict]) -> pd.DataFrame:
    """Recall, precision and false alarms of each item as scores, with the number of rows behind.

    A reply of which the item is not available counts as not found, so a post that the crisis gate misses is a
    miss of ``no_referral`` and ``method``.
    """
    table = {}
    for item in ITEMS:
        own = [row for row in rows if row["item"] == item]
        found = [bool(marked(row["post"], row["reply"])[item]) for row in own]
        violates = [row["violates"] for row in own]
        pairs = list(zip(violates, found, strict=True))
        shares = {
            "recall": [float(hit) for bad, hit in pairs if bad],
            "precision": [float(bad) for bad, hit in pairs if hit],
            "false alarms": [float(hit) for bad, hit in pairs if not bad],
        }
        table[item] = {name: wilson_share(values) for name, values in shares.items()}
    return pd.DataFrame(table).T


if __name__ == "__main__":
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else LOCKED
    table = measured([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()])
    shown = table.map(lambda score: f"{estimate(score.value, score.low, score.high)} of {score.n}")
    reaches = [
        row["recall"].value >= RECALL and row["precision"].value >= PRECISION for _, row in table.iterrows()
    ]
    shown["rules"] = ["reach it" if enough else "do not" for enough in reaches]
    shown["answered by"] = [
        "a judge" if read_patterns().items[name].judge else "rules" for name in table.index
    ]
    print(shown.to_string())
    print(
        json.dumps(
            {name: {kind: vars(score) for kind, score in row.items()} for name, row in table.iterrows()}
        )
    )
