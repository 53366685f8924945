"""Figures of notebook 05: scores with intervals, by topic and length, reward beside copying, CoE accuracy
with its chance level.

Knows: the long tables of ``metrics.score_table`` (columns ``system, metric, value, low, high, n``) and
``tables.breakdown``. Does not know: completions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from empathy_lib.core.coe import LAYER_TITLES
from empathy_lib.core.errors import UserError
from empathy_lib.core.style import SYSTEM_COLOURS, SYSTEM_LABELS, caption
from empathy_lib.metrics.coe_levels import LEVELS, overlap_cannot_judge
from empathy_lib.metrics.registry import METRICS
from empathy_lib.reward.marking import LAYER_OF, MARKED

_ARROWS = {"higher": "higher is better", "lower": "lower is better", "human": "best near the references"}
LEVEL_LINES = {  # greys: the colours are the systems'
    "chance": ("#aaaaaa", ":"),
    "constant": ("#777777", "--"),
    "post_pasted": ("#999999", "-"),
    "fixed_quote": ("#555555", "-."),
    "rules": ("#222222", (0, (6, 2))),
}


def _scores(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    if metric not in METRICS:
        raise UserError(f"no metric '{metric}'; use one of {', '.join(METRICS)}")
    return table[table["metric"] == metric].set_index("system")


def _dot(axes: Axes, row: pd.Series, y: float, colour: str) -> None:
    """One value with its interval; an empty interval (one example) is drawn as the dot alone."""
    if pd.notna(row["low"]):
        axes.plot(
            [row["low"], row["high"]],
            [y, y],
            marker="|",
            markersize=9,
            markeredgewidth=2,
            color=colour,
            linewidth=2,
        )
    axes.plot(row["value"], y, "o", color=colour, markersize=6)


def _panel(axes: Axes, table: pd.DataFrame, systems: Sequence[str], metric: str) -> None:
    """A row per system, the first on top; "not available" is written, not drawn as 0."""
    scores = _scores(table, metric)
    for y, system in enumerate(systems):
        if pd.isna(scores.loc[system, "value"]):
            axes.text(
                0.02,
                y,
                "not available",
                fontsize=8,
                color="#777777",
                va="center",
                transform=axes.get_yaxis_transform(),
            )
        else:
            _dot(axes, scores.loc[system], y, SYSTEM_COLOURS[system])
    axes.set_title(f"{METRICS[metric].title}\n({_ARROWS[METRICS[metric].direction]})", fontsize=10)
    axes.tick_params(labelsize=9)


def _name_rows(axes: Axes, systems: Sequence[str]) -> None:
    axes.set_yticks(range(len(systems)), [SYSTEM_LABELS[system] for system in systems])
    axes.set_ylim(len(systems) - 0.5, -0.5)


def intervals(table: pd.DataFrame, metrics: Sequence[str], text: str) -> Figure:
    """One panel per metric, one dot with its 95 % interval per system.

    Args:
        table: long table of ``score_table``.
        metrics: names to show, up to about nine.
        text: the caption: data, base, n, decoding.

    Raises:
        UserError: an unknown metric.
    """
    systems = list(table["system"].unique())
    columns = min(3, len(metrics))
    rows = -(-len(metrics) // columns)
    figure, grid = plt.subplots(
        rows, columns, figsize=(4.3 * columns, (0.36 * len(systems) + 1.1) * rows), sharey=True, squeeze=False
    )
    for axes in grid.flat[len(metrics) :]:
        axes.set_visible(False)
    for axes, name in zip(grid.flat, metrics, strict=False):
        _panel(axes, table, systems, name)
    _name_rows(grid[0, 0], systems)
    return caption(figure, text)


def breakdown(tables: Mapping[str, pd.DataFrame], metric: str, systems: Sequence[str], text: str) -> Figure:
    """One metric within groups of posts: a panel per way of grouping, a row per group, a dot with its 95 %
    interval per system.

    Args:
        tables: title of a panel to the table of ``tables.breakdown``; what is not available is left
            out.
        metric: one of those in the tables.
        systems: which to show, about three: more are hard to tell apart in a row.
        text: the caption.
    """
    parts = {
        title: _scores(table, metric).loc[list(systems)].dropna(subset="value")
        for title, table in tables.items()
    }
    groups = {title: list(part["group"].unique()) for title, part in parts.items()}
    rows = [len(names) + 0.5 for names in groups.values()]  # a row is as high in one panel as in the other
    figure, grid = plt.subplots(
        len(parts), 1, figsize=(8, 0.42 * sum(rows) + 1.2), height_ratios=rows, squeeze=False, sharex=True
    )
    for axes, (title, part) in zip(grid.flat, parts.items(), strict=True):
        for place, system in enumerate(systems):
            for _, row in part[part.index == system].iterrows():
                y = groups[title].index(row["group"]) + 0.25 * (place - (len(systems) - 1) / 2)
                _dot(axes, row, y, SYSTEM_COLOURS[system])
        sizes = part.groupby("group")["n"].max()
        axes.set_yticks(
            range(len(groups[title])), [f"{group} (n={sizes[group]})" for group in groups[title]], fontsize=9
        )
        axes.set(ylim=(len(groups[title]) - 0.5, -0.5))
        axes.set_title(title, fontsize=11)
    axes.set_xlabel(METRICS[metric].title, fontsize=11)
    handles = [
        plt.Line2D([], [], marker="o", color=SYSTEM_COLOURS[system], label=SYSTEM_LABELS[system])
        for system in systems
    ]
    figure.legend(
        handles=handles,
        fontsize=9,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=len(systems),
        frameon=False,
    )
    return caption(figure, text)


def reward_and_copying(table: pd.DataFrame, text: str, guard: float | None = None) -> Figure:
    """Reward cosine beside copy rate, a row per system; dotted lines are the references' values: right of
    both is copied, not answered.

    Args:
        table: long table of ``score_table`` with ``cosine`` and ``copy_rate``; a system without a cosine is
            left out.
        text: the caption.
        guard: copy rate from which training gives no reward, drawn as a dashed line.
    """
    reward = _scores(table, "cosine")["value"].dropna()
    systems = [system for system in table["system"].unique() if system in reward.index]
    figure, grid = plt.subplots(1, 2, figsize=(10, 0.4 * len(systems) + 1.6), sharey=True)
    for axes, name in zip(grid, ("cosine", "copy_rate"), strict=True):
        _panel(axes, table, systems, name)
        if "reference" in systems:
            level = _scores(table, name).loc["reference", "value"]
            axes.axvline(
                level, color=SYSTEM_COLOURS["reference"], linestyle=":", linewidth=1.4, label="references"
            )
    grid[1].xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    if guard is not None:
        grid[1].axvline(
            guard,
            color="#777777",
            linestyle="--",
            linewidth=1.2,
            label=f"copy guard of training ({guard:.0%})",
        )
    _name_rows(grid[0], systems)
    handles, labels = grid[1].get_legend_handles_labels()
    if handles:
        figure.legend(
            handles, labels, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False
        )
    return caption(figure, text)


def coe_accuracy(
    table: pd.DataFrame,
    level: Mapping[str, Mapping[str, float]],
    shuffled: Mapping[str, Mapping[str, float]],
    text: str,
) -> Figure:
    """A panel per label of L1 to L3: accuracy with interval per system, the levels that need no
    understanding, and shuffled chains.

    Args:
        table: long table of ``score_table``; systems that are not asked for a chain are left out.
        level: of ``coe_levels.levels``; those of :data:`LEVEL_LINES` are drawn. A label that pasting would
            win is marked †.
        shuffled: system to label to the score of its chains against other posts (a hollow mark).
        text: the caption.

    Raises:
        UserError: no system has a value for any label, so there is nothing to draw.
    """
    known = table[table["metric"].isin(MARKED) & table["value"].notna()]
    systems = list(known["system"].unique())
    if not systems:
        raise UserError(
            "CoE accuracy: not available, no item has gold labels; only synthetic data carries them"
        )
    figure, grid = plt.subplots(
        1, len(MARKED), figsize=(3.1 * len(MARKED), 0.45 * len(systems) + 2.1), sharey=True
    )
    spoilt = overlap_cannot_judge(level)
    for axes, name in zip(grid, MARKED, strict=True):
        scores = _scores(known, name)
        for kind, (colour, line) in LEVEL_LINES.items():
            axes.axvline(level[kind][name], color=colour, linestyle=line, linewidth=1.3, label=LEVELS[kind])
        for y, system in enumerate(systems):
            if pd.notna(scores["value"].get(system)):
                _dot(axes, scores.loc[system], y, SYSTEM_COLOURS[system])
            if system in shuffled:
                axes.plot(
                    shuffled[system][name],
                    y,
                    "o",
                    markersize=8,
                    markerfacecolor="none",
                    markeredgecolor="#333333",
                    label="same chains, posts shuffled" if y == 0 else None,
                )
        title = LAYER_TITLES[LAYER_OF[name]].split(" · ")[1]
        axes.set(
            title=f"{name}{' †' if name in spoilt else ''}\n{LAYER_OF[name]} {title}", xlim=(-0.03, 1.03)
        )
        axes.set_xlabel("share of posts")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    _name_rows(grid[0], systems)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False
    )
    note = " † Overlap alone cannot judge: a pasted post would win, so the span is counted." if spoilt else ""
    return caption(figure, text + note)
