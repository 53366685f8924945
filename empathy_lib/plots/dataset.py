"""Figures of notebook 01: topics, lengths, references a question, cleaning funnel.

Knows: items and the funnel's table. ``origin`` is the sentence each caption begins with (see :func:`origin_note`).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from empathy_lib.artefacts import Run, read_json
from empathy_lib.empathy_qa.build import chain_length
from empathy_lib.empathy_qa.cleaning import visible_length
from empathy_lib.empathy_qa.schema import Item
from empathy_lib.plots.style import caption

SPLIT_COLOURS = {"train": "#0072B2", "validation": "#E69F00", "test": "#009E73"}
MAX_TOPICS = 40


def run_note(run: Run) -> str:
    """How every caption of a run begins: what the data is, which base, one seed; and that smoke figures are noise."""
    kind = origin_note(read_json(run.stage("01_dataset") / "statistics.json")).split(", n =")[0]
    noise = " Smoke profile: every figure is noise." if run.profile.name == "smoke" else ""
    return f"{kind}; base {run.profile.base_model.source}, one seed.{noise}"


def origin_note(statistics: dict[str, Any]) -> str:
    """What the data is, for captions: "Synthetic posts written by the project, n = 90." or "Real data of the user …"."""
    chains = {"rules": "made by rules", "teacher": "written by a language model"}.get(statistics["annotator"])
    if statistics["synthetic"]:
        kind = "Synthetic posts written by the project" + (f", chains {chains}" if chains else "")
    else:
        kind = f"Real data of the user, chains {chains}" if chains else "Data of the user, chains as the file gives them"
    return f"{kind}, n = {statistics['questions']:,} questions."


def topics(splits: dict[str, list[Item]], origin: str) -> Figure:
    """Questions of each main topic, split by split, most frequent first; beyond 40 topics the rest is one bar."""
    counts = {name: Counter(item.topic or "（未标注）" for item in members) for name, members in splits.items()}
    total = sum(counts.values(), Counter())
    names = [name for name, _ in sorted(total.items(), key=lambda pair: (-pair[1], pair[0]))]
    shown, rest = names[:MAX_TOPICS], names[MAX_TOPICS:]
    labels = shown + ([f"其他 {len(rest)} 个主题"] if rest else [])
    figure, axes = plt.subplots(figsize=(8, max(2.5, 0.27 * len(labels) + 1.2)))
    left = [0] * len(labels)
    for split, count in counts.items():
        widths = [count[name] for name in shown] + ([sum(count[name] for name in rest)] if rest else [])
        axes.barh(labels, widths, left=left, color=SPLIT_COLOURS[split], label=split)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="questions")
    axes.set_title("Topics", loc="left")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, frameon=False)
    return caption(figure, f"{origin} {len(total)} topic label(s); the paper: 29 main topics in its own data, second-hand.")


def lengths(items: list[Item], origin: str) -> Figure:
    """Histograms of the visible characters of questions, answers and chains (L1 to L4 together)."""
    panels = {
        "question": [visible_length(item.question) for item in items],
        "answer": [visible_length(text) for item in items for text in item.references],
        "chain (L1 to L4)": [chain_length(item, i) for item in items for i in range(len(item.answers))],
    }
    figure, grid = plt.subplots(1, 3, figsize=(11, 3.2))
    for axes, (name, values) in zip(grid, panels.items(), strict=True):
        axes.hist(values, bins=30, color="#0072B2")
        middle = float(pd.Series(values).median())
        axes.axvline(middle, color="#D55E00", linestyle="--")
        axes.set(xlabel="characters without white space", title=f"{name}, median {middle:.0f}")
    grid[0].set_ylabel("count")
    return caption(figure, f"{origin} Lengths after cleaning.")


def references(items: list[Item], origin: str) -> Figure:
    """How many questions have 1, 2, 3, … reference answers."""
    counts = Counter(len(item.answers) for item in items)
    figure, axes = plt.subplots(figsize=(6, 3.2))
    axes.bar([str(n) for n in sorted(counts)], [counts[n] for n in sorted(counts)], color="#0072B2")
    mean = sum(n * count for n, count in counts.items()) / len(items)
    axes.set(xlabel="reference answers of a question", ylabel="questions", title=f"References a question (mean {mean:.2f})")
    return caption(figure, f"{origin} After cleaning; the paper: about 4.1 in its own data, second-hand.")


def funnel(frame: pd.DataFrame, origin: str) -> Figure:
    """What is left after each rule, answers and questions, with the number removed written on the bar.

    Args:
        frame: the table of :meth:`empathy_lib.empathy_qa.cleaning.Funnel.frame`.
        origin: see :func:`origin_note`.
    """
    labels = ["raw", *frame["rule"]]
    figure, grid = plt.subplots(1, 2, figsize=(11, 3.6), sharey=True)
    for axes, what, colour in zip(grid, ("answers", "questions"), ("#0072B2", "#009E73"), strict=True):
        left = [frame[f"{what}_before"].iloc[0], *frame[f"{what}_after"]]
        removed = [0, *frame[f"{what}_removed"]]
        bars = axes.barh(labels, left, color=colour)
        axes.bar_label(bars, [f"{n:,}" + (f" (−{r:,})" if r else "") for n, r in zip(left, removed, strict=True)], padding=3, fontsize=9)
        axes.set(xlabel=what, xlim=(0, max(left) * 1.3))
    grid[0].invert_yaxis()
    figure.suptitle("Cleaning funnel")
    return caption(figure, f"{origin} Left after each rule, in order; duplicate questions give their answers to the first of them.")
