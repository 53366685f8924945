"""What the rules annotator names, how varied its chains are, and how quick it is.

    .venv/bin/python tests/benchmarks/bench_annotator.py [file or folder of real posts …]

Synthetic posts (600 of ``laptop``'s kind, another seed than the profile's) and each source named, at most
1,000 posts. The last line is JSON. No real text is printed. """

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
from empathy_lib.metrics.coe_accuracy import default_marker
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
    """Figures of one source.""" posts = [item.question for item in items] started = time.process_time()
    chains = [chain(post) for post in posts] spent = time.process_time() - started whole =
    ["".join(getattr(c, layer) for layer in LAYERS) for c in chains] copied = [sum(len(q) for q in
    re.findall("「(.*?)」", text)) / len(text) for text in whole] frames = {layer: Counter(frame(getattr(c,
    layer), p) for c, p in zip(chains, posts, strict=True)) for layer in LAYERS} named = { f"{layer} names
    nothing": share for layer, share in named_nothing(chains).items() if layer != "posts" } emotion = [v for
    c, p in zip(chains, posts, strict=True) if (v := emotion_grounding(c.L1, p)) == v] cause = [v for c, p
    in zip(chains, posts, strict=True) if (v := cause_grounding(c.L2, p)) == v] figures = { "posts":
    len(posts), **named, "danger": sum(danger(clauses(post)) is not None for post in posts) / len(posts),
    "quoted share of a chain": sum(copied) / len(copied), **{ f"most frequent frame of {layer}":
    c.most_common(1)[0][1] / len(posts) for layer, c in frames.items() }, "distinct-3":
    distinct(whole[:SAMPLE], 3, "char").value, "self-BLEU": self_bleu(whole[:SAMPLE]).value, "grounded
    emotion": sum(emotion) / max(1, len(emotion)), "grounded cause": sum(cause) / max(1, len(cause)), "posts
    a second": len(posts) / spent, } golds = [(c, i.gold, i.question) for c, i in zip(chains, items,
    strict=True) if i.gold] marks = [default_marker().mark_chain(*one) for one in golds] for name in ("L1",
    "cause", "bias", "belief", "L3"): figures[f"right {name}"] = sum(m[name] for m in marks) / len(marks) if
    marks else float("nan") return figures


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
