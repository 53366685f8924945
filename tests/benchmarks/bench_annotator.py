"""What the rules annotator names, how varied its chains are, and how quick it is.

    .venv/bin/python tests/benchmarks/bench_annotator.py [file or folder of real posts …]

TABLE
"""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from collections.abc import Callable

import pandas as pd

from empathy_lib.core.coe import LAYERS, ChainOfEmpathy
from empathy_lib.core.config import DatasetConfig, load_profile
from empathy_lib.core.quality import distinct, self_bleu
from empathy_lib.core.schema import Item
from empathy_lib.dataset.generate import generate
from empathy_lib.dataset.rules.chain import default_rules, named_nothing
from empathy_lib.dataset.rules.clauses import clauses
from empathy_lib.dataset.rules.safety import danger
from empathy_lib.dataset.sources import read_source
from empathy_lib.metrics.coe_accuracy import MARKED, default_marker
from empathy_lib.metrics.grounding import cause_grounding, emotion_grounding

SYNTHETIC, MOST, SAMPLE, SEED = 600, 1_000, 60, 77
RUN = 8  # characters


def frame(layer: str, post: str) -> str:
    """What a layer says beside the post: runs of two characters or more that stand in the post are taken out,
    as are the help-seeker's names."""
    text, left, at = re.sub("来访者|自己", "", layer), [], 0
    while at < len(text):
        end = at + 2
        while end <= len(text) and text[at:end] in post:
            end += 1
        if end - 1 - at >= 2:
            left.append("…" if not left or left[-1] != "…" else "")
            at = end - 1
        else:
            left.append(text[at])
            at += 1
    return "".join(left)


def row(items: list[Item], chain: Callable[[str], ChainOfEmpathy]) -> dict[str, float]:
    """Figures of one source."""
    posts = [item.question for item in items]
    started = time.process_time()
    chains = [chain(post) for post in posts]
    spent = time.process_time() - started
    both = list(zip(chains, posts, strict=True))
    whole = ["".join(getattr(c, layer) for layer in LAYERS) for c in chains]
    copied = [sum(map(len, re.findall("「(.*?)」", text))) / len(text) for text in whole]
    top = {
        layer: Counter(frame(getattr(c, layer), p) for c, p in both).most_common(1)[0][1] for layer in LAYERS
    }
    named = named_nothing(chains)
    figures = {
        "posts": len(posts),
        **{f"{layer} names nothing": named[layer] for layer in ("L1", "L2", "L3")},
        "danger": mean([danger(clauses(post)) is not None for post in posts]),
        "quoted share of a chain": mean(copied),
        **{f"most frequent frame of {layer}": count / len(posts) for layer, count in top.items()},
        "distinct-3": distinct(whole[:SAMPLE], 3, "char").value,
        "self-BLEU": self_bleu(whole[:SAMPLE]).value,
        "grounded emotion": mean([emotion_grounding(c.L1, p) for c, p in both]),
        "grounded cause": mean([cause_grounding(c.L2, p) for c, p in both]),
        "posts a second": len(posts) / spent,
    }
    golds = zip(chains, items, strict=True)
    marks = [default_marker().mark_chain(c, item.gold, item.question) for c, item in golds]
    return figures | {f"right {name}": mean([m[name] for m in marks]) for name in MARKED}


def mean(values: list[float]) -> float:
    """Mean of the values that are known; NaN without any."""
    known = [value for value in values if value == value]
    return sum(known) / len(known) if known else float("nan")


def measure(paths: list[str], chain: Callable[[str], ChainOfEmpathy]) -> pd.DataFrame:
    """A row a figure, a column a source."""
    sources = {"synthetic": list(generate(load_profile("laptop").dataset, SEED))[:SYNTHETIC]}
    for place, path in enumerate(paths, 1):
        sources[f"real {place}"] = list(read_source(DatasetConfig(data=path, questions=MOST), 1).items)
    chain(sources["synthetic"][0].question)  # what is compiled once
    return pd.DataFrame({name: row(items, chain) for name, items in sources.items()})


if __name__ == "__main__":
    table = measure(sys.argv[1:], default_rules().chain)
    print(table.to_string(float_format="{:.3f}".format, na_rep="-"))
    print(table.to_json(double_precision=4))
