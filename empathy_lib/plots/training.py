"""Figures of notebooks 02 to 04: what the trainers logged, what the reward model tells apart.

Does not know: how anything is trained.
"""

from __future__ import annotations

import itertools

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score, roc_curve

from empathy_lib.plots.style import SYSTEM_COLOURS, caption, system_colour, system_label
from empathy_lib.reward_model import labelled
from empathy_lib.statistics import Score, wilson_share


def loss_curves(logs: dict[str, list[dict]], text: str) -> Figure:
    """Training and validation loss (nats per completion token) over steps, one colour a policy."""
    figure, axes = plt.subplots(figsize=(7, 3.6))
    for name, records in logs.items():
        colour = SYSTEM_COLOURS.get(name, "#0072B2")
        label = system_label(name)
        train = [(r["step"], r["loss"]) for r in records if "loss" in r]
        held = [(r["step"], r["eval_loss"]) for r in records if "eval_loss" in r]
        axes.plot(*zip(*train, strict=True), color=colour, marker=".", label=f"{label}, training")
        axes.plot(*zip(*held, strict=True), color=colour, marker="o", ls="--", label=f"{label}, validation")
    axes.set(xlabel="step", ylabel="loss")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)
    return caption(figure, text)


def shares(table: pd.DataFrame, text: str) -> Figure:
    """Horizontal dots with 95 % intervals; ``table`` has columns value, low, high, its index names the rows."""
    figure, axes = plt.subplots(figsize=(7, 0.5 * len(table) + 1.3))
    for row, (name, entry) in enumerate(table.iterrows()):
        colour = SYSTEM_COLOURS.get(str(name).split(",")[0], "#0072B2")
        axes.plot([entry["low"], entry["high"]], [row, row], color=colour, lw=3, alpha=0.5)
        axes.plot(entry["value"], row, "o", color=colour)
    axes.set_yticks(range(len(table)), [str(name) for name in table.index])
    axes.invert_yaxis()
    axes.set(xlim=(-0.02, 1.02), xlabel="share of completions that follow the CoE grammar")
    return caption(figure, text)


def cosine_distributions(scores: pd.DataFrame, threshold: float, text: str) -> Figure:
    """Cosines of references and of each kind of negative; the line is the threshold."""
    positives = scores.drop_duplicates(["id", "positive"])[["positive"]].rename(columns={"positive": "cosine"}).assign(kind="reference")
    negatives = scores[["negative", "kind"]].rename(columns={"negative": "cosine"})
    figure, axes = plt.subplots(figsize=(7.5, 3.8))
    data = pd.concat([positives, negatives], ignore_index=True)
    sns.boxplot(data=data, x="cosine", y="kind", hue="kind", palette="colorblind", ax=axes, fliersize=2, legend=False)
    axes.axvline(threshold, color="black", ls="--", lw=1)
    axes.text(threshold, 1.01, f"threshold {threshold:.2f}", transform=axes.get_xaxis_transform(), fontsize=8, ha="center", va="bottom")
    axes.set(ylabel="")
    return caption(figure, text)


def roc_curves(scores: pd.DataFrame, text: str) -> Figure:
    """ROC of references against each kind of negative, with its area."""
    figure, axes = plt.subplots(figsize=(4.8, 4.4))
    for colour, (kind, part) in zip(sns.color_palette("colorblind"), scores.groupby("kind", sort=False), strict=False):
        labels, cosines = labelled(part)
        false_rate, true_rate, _ = roc_curve(labels, cosines)
        axes.plot(false_rate, true_rate, color=colour, label=f"{kind} ({roc_auc_score(labels, cosines):.2f})")
    axes.plot([0, 1], [0, 1], color="#999999", lw=1, ls=":")
    axes.set(xlabel="false-positive rate", ylabel="true-positive rate", aspect="equal")
    axes.legend(title="negatives (AUC)", fontsize=8, title_fontsize=8)
    return caption(figure, text)


def calibration(scores: pd.DataFrame, threshold: float, text: str, bins: int = 10) -> Figure:
    """Share of true pairs among pairs of like cosine, in bins of equal size, with 95 % Wilson intervals; the line is the threshold."""
    references = scores.drop_duplicates(["id", "positive"])["positive"]
    frame = pd.DataFrame({"cosine": pd.concat([references, scores["negative"]]), "true": [1.0] * len(references) + [0.0] * len(scores)})
    frame["bin"] = pd.qcut(frame["cosine"], bins, duplicates="drop")
    groups = [(part["cosine"].mean(), wilson_share(part["true"])) for _, part in frame.groupby("bin", observed=True)]
    figure, axes = plt.subplots(figsize=(5.6, 3.8))
    for place, share in groups:
        axes.plot([place, place], [share.low, share.high], color="#0072B2", lw=2, alpha=0.5)
    axes.plot([place for place, _ in groups], [share.value for _, share in groups], "o-", color="#0072B2")
    axes.axvline(threshold, color="black", ls="--", lw=1)
    axes.set(xlabel="cosine of post and reply (mean of its bin)", ylabel="share of true pairs", ylim=(-0.02, 1.02))
    return caption(figure, text)


def steps_of(log: list[dict]) -> pd.DataFrame:
    """GRPO's log, one row a step; ``kl`` is NaN where ``grpo.beta`` is 0, since no reference policy is kept then."""
    frame = pd.DataFrame([r for r in log if "reward" in r]).set_index("step")
    return frame if "kl" in frame else frame.assign(kl=float("nan"))


def grpo_curves(logs: list[list[dict]], text: str) -> Figure:
    """Six panels over GRPO's steps: the two rewards, length, KL, zero-variance groups, entropy; one line a training run."""
    panels = {
        "rewards/r_format/mean": "mean r_format",
        "rewards/r_answer/mean": "mean r_answer",
        "completions/mean_length": "completion length (tokens)",
        "kl": "KL to the SFT policy (nats/token)",
        "frac_reward_zero_std": "share of groups with zero variance",
        "entropy": "entropy (nats/token)",
    }
    figure, grid = plt.subplots(2, 3, figsize=(10.5, 5.2), sharex=True)
    for axes, (column, title) in zip(grid.flat, panels.items(), strict=True):
        for frame, style in zip(map(steps_of, logs), itertools.cycle(["-", "--", ":"]), strict=False):
            axes.plot(frame.index, frame[column], ".", color=SYSTEM_COLOURS["grpo"], alpha=0.3, ms=4)
            axes.plot(frame.index, frame[column].rolling(5, min_periods=1).mean(), style, color=SYSTEM_COLOURS["grpo"])
        axes.set_title(title, fontsize=10)
    for axes in grid[1]:
        axes.set_xlabel("step")
    return caption(figure, text)


def ablations(scores: dict[str, dict[str, Score]], text: str) -> Figure:
    """A panel for each column of ``scores`` (column -> system -> score), dots with their intervals, a row a system."""
    figure, grid = plt.subplots(1, len(scores), figsize=(2.6 * len(scores) + 1.6, 3.6), sharey=True)
    for axes, (column, entries) in zip(grid, scores.items(), strict=True):
        for row, (system, score) in enumerate(entries.items()):
            colour = system_colour(system)
            axes.plot([score.low, score.high], [row, row], color=colour, lw=3, alpha=0.5)
            axes.plot(score.value, row, "o", color=colour)
            if pd.isna(score.value):
                axes.text(
                    0.5, row, "not asked for", transform=axes.get_yaxis_transform(), fontsize=8, color="#777777", ha="center", va="center"
                )
        axes.set_title(column, fontsize=10)
        axes.set_yticks(range(len(entries)), [system_label(system) for system in entries])
    grid[0].invert_yaxis()
    return caption(figure, text)
