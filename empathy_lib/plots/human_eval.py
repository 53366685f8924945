"""Figures of notebook 06: places, Win@1 and mean rank, dimensions, recovery of known strengths.

Knows: the tables of ``human_eval.ranking``. Does not know: ratings. Every function takes ``note``, who the raters are, for its caption.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from empathy_lib.human_eval.ranking import ALL
from empathy_lib.paper import paper_table
from empathy_lib.plots.style import SYSTEM_COLOURS, SYSTEM_LABELS, caption

_MARKERS = {"Fluency": "o", "Identification": "s", "Comforting": "^", "Suggestion": "D"}
_NO_BAR = "A dot without a bar: all resamples agree (such as never first), or fewer than two raters or items."


def _order(systems: list[str]) -> list[str]:
    """The order of all notebooks; systems unknown to them last."""
    known = [name for name in SYSTEM_LABELS if name in systems]
    return known + sorted(set(systems) - set(known))


def _label(system: str) -> str:
    return SYSTEM_LABELS.get(system, system)


def _colour(system: str) -> str:
    return SYSTEM_COLOURS.get(system, "#333333")


def _dots(axes: Axes, rows: pd.DataFrame, systems: list[str]) -> None:
    rows = rows.set_index("system")
    for position, system in enumerate(systems):
        row = rows.loc[system]
        axes.plot([row["low"], row["high"]], [position] * 2, color=_colour(system), linewidth=3, solid_capstyle="butt", alpha=0.6)
        axes.plot(row["value"], position, "o", color=_colour(system), markersize=8, clip_on=False, zorder=3)
    axes.set_yticks(range(len(systems)), [_label(system) for system in systems])
    axes.set_ylim(len(systems) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)


def plot_win_and_rank(table: pd.DataFrame, note: str, *, dimension: str = ALL) -> Figure:
    """Win@1 and mean rank of each system with 95 % intervals; the paper's Win@1 as dotted lines (``ranking_table``)."""
    rows = table[table["dimension"] == dimension]
    systems = _order(rows["system"].unique().tolist())
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 0.5 * len(systems) + 1.9), sharey=True)
    _dots(left, rows[rows["measure"] == "win_at_1"], systems)
    for row, colour in zip(paper_table("win_at_1").itertuples(), ("#333333", "#999999"), strict=True):
        left.axvline(row.value, color=colour, linestyle=":", linewidth=2, label=f"{row.value:.2%} {row.what} ({row.source})")
    left.set_xlim(0, max(0.5, float(rows.loc[rows["measure"] == "win_at_1", "high"].fillna(0).max()) + 0.03))
    left.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    left.set_xlabel("Win@1 (higher is better)")
    _dots(right, rows[rows["measure"] == "mean_rank"], systems)
    right.axvline((len(systems) + 1) / 2, color="#888888", linestyle="--", linewidth=1.5, zorder=0)
    right.set_xlim(0.9, len(systems) + 0.1)
    right.set_xlabel("mean rank (lower is better; dashed: all alike)")
    where = "mean of the dimensions" if dimension == ALL else dimension
    text = f"Bars: 95 % bootstrap over raters and items; {where}. Dotted: the paper's own study, other systems and other raters.\n"
    caption(figure, f"{text}{_NO_BAR}\n{note}")
    left.legend(loc="lower left", bbox_to_anchor=(0, 1.0), fontsize=9, frameon=False)  # after the layout, which it would stretch
    return figure


def plot_places(shares: pd.DataFrame, note: str) -> Figure:
    """How often each system took each place (``rank_shares``): one stacked bar a system, summing to 1."""
    systems = _order(shares.index.tolist())
    figure, axes = plt.subplots(figsize=(10, 0.5 * len(systems) + 1.6))
    colours = sns.color_palette("viridis_r", len(shares.columns))
    left = np.zeros(len(systems))
    for place, colour in zip(shares.columns, colours, strict=True):
        widths = shares.loc[systems, place].to_numpy()
        axes.barh(range(len(systems)), widths, left=left, color=colour, label=str(place))
        ink = "white" if np.dot(colour[:3], (0.21, 0.72, 0.07)) < 0.48 else "#222222"
        for row, (start, width) in enumerate(zip(left, widths, strict=True)):
            if width >= 0.05:
                axes.text(start + width / 2, row, f"{width:.0%}", ha="center", va="center", fontsize=9, color=ink)
        left += widths
    axes.set_yticks(range(len(systems)), [_label(system) for system in systems])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_xlabel("share of rankings")
    axes.grid(visible=False)
    axes.legend(title="place", loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return caption(figure, f"Mean of the dimensions; ties share the places they fill; shares below 5 % carry no figure.\n{note}")


def plot_dimensions(table: pd.DataFrame, note: str, *, measure: str = "win_at_1") -> Figure:
    """One panel a dimension: ``measure`` of each system with 95 % intervals (``ranking_table``)."""
    rows = table[(table["measure"] == measure) & (table["dimension"] != ALL)]
    dimensions, systems = rows["dimension"].unique(), _order(rows["system"].unique().tolist())
    figure, panels = plt.subplots(
        1, len(dimensions), figsize=(3.1 * len(dimensions) + 1, 0.5 * len(systems) + 1.2), sharey=True, sharex=True
    )
    for axes, dimension in zip(np.atleast_1d(panels), dimensions, strict=True):
        _dots(axes, rows[rows["dimension"] == dimension], systems)
        axes.set_title(dimension, fontsize=12)
        if measure != "mean_rank":
            axes.set_xlim(0, float(rows[["value", "high"]].max(axis=None)) + 0.03)
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set_xlabel(measure.replace("win_at_", "Win@").replace("_", " "))
    return caption(figure, f"Bars: 95 % bootstrap over raters and items. {_NO_BAR}\n{note}")


def plot_recovery(table: pd.DataFrame, correlation: float, note: str) -> Figure:
    """Known against recovered strengths with 95 % intervals (``recovery``): colour the system, shape the dimension."""
    systems = _order(table["system"].unique().tolist())
    figure, axes = plt.subplots(figsize=(8, 6))
    bounds = table[["true", "low", "high", "strength"]].to_numpy()
    span = [float(np.nanmin(bounds)) - 0.1, float(np.nanmax(bounds)) + 0.1]
    axes.plot(span, span, color="#bbbbbb", linewidth=1, zorder=0)
    for row in table.itertuples():
        axes.plot([row.true] * 2, [row.low, row.high], color=_colour(row.system), alpha=0.5, linewidth=1.5)
        axes.plot(row.true, row.strength, _MARKERS[row.dimension], color=_colour(row.system), markersize=7)
    named = [plt.Line2D([], [], color=_colour(system), linewidth=4, label=_label(system)) for system in systems]
    shapes = [plt.Line2D([], [], color="#555555", marker=_MARKERS[name], linestyle="", label=name) for name in table["dimension"].unique()]
    axes.legend(handles=named + shapes, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    axes.set_xlabel("known strength (log, mean 0 on each dimension)")
    axes.set_ylabel("recovered strength")
    axes.set_title(f"correlation {correlation:.2f}", fontsize=12)
    text = "Bars: 95 % bootstrap over raters and items. Grey: exact recovery. Raters' and items' tastes pull estimates towards 0.\n"
    return caption(figure, text + note)
