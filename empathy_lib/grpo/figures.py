"""Figures of notebook 04: what the trainer logged over its steps, the systems of the ablations.

Knows: logs and scores. Does not know: how anything is trained.
"""

from __future__ import annotations

import itertools

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from empathy_lib.core.statistics import Score
from empathy_lib.core.style import SYSTEM_COLOURS, caption, system_colour, system_label

R_CHAIN = "rewards/r_chain/mean"


def steps_of(log: list[dict]) -> pd.DataFrame:
    """GRPO's log, one row a step; ``kl`` is NaN where ``grpo.beta`` is 0, since no reference policy is kept
    then.

    ``kl_completion`` is the logged KL a token times the logged mean length: nats a completion, as training
    sampled them. What a policy pays ``r_format`` is not logged where it is asked for no chain.
    """
    frame = pd.DataFrame([r for r in log if "reward" in r]).set_index("step")
    if "kl" not in frame:
        frame["kl"] = float("nan")
    return frame.assign(kl_completion=frame["kl"] * frame["completions/mean_length"])


def grpo_curves(logs: list[list[dict]], text: str) -> Figure:
    """Panels over GRPO's steps: the rewards (``r_chain`` where it is paid), length, zero-variance groups, KL
    a token and a completion, entropy; one line a training run."""
    frames = [steps_of(log) for log in logs]
    panels = {
        "rewards/r_format/mean": "mean r_format",
        "rewards/r_answer/mean": "mean r_answer",
        "completions/mean_length": "completion length (tokens)",
        "frac_reward_zero_std": "share of groups with zero variance",
        "kl": "KL to SFT (nats/token)",
        "kl_completion": "KL to SFT (nats/completion)",
        "entropy": "entropy (nats/token)",
    }
    if any(R_CHAIN in frame for frame in frames):
        panels[R_CHAIN] = "mean r_chain"
    figure, grid = plt.subplots(2, 4, figsize=(13, 5.2), sharex=True)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes, (column, title) in zip(grid.flat, panels.items(), strict=False):
        for frame, style in zip(frames, itertools.cycle(["-", "--", ":"]), strict=False):
            if column not in frame:
                continue
            axes.plot(frame.index, frame[column], ".", color=SYSTEM_COLOURS["grpo"], alpha=0.3, ms=4)
            axes.plot(
                frame.index,
                frame[column].rolling(5, min_periods=1).mean(),
                style,
                color=SYSTEM_COLOURS["grpo"],
            )
        axes.set_title(title, fontsize=10)
    for axes in grid[1]:
        axes.set_xlabel("step")
    return caption(figure, text)


def ablations(scores: dict[str, dict[str, Score]], text: str) -> Figure:
    """A panel for each column of ``scores`` (column -> system -> score), dots with their intervals, a row a
    system."""
    figure, grid = plt.subplots(1, len(scores), figsize=(2.6 * len(scores) + 1.6, 3.6), sharey=True)
    for axes, (column, entries) in zip(grid, scores.items(), strict=True):
        for row, (system, score) in enumerate(entries.items()):
            colour = system_colour(system)
            axes.plot([score.low, score.high], [row, row], color=colour, lw=3, alpha=0.5)
            axes.plot(score.value, row, "o", color=colour)
            if pd.isna(score.value):
                axes.text(
                    0.5,
                    row,
                    "not asked for",
                    transform=axes.get_yaxis_transform(),
                    fontsize=8,
                    color="#777777",
                    ha="center",
                    va="center",
                )
        axes.set_title(column, fontsize=10)
        axes.set_yticks(range(len(entries)), [system_label(system) for system in entries])
    grid[0].invert_yaxis()
    return caption(figure, text)
