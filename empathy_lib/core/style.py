"""What all figures share: a font with Chinese glyphs, colour-blind-safe system colours, captions, saving.

Does not know: any data.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterable
from pathlib import Path

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib import font_manager
from matplotlib.figure import Figure

from empathy_lib.core.errors import UserError
from empathy_lib.core.run import Run

# Okabe-Ito, its grey darkened (deuteranopes see #999999 as the purple); the same colour for a system in every
# notebook.
SYSTEM_COLOURS = {
    "base": "#5A5A5A",
    "few_shot": "#56B4E9",
    "bm25": "#E69F00",
    "sft_no_coe": "#CC79A7",
    "sft": "#0072B2",
    "grpo": "#D55E00",
    "random": "#F0E442",
    "reference": "#009E73",
}
SYSTEM_LABELS = {
    "base": "Base, zero-shot",
    "few_shot": "Base, few-shot CoE",
    "bm25": "BM25 retrieval",
    "sft_no_coe": "SFT without CoE",
    "sft": "SFT with CoE",
    "grpo": "SFT + GRPO",
    "random": "Random answer, same sub-topic",
    "reference": "References",
}
COMPARED_LABELS = {
    "grpo_no_sft": "GRPO without SFT",
    "grpo_no_coe": "SFT + GRPO without CoE",
    "grpo_best_of_n": "SFT, best of n",
    "grpo_more_sft": "SFT, trained on",
    "grpo_smooth": "SFT + GRPO, smooth reward",
    "grpo_decoupled": "SFT + GRPO, decoupled",
    "grpo_chain": "SFT + GRPO, r_chain too",
    "best_of_2": "SFT, best of 2",
}
OTHER_COLOUR = "#000000"  # of a system that is none of ours
_FONT_FILE = "NotoSansCJKsc-Regular.otf"


def use_style() -> None:
    """Set seaborn's theme and the Chinese font that the ``mplfonts`` package carries.

    Raises:
        UserError: the font is not there; names the package to install.
    """
    # located, not imported: its import rewrites matplotlib's settings
    spec = importlib.util.find_spec("mplfonts")
    font = Path(spec.origin).parent / "fonts" / _FONT_FILE if spec and spec.origin else None
    if font is None or not font.is_file():
        raise UserError(f"Chinese font {_FONT_FILE} not found; install it with: pip install mplfonts==0.0.11")
    font_manager.fontManager.addfont(font)
    sns.set_theme(
        context="notebook", style="whitegrid", font=font_manager.FontProperties(fname=font).get_name()
    )
    plt.rcParams.update(
        {
            "figure.dpi": 100,
            "savefig.bbox": "tight",
            "axes.unicode_minus": False,
            "pdf.fonttype": 42,
            "text.parse_math": False,  # a topic of a corpus may hold $
        }
    )


def system_order(systems: Iterable[str]) -> list[str]:
    """The order of all notebooks; systems unknown to them last, by name."""
    names = set(systems)
    return [name for name in SYSTEM_LABELS if name in names] + sorted(names - set(SYSTEM_LABELS))


def system_label(system: str) -> str:
    """What a figure calls a system."""
    return SYSTEM_LABELS.get(system) or COMPARED_LABELS.get(system, system)


def system_colour(system: str) -> str:
    """The colour of a system in all figures."""
    return SYSTEM_COLOURS.get(system, OTHER_COLOUR)


def caption(figure: Figure, text: str) -> Figure:
    """Put the caption below the figure; it must say what is synthetic, simulated or small."""
    figure.tight_layout()
    figure.text(0.01, -0.01, text, fontsize=9, color="#444444", va="top", ha="left", wrap=True)
    return figure


def watermark(figure: Figure, text: str) -> Figure:
    """Write ``text`` lightly across each panel, so that it stays with a picture that lost its caption.

    Call it after the layout (:func:`caption`): the letters are as large as a panel is wide. Colour bars stay
    bare.
    """
    points = 72 / figure.dpi
    for axes in figure.axes:
        if axes.get_label() == "<colorbar>" or not axes.get_visible():
            continue
        box = axes.get_window_extent()
        angle = min(math.degrees(math.atan2(box.height, box.width)), 30)
        reach = 0.8 * min(box.width / math.cos(math.radians(angle)), 4 * box.height)
        axes.text(
            0.5,
            0.5,
            text,
            transform=axes.transAxes,
            fontsize=reach * points / (0.68 * len(text)),  # a capital is about two thirds of an em wide
            rotation=angle,
            ha="center",
            va="center",
            color="#666666",
            alpha=0.22,
            zorder=10,
            clip_on=True,
        )
    return figure


def save(figure: Figure, run: Run, name: str) -> None:
    """Save in the run folder's ``figures/`` under ``name`` (``01_topics``), as PNG and as PDF; the notebook
    still shows the figure.

    The PDF is of vectors, its fonts embedded as far as they are used; it has no date, so that the same figure
    gives the same bytes.
    """
    folder = run.path / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.png", dpi=110)
    figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None})
