"""A ranking as one JSON object, for ``python -m empathy_lib rank``.

Knows: the keys of that object. Does not know: how a figure is computed (``ranking``).
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from empathy_lib.human_eval.intervals import Bootstrap
from empathy_lib.human_eval.ranking import ranking_table
from empathy_lib.human_eval.strengths import estimate_strengths


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def summarise(
    ratings: pd.DataFrame, *, ks: tuple[int, ...] = (1, 2, 3), bootstrap: Bootstrap | None = None
) -> dict[str, Any]:
    """``{dimension: {system: figures}}``, dimension ``all`` (their unweighted mean) first.

    Figures: ``win_at_1`` …, ``mean_rank``, ``strength`` (log, centred), ``n`` (rankings that hold the system)
    and ``interval``, which holds ``[low, high]`` (95 %, over raters and items: see ``intervals``) for each of
    them. None where not available.

    Raises:
        UserError: as :func:`empathy_lib.human_eval.cube.to_cube`.
    """
    places = ranking_table(ratings, ks=ks, bootstrap=bootstrap)
    strengths = estimate_strengths(ratings, bootstrap=bootstrap, overall=True)
    table = pd.concat([places, strengths.rename(columns={"strength": "value"}).assign(measure="strength")])
    result: dict[str, Any] = {}
    for row in table.itertuples():
        figures = result.setdefault(row.dimension, {}).setdefault(row.system, {"interval": {}})
        figures[row.measure] = _number(row.value)
        figures["interval"][row.measure] = None if math.isnan(row.low) else [float(row.low), float(row.high)]
        if row.measure == "win_at_1":
            figures["n"] = int(row.n)
    return result
