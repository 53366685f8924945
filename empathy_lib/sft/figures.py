"""Figures of notebook 02: how many completions are well-formed, and a text token by token.

Does not know: how anything is trained.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from empathy_lib.core.style import SYSTEM_COLOURS, caption


def shares(table: pd.DataFrame, text: str) -> Figure:
    """Horizontal dots with 95 % intervals; ``table`` has columns value, low, high, its index names the
    rows."""
    figure, axes = plt.subplots(figsize=(7, 0.5 * len(table) + 1.3))
    for row, (name, entry) in enumerate(table.iterrows()):
        colour = SYSTEM_COLOURS.get(str(name).split(",")[0], "#0072B2")
        axes.plot([entry["low"], entry["high"]], [row, row], color=colour, lw=3, alpha=0.5)
        axes.plot(entry["value"], row, "o", color=colour)
    axes.set_yticks(range(len(table)), [str(name) for name in table.index])
    axes.invert_yaxis()
    axes.set(xlim=(-0.02, 1.02), xlabel="share of completions that follow the CoE grammar")
    return caption(figure, text)


def token_strip(tokens: Sequence[str], colours: Sequence[str]) -> str:
    """HTML of a text token by token, each on its colour; tokens are escaped, a line break is shown as ⏎."""
    spans = (
        f"<span style='background:{colour};color:black;margin-right:1px;white-space:pre-wrap'>"
        f"{html.escape(token).replace(chr(10), '⏎')}</span><wbr>"
        for token, colour in zip(tokens, colours, strict=True)
    )
    return f"<div style='text-align:left;line-height:1.8'>{''.join(spans)}</div>"
