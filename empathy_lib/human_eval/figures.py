"""Figures of notebook 06: places, Win@1 and mean rank, dimensions, who beats whom, critical differences,
strengths; power and coverage.

Knows: the tables of ``ranking`` and of ``power`` (studies that are all simulated). Does not know: ratings.
Every function takes ``note``, who the raters are, for its caption; where they are simulated, the word stands
across the panels too.
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import scikit_posthocs
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from empathy_lib.core.paper import paper_table
from empathy_lib.core.style import caption, system_colour, system_label, system_order, watermark
from empathy_lib.human_eval.cube import ALL
from empathy_lib.human_eval.differences import Nemenyi
from empathy_lib.human_eval.ranking import NOBODY
from empathy_lib.human_eval.simulate import SIMULATED_NOTE

_MARKERS = "os^DvPX*"  # of the dimensions, in order
_BARS = "Bars: 95 % intervals, clustered by rater and by item"
_NO_BAR = "A dot without a bar: nothing varies (such as never first), or fewer than two raters or items."
_SIZE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe-Ito
_SIZE_MARKERS = "osD^vP"
_METHODS = {"two-way": ("#0072B2", "o"), "bootstrap": ("#D55E00", "s")}
_MEASURES = {"win_at_1": "Win@1", "mean_rank": "mean rank", "strength": "strength"}


def _finish(figure: Figure, text: str, note: str) -> Figure:
    """Caption and note below; SIMULATED across the panels where the note says so."""
    caption(figure, f"{text}\n{note}")
    return watermark(figure, "SIMULATED") if note.startswith(SIMULATED_NOTE) else figure


def _dots(axes: Axes, rows: pd.DataFrame, systems: list[str]) -> None:
    rows = rows.set_index("system")
    for position, system in enumerate(systems):
        row = rows.loc[system]
        axes.plot(
            [row["low"], row["high"]],
            [position] * 2,
            color=system_colour(system),
            linewidth=3,
            solid_capstyle="butt",
            alpha=0.6,
        )
        axes.plot(
            row["value"], position, "o", color=system_colour(system), markersize=8, clip_on=False, zorder=3
        )
    axes.set_yticks(range(len(systems)), [system_label(system) for system in systems])
    axes.set_ylim(len(systems) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)


def _ink(colour: Sequence[float]) -> str:
    """What can be read on a colour, by its luminance."""
    return "white" if np.dot(colour[:3], (0.21, 0.72, 0.07)) < 0.5 else "#222222"


def plot_win_and_rank(table: pd.DataFrame, note: str, *, dimension: str = ALL) -> Figure:
    """Win@1 and mean rank of each system with 95 % intervals; the paper's Win@1 as dotted lines
    (``ranking_table``)."""
    rows = table[table["dimension"] == dimension]
    systems = system_order(rows["system"])
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 0.5 * len(systems) + 1.9), sharey=True)
    _dots(left, rows[rows["measure"] == "win_at_1"], systems)
    for row, colour in zip(paper_table("win_at_1").itertuples(), ("#333333", "#999999"), strict=True):
        left.axvline(
            row.value,
            color=colour,
            linestyle=":",
            linewidth=2,
            label=f"{row.value:.2%} {row.what} ({row.source})",
        )
    left.set_xlim(0, max(0.5, float(rows.loc[rows["measure"] == "win_at_1", "high"].fillna(0).max()) + 0.03))
    left.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    left.set_xlabel("Win@1 (higher is better)")
    _dots(right, rows[rows["measure"] == "mean_rank"], systems)
    right.axvline((len(systems) + 1) / 2, color="#888888", linestyle="--", linewidth=1.5, zorder=0)
    right.set_xlim(0.9, len(systems) + 0.1)
    right.set_xlabel("mean rank (lower is better; dashed: all alike)")
    where = "mean of the dimensions" if dimension == ALL else dimension
    text = f"{_BARS}; {where}. Dotted: the paper's own study, other systems and other raters.\n"
    _finish(figure, f"{text}{_NO_BAR}", note)
    # after the layout, which it would stretch
    left.legend(loc="lower left", bbox_to_anchor=(0, 1.0), fontsize=9, frameon=False)
    return figure


def plot_places(shares: pd.DataFrame, note: str) -> Figure:
    """How often each system took each place (``rank_shares``): one stacked bar a system, summing to 1."""
    systems = system_order(shares.index)
    figure, axes = plt.subplots(figsize=(10, 0.5 * len(systems) + 1.6))
    colours = sns.color_palette("viridis_r", len(shares.columns))
    left = np.zeros(len(systems))
    for place, colour in zip(shares.columns, colours, strict=True):
        widths = shares.loc[systems, place].to_numpy()
        axes.barh(range(len(systems)), widths, left=left, color=colour, label=str(place))
        for row, (start, width) in enumerate(zip(left, widths, strict=True)):
            if width >= 0.05:
                axes.text(
                    start + width / 2,
                    row,
                    f"{width:.0%}",
                    ha="center",
                    va="center",
                    fontsize=9,
                    color=_ink(colour),
                )
        left += widths
    axes.set_yticks(range(len(systems)), [system_label(system) for system in systems])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_xlabel("share of rankings")
    axes.grid(visible=False)
    axes.legend(title="place", loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    text = "Mean of the dimensions; ties share the places they fill; shares below 5 % carry no figure."
    return _finish(figure, text, note)


def plot_dimensions(table: pd.DataFrame, note: str, *, measure: str = "win_at_1") -> Figure:
    """One panel a dimension: ``measure`` of each system with 95 % intervals (``ranking_table``)."""
    rows = table[(table["measure"] == measure) & (table["dimension"] != ALL)]
    dimensions, systems = rows["dimension"].unique(), system_order(rows["system"])
    figure, panels = plt.subplots(
        1,
        len(dimensions),
        figsize=(3.1 * len(dimensions) + 1, 0.5 * len(systems) + 1.2),
        sharey=True,
        sharex=True,
    )
    for axes, dimension in zip(np.atleast_1d(panels), dimensions, strict=True):
        _dots(axes, rows[rows["dimension"] == dimension], systems)
        axes.set_title(dimension, fontsize=12)
        if measure != "mean_rank":
            axes.set_xlim(0, float(rows[["value", "high"]].max(axis=None)) + 0.03)
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set_xlabel(measure.replace("win_at_", "Win@").replace("_", " "))
    return _finish(figure, f"{_BARS}. {_NO_BAR}", note)


def plot_recovery(table: pd.DataFrame, correlation: float, note: str) -> Figure:
    """Known against recovered strengths with 95 % intervals (``recovery``): colour the system, shape the
    dimension."""
    systems = system_order(table["system"])
    figure, axes = plt.subplots(figsize=(8, 6))
    names = table["dimension"].unique()
    marker = {name: _MARKERS[number % len(_MARKERS)] for number, name in enumerate(names)}
    bounds = table[["true", "low", "high", "strength"]].to_numpy()
    span = [float(np.nanmin(bounds)) - 0.1, float(np.nanmax(bounds)) + 0.1]
    axes.plot(span, span, color="#bbbbbb", linewidth=1, zorder=0)
    for row in table.itertuples():
        axes.plot(
            [row.true] * 2, [row.low, row.high], color=system_colour(row.system), alpha=0.5, linewidth=1.5
        )
        axes.plot(
            row.true, row.strength, marker[row.dimension], color=system_colour(row.system), markersize=7
        )
    named = [
        plt.Line2D([], [], color=system_colour(system), linewidth=4, label=system_label(system))
        for system in systems
    ]
    shapes = [
        plt.Line2D([], [], color="#555555", marker=marker[name], linestyle="", label=name) for name in names
    ]
    axes.legend(handles=named + shapes, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    axes.set_xlabel("known strength (log, mean 0 on each dimension)")
    axes.set_ylabel("recovered strength")
    axes.set_title(f"correlation {correlation:.2f}", fontsize=12)
    text = f"{_BARS}. Grey: exact recovery. Raters' and items' tastes pull estimates towards 0."
    return _finish(figure, text, note)


def plot_win_matrix(table: pd.DataFrame, note: str) -> Figure:
    """How often the system of the row beats that of the column (``win_matrix``), with its interval below."""
    systems = system_order(table["a"])
    cells = table.set_index(["a", "b"])
    figure, axes = plt.subplots(figsize=(1.35 * len(systems) + 2.2, 0.75 * len(systems) + 1.6))
    shares = np.array([[cells["wins"].get((a, b), np.nan) for b in systems] for a in systems])
    image = axes.imshow(shares, cmap="PuOr_r", vmin=0, vmax=1, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        if not np.isnan(share):
            low, high = cells.loc[(systems[row], systems[column]), ["low", "high"]]
            spread = "" if np.isnan(low) else f"\n{low:.0%} to {high:.0%}"
            axes.text(
                column,
                row,
                f"{share:.0%}{spread}",
                ha="center",
                va="center",
                fontsize=9,
                color=_ink(image.cmap(share)),
            )
    axes.set_xticks(
        range(len(systems)), [system_label(system) for system in systems], rotation=25, ha="right"
    )
    axes.set_yticks(range(len(systems)), [system_label(system) for system in systems])
    axes.grid(visible=False)
    figure.colorbar(image, ax=axes, format=lambda value, _: f"{value:.0%}", label="row beats column")
    text = (
        "Share of rankings of both in which the row's system is better; a tie is half. Below: 95 % intervals "
        "over raters and items."
    )
    return _finish(figure, text, note)


def plot_critical_difference(test: Nemenyi, note: str) -> Figure:
    """Mean ranks over items on a line; a bar joins systems that Nemenyi's test, of these raters only, does
    not tell apart (``nemenyi``)."""
    names = {system: system_label(system) for system in test.ranks.index}
    figure, axes = plt.subplots(figsize=(10, 0.36 * len(names) + 1.6))
    scikit_posthocs.critical_difference_diagram(
        test.ranks.rename(names),
        test.p.rename(index=names, columns=names),
        ax=axes,
        label_fmt_left="{label} ({rank:.2f}) ",
        label_fmt_right=" ({rank:.2f}) {label}",
        color_palette={name: system_colour(system) for system, name in names.items()},
        crossbar_props={"color": "#333333", "linewidth": 3},
        text_h_margin=0.06,
    )
    # the library would draw this bar through the numbers of the axis
    best, above = (float(test.ranks.min()), 1.1)
    axes.plot([best, best + test.critical_difference], [above] * 2, color="#333333", linewidth=3)
    axes.text(
        best + test.critical_difference / 2,
        above + 0.1,
        f"CD = {test.critical_difference:.2f}",
        ha="center",
        va="bottom",
    )
    axes.grid(visible=False)
    width = f"{test.critical_difference:.2f} (Nemenyi, 5 % level, over items)"
    text = (
        f"Rank among the systems, mean over {test.items} items (1 is the best). A bar joins systems that "
        f"differ by less than {width}.\nFor these raters only; for new ones, see "
        f"the p-values of the pairs."
    )
    return _finish(figure, text, note)


def plot_without_each_rater(table: pd.DataFrame, note: str) -> Figure:
    """Win@1 and mean rank of each system, of all raters (dot) and without each of them in turn (ticks;
    ``leave_one_rater_out``)."""
    systems = system_order(table["system"])
    figure, panels = plt.subplots(1, 2, figsize=(11, 0.45 * len(systems) + 1.5), sharey=True)
    for axes, (measure, name) in zip(
        panels, {"win_at_1": "Win@1", "mean_rank": "mean rank"}.items(), strict=True
    ):
        for position, system in enumerate(systems):
            rows = table[table["system"] == system]
            without, whole = rows[rows["without"] != NOBODY], rows[rows["without"] == NOBODY]
            axes.plot(
                without[measure],
                [position] * len(without),
                "|",
                color=system_colour(system),
                markersize=16,
                markeredgewidth=0.8,
            )
            axes.plot(
                whole[measure],
                [position],
                "o",
                color=system_colour(system),
                markersize=8,
                markeredgecolor="white",
                markeredgewidth=1.5,
            )
        axes.set_xlabel(name)
        axes.grid(axis="y", visible=False)
    panels[0].xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    panels[0].set_yticks(range(len(systems)), [system_label(system) for system in systems])
    panels[0].set_ylim(len(systems) - 0.5, -0.5)
    text = "Dots: all raters. Ticks: the same figure with one rater left out, a tick for each."
    return _finish(figure, f"{text} Mean of the dimensions.", note)


def plot_power(table: pd.DataFrame, note: str) -> Figure:
    """Power against the gap between the best system and the others, a line for each size of study
    (``power_table``)."""
    figure, axes = plt.subplots(figsize=(9, 4.6))
    sizes = table.groupby(["raters", "items"], sort=False)
    for number, ((raters, items), rows) in enumerate(sizes):
        style = {
            "color": _SIZE_COLOURS[number % len(_SIZE_COLOURS)],
            "marker": _SIZE_MARKERS[number % len(_SIZE_MARKERS)],
        }
        axes.plot(rows["gap"], rows["power"], label=f"{raters} × {items}", **style)
    axes.axhline(0.8, color="#888888", linestyle=":", linewidth=1.5)
    axes.axhline(0.05, color="#888888", linestyle="--", linewidth=1)
    one = table[(table["raters"] == table["raters"].iloc[0]) & (table["items"] == table["items"].iloc[0])]
    axes.set_xticks(one["gap"], [f"{row.gap:g}\n({row.win_at_1:.0%})" for row in one.itertuples()])
    axes.set_xlabel("gap in log-strength (below: true Win@1 of the better system)")
    axes.set_ylabel("share of studies that find it")
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.legend(title="raters × items", loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    studies = int(table["simulations"].iloc[0])
    text = (
        "One system is better than the others, which are alike. Found: the interval of the difference in "
        "mean rank leaves out 0."
    )
    doubt = f"{1 / np.sqrt(studies):.0%}"  # twice the largest standard error of a share
    scale = (
        f"Gap 0: false alarms. Dotted: 80 %; dashed: 5 %. {studies} studies a point: a share is uncertain by "
        f"up to {doubt}."
    )
    return _finish(figure, f"{text}\n{scale}", note)


def plot_coverage(table: pd.DataFrame, note: str) -> Figure:
    """Share of 95 % intervals that hold the truth, with twice its standard error, for each measure and method
    (``coverage``)."""
    figure, axes = plt.subplots(figsize=(8, 3.6))
    axes.axhspan(0.93, 0.97, color="#dddddd", zorder=0)
    axes.axhline(0.95, color="#888888", linewidth=1)
    measures = list(table["measure"].unique())
    for number, (method, rows) in enumerate(table.groupby("method", sort=False)):
        colour, marker = _METHODS[str(method)]
        at = np.array([measures.index(name) for name in rows["measure"]]) + 0.16 * number - 0.08
        axes.errorbar(
            at,
            rows["coverage"],
            yerr=2 * rows["error"],
            color=colour,
            marker=marker,
            linestyle="",
            capsize=4,
            label=method,
        )
    axes.set_xticks(range(len(measures)), [_MEASURES.get(name, name) for name in measures])
    axes.set_xlim(-0.5, len(measures) - 0.5)
    axes.yaxis.set_major_locator(MultipleLocator(0.05))
    axes.set_ylim(min(0.85, float((table["coverage"] - 2 * table["error"]).min()) - 0.01), 1.005)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_ylabel("intervals that hold the truth")
    axes.grid(axis="x", visible=False)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    studies = int(table["studies"].iloc[0])
    text = f"{studies} simulated studies; bars: twice the standard error of the share; grey: 93 to 97 %."
    return _finish(figure, f"{text} Mean of the dimensions.", note)
