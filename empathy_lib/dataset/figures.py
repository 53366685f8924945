"""Figures of notebook 01: topics, lengths, references a question, cleaning funnel.

Knows: items and the funnel's table. ``origin`` is the sentence each caption begins with (see
:func:`origin_note`).
"""

from __future__ import annotations

from collections import Counter
from textwrap import wrap
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from empathy_lib.core.files import read_json
from empathy_lib.core.run import Run
from empathy_lib.core.schema import Item
from empathy_lib.core.style import caption
from empathy_lib.core.text import visible_length
from empathy_lib.dataset.counts import chain_length
from empathy_lib.dataset.glosses import bilingual

SPLIT_COLOURS = {"train": "#0072B2", "validation": "#E69F00", "test": "#009E73"}
MAX_TOPICS = 40
NO_LABEL = "（未标注）not labelled"


def _others(number: int) -> str:
    """The name of the topics that are too many to be shown."""
    return f"其他 {number} 个主题 · others"


def run_note(run: Run) -> str:
    """How every caption of a run begins: what the data is, which base, how many seeds; and that smoke figures
    are noise."""
    kind = origin_note(read_json(run.stage("01_dataset") / "statistics.json")).split(", n =")[0]
    noise = " Smoke profile: every figure is noise." if run.profile.name == "smoke" else ""
    seeds = run.profile.grpo.seeds
    trained = "one seed" if seeds == 1 else f"one seed (GRPO: {seeds})"
    return f"{kind}; base {run.profile.base_model.source}, {trained}.{noise}"


def origin_note(statistics: dict[str, Any]) -> str:
    """What the data is, for captions: "Synthetic posts written by the project, n = 90." or "Real data of the
    user …"."""
    chains = {"rules": "made by rules", "teacher": "written by a language model"}.get(statistics["annotator"])
    if statistics["synthetic"]:
        kind = "Synthetic posts written by the project" + (f", chains {chains}" if chains else "")
    else:
        kind = (
            f"Real data of the user, chains {chains}"
            if chains
            else "Data of the user, chains as the file gives them"
        )
    return f"{kind}, n = {statistics['questions']:,} questions."


def topics(splits: dict[str, list[Item]], origin: str) -> Figure:
    """Questions of each main topic, split by split, most frequent first; beyond 40 topics the rest is one
    bar."""
    counts = {name: Counter(item.topic or NO_LABEL for item in members) for name, members in splits.items()}
    total = sum(counts.values(), Counter())
    names = [name for name, _ in sorted(total.items(), key=lambda pair: (-pair[1], pair[0]))]
    shown, rest = names[:MAX_TOPICS], names[MAX_TOPICS:]
    labels = [bilingual(name) for name in shown] + ([_others(len(rest))] if rest else [])
    figure, axes = plt.subplots(figsize=(8.5, max(2.5, 0.27 * len(labels) + 1.2)))
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
    return caption(
        figure,
        f"{origin} {len(total)} topic label(s); the paper: 29 main topics in its own data, second-hand.",
    )


def sunburst(items: list[Item], origin: str) -> Figure:
    """Topics (inner ring, named) and their sub-topics (outer ring, in shades of the topic's colour), by
    questions.

    Beyond 40 topics the rest is one sector; a sub-topic without a name counts as one of its own.
    """
    counts = Counter((item.topic or NO_LABEL, item.subtopic or NO_LABEL) for item in items)
    by_topic: Counter[str] = Counter()
    for (topic, _), count in counts.items():
        by_topic[topic] += count
    shown = {topic for topic, _ in by_topic.most_common(MAX_TOPICS)}
    merged: dict[str, list[int]] = {}
    for (topic, _), count in sorted(
        counts.items(), key=lambda pair: (-by_topic[pair[0][0]], pair[0][0], -pair[1], pair[0][1])
    ):
        name = topic if topic in shown else _others(len(by_topic) - len(shown))
        merged.setdefault(name, []).append(count)
    colours = sns.husl_palette(len(merged), l=0.72)
    figure, axes = plt.subplots(figsize=(8.5, 8.5))
    ring = {"startangle": 90, "counterclock": False}
    edge = {"edgecolor": "white", "linewidth": 0.5}
    named, _ = axes.pie(
        [sum(part) for part in merged.values()],
        radius=0.78,
        colors=colours,
        wedgeprops={"width": 0.4, **edge},
        **ring,
    )
    shades = [
        shade
        for colour, part in zip(colours, merged.values(), strict=True)
        for shade in sns.light_palette(colour, len(part) + 2, reverse=True)[: len(part)]
    ]
    axes.pie(
        [n for part in merged.values() for n in part],
        radius=1,
        colors=shades,
        wedgeprops={"width": 0.2, **edge},
        **ring,
    )
    for wedge, topic in zip(named, merged, strict=True):
        angle = (wedge.theta1 + wedge.theta2) / 2
        x, y = 0.58 * np.cos(np.deg2rad(angle)), 0.58 * np.sin(np.deg2rad(angle))
        turn = angle if -90 <= (angle + 180) % 360 - 180 <= 90 else angle + 180
        name = "\n".join(wrap(bilingual(topic, between="\n"), 22, replace_whitespace=False))
        where = {"rotation": turn, "rotation_mode": "anchor", "ha": "center", "va": "center"}
        axes.text(x, y, name, fontsize=7, linespacing=1.1, **where)
    axes.set(xlim=(-1.02, 1.02), ylim=(-1.02, 1.02))
    axes.set_title("Topics and sub-topics", loc="left")
    return caption(
        figure,
        f"{origin} {len(by_topic)} topic and {len(counts)} sub-topic label(s), by number of questions. "
        "Outer ring: a topic's sub-topics, in shades of its colour, most frequent first.",
    )


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
    axes.set(
        xlabel="reference answers of a question",
        ylabel="questions",
        title=f"References a question (mean {mean:.2f})",
    )
    return caption(figure, f"{origin} After cleaning; the paper: about 4.1 in its own data, second-hand.")


def funnel(frame: pd.DataFrame, origin: str) -> Figure:
    """What is left after each rule, answers and questions, with the number removed written on the bar.

    Args:
        frame: the table of :meth:`empathy_lib.dataset.cleaning.Funnel.frame`.
        origin: see :func:`origin_note`.
    """
    labels = ["raw", *frame["rule"]]
    figure, grid = plt.subplots(1, 2, figsize=(11, 3.6), sharey=True)
    for axes, what, colour in zip(grid, ("answers", "questions"), ("#0072B2", "#009E73"), strict=True):
        left = [frame[f"{what}_before"].iloc[0], *frame[f"{what}_after"]]
        removed = [0, *frame[f"{what}_removed"]]
        bars = axes.barh(labels, left, color=colour)
        axes.bar_label(
            bars,
            [f"{n:,}" + (f" (−{r:,})" if r else "") for n, r in zip(left, removed, strict=True)],
            padding=3,
            fontsize=9,
        )
        axes.set(xlabel=what, xlim=(0, max(left) * 1.3))
    grid[0].invert_yaxis()
    figure.suptitle("Cleaning funnel")
    return caption(
        figure,
        f"{origin} Left after each rule, in order; duplicate questions give their answers to the first of "
        f"them.",
    )
