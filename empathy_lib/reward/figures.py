"""Figures of notebook 03: what the reward model tells apart; and of 04: what ``r_chain`` pays for hacks.
Does not know: how anything is trained."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score, roc_curve

from empathy_lib.core.statistics import wilson_share
from empathy_lib.core.style import caption
from empathy_lib.reward.chain_hacks import REFERENCE
from empathy_lib.reward.train import labelled


def cosine_distributions(scores: pd.DataFrame, threshold: float, text: str) -> Figure:
    """Cosines of references and of each kind of negative; the line is the threshold."""
    positives = (
        scores.drop_duplicates(["id", "positive"])[["positive"]]
        .rename(columns={"positive": "cosine"})
        .assign(kind="reference")
    )
    negatives = scores[["negative", "kind"]].rename(columns={"negative": "cosine"})
    figure, axes = plt.subplots(figsize=(7.5, 3.8))
    data = pd.concat([positives, negatives], ignore_index=True)
    sns.boxplot(
        data=data, x="cosine", y="kind", hue="kind", palette="colorblind", ax=axes, fliersize=2, legend=False
    )
    axes.axvline(threshold, color="black", ls="--", lw=1)
    axes.text(
        threshold,
        1.01,
        f"threshold {threshold:.2f}",
        transform=axes.get_xaxis_transform(),
        fontsize=8,
        ha="center",
        va="bottom",
    )
    axes.set(ylabel="")
    return caption(figure, text)


def roc_curves(scores: pd.DataFrame, text: str) -> Figure:
    """ROC of references against each kind of negative, with its area."""
    figure, axes = plt.subplots(figsize=(4.8, 4.4))
    for colour, (kind, part) in zip(
        sns.color_palette("colorblind"), scores.groupby("kind", sort=False), strict=False
    ):
        labels, cosines = labelled(part)
        false_rate, true_rate, _ = roc_curve(labels, cosines)
        axes.plot(false_rate, true_rate, color=colour, label=f"{kind} ({roc_auc_score(labels, cosines):.2f})")
    axes.plot([0, 1], [0, 1], color="#999999", lw=1, ls=":")
    axes.set(xlabel="false-positive rate", ylabel="true-positive rate", aspect="equal")
    axes.legend(title="negatives (AUC)", fontsize=8, title_fontsize=8)
    return caption(figure, text)


def calibration(scores: pd.DataFrame, threshold: float, text: str, bins: int = 10) -> Figure:
    """Share of true pairs among pairs of like cosine, in bins of equal size, with 95 % Wilson intervals; the
    line is the threshold."""
    references = scores.drop_duplicates(["id", "positive"])["positive"]
    frame = pd.DataFrame(
        {
            "cosine": pd.concat([references, scores["negative"]]),
            "true": [1.0] * len(references) + [0.0] * len(scores),
        }
    )
    frame["bin"] = pd.qcut(frame["cosine"], bins, duplicates="drop")
    groups = [
        (part["cosine"].mean(), wilson_share(part["true"])) for _, part in frame.groupby("bin", observed=True)
    ]
    figure, axes = plt.subplots(figsize=(5.6, 3.8))
    for place, share in groups:
        axes.plot([place, place], [share.low, share.high], color="#0072B2", lw=2, alpha=0.5)
    axes.plot([place for place, _ in groups], [share.value for _, share in groups], "o-", color="#0072B2")
    axes.axvline(threshold, color="black", ls="--", lw=1)
    axes.set(
        xlabel="cosine of post and reply (mean of its bin)", ylabel="share of true pairs", ylim=(-0.02, 1.02)
    )
    return caption(figure, text)


def chain_hacks(table: pd.DataFrame, text: str) -> Figure:
    """What ``r_chain`` pays on average for each hack (bars), and in which share of posts that is no less than
    for the true chain (dots, with 95 % Wilson intervals).

    Args:
        table: of ``chain_hacks.suite``.
    """
    groups = list(table.groupby("kind", sort=False))
    figure, axes = plt.subplots(figsize=(8.5, 0.32 * len(groups) + 1.2))
    for row, (kind, part) in enumerate(groups):
        colour = "#009E73" if kind == REFERENCE else "#56B4E9"
        share = wilson_share(part["reaches"])
        axes.barh(row, part["r_chain"].mean(), color=colour, height=0.6)
        axes.plot([share.low, share.high], [row, row], color="#B35900", lw=2, alpha=0.6)
        axes.plot(share.value, row, "o", color="#B35900", ms=5)
    axes.set_yticks(range(len(groups)), [kind for kind, _ in groups])
    axes.invert_yaxis()
    axes.set(
        xlim=(-0.02, 1.02),
        xlabel="mean r_chain (bars); share of posts where it reaches the true chain's (dots)",
    )
    return caption(figure, text)


def circle(before: np.ndarray, after: np.ndarray, text: str) -> Figure:
    """Unit vectors of two dimensions before and after training, as marks on two circles.

    Args:
        before, after: angles in radians; rows are posts, their answers, their negatives; shape ``(3, n)``.
    """
    figure, panels = plt.subplots(1, 2, figsize=(7.5, 3.8), subplot_kw={"projection": "polar"})
    for axes, angles, title in zip(panels, (before, after), ("before", "after"), strict=True):
        for row, mark, size, name in zip(
            angles, "oPX", (11, 11, 9), ("post", "its answer", "its negative"), strict=True
        ):
            for angle, colour in zip(row, sns.color_palette("colorblind"), strict=False):
                axes.plot(angle, 1, mark, color=colour, ms=size, alpha=0.8)
            axes.plot([], [], mark, color="#555555", label=name)
        axes.set(title=title, yticks=[], ylim=(0, 1.15))
    panels[0].legend(loc="center", fontsize=8)
    return caption(figure, text)
