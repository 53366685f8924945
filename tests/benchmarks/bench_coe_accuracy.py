"""What CoE accuracy gives to chains that are known: ``python tests/benchmarks/bench_coe_accuracy.py`` (under
a minute, no model).

Builds the synthetic data of ``laptop``, and marks on its test posts the reference chains, the sentences of
the true cause and belief quoted, and all levels of ``coe_levels``; then the same for posts whose sentences
are in training, and for those whose are not.
"""

from __future__ import annotations

import sys
import time

import pandas as pd

from empathy_lib.core.coe import ChainOfEmpathy
from empathy_lib.core.config import load_profile
from empathy_lib.core.run import generator
from empathy_lib.core.schema import Item
from empathy_lib.dataset.cleaning import clean
from empathy_lib.dataset.generate import generate
from empathy_lib.dataset.split import split
from empathy_lib.metrics.coe_levels import LEVELS, levels, mean_marks, overlap_cannot_judge
from empathy_lib.reward.marking import ALL_MARKS, Marker, default_marker


def rows(items: list[Item], marker: Marker) -> pd.DataFrame:
    """A row a label, a column a kind of chain."""
    references = [(a.coe, i.gold, i.question) for i in items for a in i.answers if a.coe]
    quotes = {}
    for kind, nearest in (("cause", marker.causes), ("belief", marker.beliefs)):
        chains = [
            ChainOfEmpathy(L1="-", L2=nearest.sentence(getattr(i.gold, kind)), L3="-", L4="-") for i in items
        ]
        marks = mean_marks([(c, i.gold, i.question) for c, i in zip(chains, items, strict=True)], marker)
        quotes |= {name: marks[name] for name in ALL_MARKS if name.startswith(kind)}
        quotes |= {"gist_recall": marks["gist_recall"]} if kind == "cause" else {}
    table = pd.DataFrame(
        {"reference": mean_marks(references, marker), "true sentence quoted": quotes}
        | {LEVELS[name]: values for name, values in levels(items, marker).items()}
    )
    return table.reindex(list(ALL_MARKS))


def main() -> None:
    """Print the tables; exit with 1 where references or quotations fall short, or pasting earns anything."""
    started, profile = time.monotonic(), load_profile("laptop")
    items = clean(generate(profile.dataset, profile.seed), profile.dataset)[0]
    test = list(split(items, profile.dataset, generator(profile.seed, "split"))["test"])
    marker = default_marker()
    groups = {"all": test} | {
        kind: [item for item in test if item.gold.sentences == kind] for kind in ("seen", "unseen")
    }
    tables = {name: rows(members, marker) for name, members in groups.items()}
    for name, table in tables.items():
        print(f"\n{name} test posts, n={len(groups[name])}")
        print(table.to_string(float_format="{:.3f}".format, na_rep="-"))
    flagged = overlap_cannot_judge(levels(test, marker))
    print(f"\noverlap cannot judge, so the span is counted: {', '.join(flagged)}")
    print(f"{time.monotonic() - started:.0f} s")
    whole = tables["all"].loc[["L1", "cause", "bias", "belief", "cause_subtopic", "belief_subtopic", "L3"]]
    low = whole["reference"].min() < 0.98 or whole["true sentence quoted"].min() < 0.98
    if low or whole["post pasted"].max() > 0:
        sys.exit("references or quotations below .98, or pasting earns something")


if __name__ == "__main__":
    main()
