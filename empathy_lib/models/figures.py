"""Figures of notebooks 02 to 04: what the trainers logged, what the reward model tells apart.

Does not know: how anything is trained.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from empathy_lib.core.style import SYSTEM_COLOURS, caption, system_label


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
