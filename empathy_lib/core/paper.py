"""The few figures of the paper (arXiv 2509.14851) that are known, each with how it is known.

Knows: nothing of ours. They are shown beside our figures, never as a target: data, base model and raters all
differ.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import pandas as pd

SOURCES = {"P": "the paper's abstract", "S": "second-hand from the paper's full text"}

# Of its human study, as reported second-hand.
DIMENSIONS = ("Fluency", "Identification", "Comforting", "Suggestion")


@dataclass(frozen=True)
class PaperFigure:
    """One reported value; ``source`` is a key of :data:`SOURCES`, ``system`` our key for the nearest of our
    systems."""

    metric: str
    what: str
    system: str
    value: float
    source: Literal["P", "S"]


PAPER_FIGURES = (
    PaperFigure("rouge", "ROUGE without CoE (which variant is not known)", "sft_no_coe", 0.054, "S"),
    PaperFigure("rouge", "ROUGE with CoE (which variant is not known)", "sft", 0.045, "S"),
    PaperFigure("win_at_1", "human Win@1 of Empathy-R1", "grpo", 0.4430, "P"),
    PaperFigure("win_at_1", "human Win@1 of the runner-up", "", 0.1630, "S"),
)


def paper_table(metric: str) -> pd.DataFrame:
    """The known figures of one metric: columns ``what, system, value, source`` with the source spelt out.

    Raises:
        KeyError: no figure of that metric is known.
    """
    rows = [
        asdict(figure) | {"source": f"{figure.source}: {SOURCES[figure.source]}"}
        for figure in PAPER_FIGURES
        if figure.metric == metric
    ]
    if not rows:
        raise KeyError(metric)
    return pd.DataFrame(rows)[["what", "system", "value", "source"]]
