"""Simulated raters with known tastes: they test the statistics, never the systems.

Knows: the Plackett-Luce model with rater and item effects. Does not know: any completion; a simulated rater reads nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from empathy_lib.errors import UserError
from empathy_lib.human_eval.ratings import COLUMNS, SIMULATED_PREFIX

SIMULATED_NOTE = "SIMULATED raters: says nothing about the systems."


def simulate_ratings(
    strengths: pd.DataFrame,
    raters: int,
    items: Sequence[str],
    rng: np.random.Generator,
    *,
    rater_sd: float = 0.5,
    item_sd: float = 0.5,
) -> pd.DataFrame:
    """Draw complete rankings without ties; rank 1 is the best.

    The utility of a system for a rater, item and dimension is ``strength + rater effect + item effect + Gumbel noise``; ranking by
    it is the Plackett-Luce model [1]_, so without effects P(rank 1) = softmax(strengths). The effects are Gaussian, per (rater, system)
    and (item, system), shared by the dimensions: they make the opinions of a rater, and those on an item, depend on each other.

    Args:
        strengths: log-strengths, rows = systems, columns = dimensions.
        raters: how many; they are named ``simulated-01`` and so on.
        items: ids of the items.
        rater_sd, item_sd: standard deviations of the effects (our choice).

    Returns:
        Rows of ``rater, item, dimension, system, rank``, raters × items × dimensions × systems of them.

    Raises:
        UserError: fewer than two systems, no rater, no item, or a strength that is no finite number.

    References:
        .. [1] Yellott (1977), The relationship between Luce's choice axiom, Thurstone's theory and the double exponential distribution.
    """
    values = strengths.to_numpy(dtype=float)
    unset = np.argwhere(~np.isfinite(values))
    if len(unset):
        row, column = unset[0]
        raise UserError(
            f"strengths: system '{strengths.index[row]}', {strengths.columns[column]}: no finite number; set it in the strengths"
        )
    if len(strengths) < 2 or raters < 1 or not len(items):
        raise UserError(
            f"simulated study of {len(strengths)} systems, {raters} raters, {len(items)} items: needs 2 systems, a rater, an item"
        )
    systems, dimensions = values.shape
    taste = rng.normal(0.0, rater_sd, (raters, 1, 1, systems))
    fit = rng.normal(0.0, item_sd, (1, len(items), 1, systems))
    utility = values.T + taste + fit + rng.gumbel(size=(raters, len(items), dimensions, systems))
    ranks = 1 + np.argsort(np.argsort(-utility, axis=-1), axis=-1)
    width = max(2, len(str(raters)))
    names = [f"{SIMULATED_PREFIX}{number:0{width}d}" for number in range(1, raters + 1)]
    index = pd.MultiIndex.from_product([names, list(items), strengths.columns, strengths.index], names=list(COLUMNS[:4]))
    return pd.DataFrame({"rank": ranks.astype(float).ravel()}, index=index).reset_index()
