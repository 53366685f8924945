"""Figures of notebook 06 about studies: power by size, whether intervals hold the truth. All of simulated raters.

Knows: the tables of ``human_eval.power``. Does not know: ratings. Every function takes ``note``, who the raters are, for its caption.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from empathy_lib.plots.style import caption

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe-Ito
_MARKERS = "osD^vP"
_METHODS = {"two-way": ("#0072B2", "o"), "bootstrap": ("#D55E00", "s")}
_MEASURES = {"win_at_1": "Win@1", "mean_rank": "mean rank", "strength": "strength"}


def plot_power(table: pd.DataFrame, note: str) -> Figure:
    """Power against the gap between the best system and the others, a line for each size of study (``power_table``)."""
    figure, axes = plt.subplots(figsize=(9, 4.6))
    sizes = table.groupby(["raters", "items"], sort=False)
    for number, ((raters, items), rows) in enumerate(sizes):
        style = {"color": _COLOURS[number % len(_COLOURS)], "marker": _MARKERS[number % len(_MARKERS)]}
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
    text = "One system is better than the others, which are alike. Found: the interval of the difference in mean rank leaves out 0."
    doubt = f"{1 / np.sqrt(studies):.0%}"  # twice the largest standard error of a share
    scale = f"Gap 0: false alarms. Dotted: 80 %; dashed: 5 %. {studies} studies a point: a share is uncertain by up to {doubt}."
    return caption(figure, f"{text}\n{scale}\n{note}")


def plot_coverage(table: pd.DataFrame, note: str) -> Figure:
    """Share of 95 % intervals that hold the truth, with twice its standard error, for each measure and method (``coverage``)."""
    figure, axes = plt.subplots(figsize=(8, 3.6))
    axes.axhspan(0.93, 0.97, color="#dddddd", zorder=0)
    axes.axhline(0.95, color="#888888", linewidth=1)
    measures = list(table["measure"].unique())
    for number, (method, rows) in enumerate(table.groupby("method", sort=False)):
        colour, marker = _METHODS[str(method)]
        at = np.array([measures.index(name) for name in rows["measure"]]) + 0.16 * number - 0.08
        axes.errorbar(at, rows["coverage"], yerr=2 * rows["error"], color=colour, marker=marker, linestyle="", capsize=4, label=method)
    axes.set_xticks(range(len(measures)), [_MEASURES.get(name, name) for name in measures])
    axes.set_xlim(-0.5, len(measures) - 0.5)
    axes.yaxis.set_major_locator(MultipleLocator(0.05))
    axes.set_ylim(min(0.85, float((table["coverage"] - 2 * table["error"]).min()) - 0.01), 1.005)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_ylabel("intervals that hold the truth")
    axes.grid(axis="x", visible=False)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    studies = int(table["studies"].iloc[0])
    return caption(
        figure,
        f"{studies} simulated studies; bars: twice the standard error of the share; grey: 93 to 97 %. Mean of the dimensions.\n{note}",
    )
