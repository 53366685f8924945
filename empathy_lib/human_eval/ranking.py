"""What a study says of the systems: Win@K, mean rank, places, who beats whom, and whether one rater decides
it.

Knows: ratings (see ``ratings``; ties, missing ranks and dimension ``all``: ``cube``). Does not know: how an
interval comes about (``intervals``), tests (``differences``), strengths (``strengths``).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pandas as pd

from empathy_lib.human_eval.cube import (
    ALL,
    average_rank,
    mean_known,
    pair_wins,
    to_cube,
    win_credit,
    with_all,
)
from empathy_lib.human_eval.intervals import Bootstrap, Interval, mean_interval

NOBODY = "(nobody)"  # left out; not empty, which a CSV would read back as missing


def _means(
    values: np.ndarray, bounds: tuple[float, float], bootstrap: Bootstrap | None
) -> tuple[np.ndarray, Interval, np.ndarray]:
    """Means over raters and items, their intervals, and how many values each mean is of; ``all`` first."""
    counts = (~np.isnan(values)).sum(axis=(0, 1))
    return *mean_interval(values, bootstrap, bounds), np.concatenate([counts.sum(axis=0)[None], counts])


def ranking_table(
    ratings: pd.DataFrame, *, ks: Sequence[int] = (1, 2, 3), bootstrap: Bootstrap | None = None
) -> pd.DataFrame:
    """Win@K (0 to 1, higher is better) and mean rank (1 to k, lower is better), with 95 % intervals.

    Args:
        ratings: see ``ratings``.
        ks: the K of Win@K.
        bootstrap: None for the ``two-way`` interval; see ``intervals``.

    Returns:
        Columns ``dimension`` (``all`` first), ``measure`` (``win_at_1`` …, ``mean_rank``), ``system``,
        ``value``, ``low``, ``high``, ``n`` (rankings that hold the system).
    """
    cube = to_cube(ratings)
    measures = {f"win_at_{k}": (win_credit(cube.ranks, k), (0.0, 1.0)) for k in ks}
    measures["mean_rank"] = (average_rank(cube.ranks), (1.0, float(len(cube.systems))))
    rows = []
    for measure, (values, bounds) in measures.items():
        value, (low, high), counts = _means(values, bounds, bootstrap)
        for d, dimension in enumerate([ALL, *cube.dimensions]):
            for s, system in enumerate(cube.systems):
                rows.append(
                    (dimension, measure, system, value[d, s], low[d, s], high[d, s], int(counts[d, s]))
                )
    return pd.DataFrame(rows, columns=["dimension", "measure", "system", "value", "low", "high", "n"])


def rank_shares(ratings: pd.DataFrame) -> pd.DataFrame:
    """Share of rankings that put a system on each place, mean of the dimensions; rows systems, columns places
    1 to k; ties share."""
    cube = to_cube(ratings)
    upto = [np.zeros(len(cube.systems))]
    upto += [
        mean_known(mean_known(win_credit(cube.ranks, k), (0, 1)), 0) for k in range(1, len(cube.systems) + 1)
    ]
    return pd.DataFrame(
        np.diff(upto, axis=0).T,
        index=pd.Index(cube.systems, name="system"),
        columns=range(1, len(cube.systems) + 1),
    )


def win_matrix(
    ratings: pd.DataFrame, *, dimension: str = ALL, bootstrap: Bootstrap | None = None
) -> pd.DataFrame:
    """How often each system beats each other one, with 95 % intervals; a tie is half a win each way.

    Returns:
        Columns ``a``, ``b``, ``wins`` (share of the rankings holding both in which a beats b), ``low``,
        ``high``, ``n`` (those rankings).
    """
    cube = to_cube(ratings)
    pairs = list(permutations(range(len(cube.systems)), 2))
    beats = pair_wins(cube.ranks)[..., [a for a, _ in pairs], [b for _, b in pairs]]
    row = cube.row(dimension)
    wins, (low, high), counts = _means(beats, (0.0, 1.0), bootstrap)
    rows = [
        (
            cube.systems[a],
            cube.systems[b],
            wins[row, pair],
            low[row, pair],
            high[row, pair],
            int(counts[row, pair]),
        )
        for pair, (a, b) in enumerate(pairs)
    ]
    return pd.DataFrame(rows, columns=["a", "b", "wins", "low", "high", "n"])


def leave_one_rater_out(ratings: pd.DataFrame) -> pd.DataFrame:
    """Win@1 and mean rank (``all``) without each rater in turn: does any one person decide the result?

    Returns:
        Columns ``without`` (the rater; ``(nobody)`` first), ``system``, ``win_at_1``, ``mean_rank``,
        ``place`` (by mean rank, 1 is the best).
    """
    cube = to_cube(ratings)
    values = [win_credit(cube.ranks, 1), average_rank(cube.ranks)]
    tables = []
    for rater in [NOBODY, *(cube.raters if len(cube.raters) > 1 else [])]:
        others = [name != rater for name in cube.raters]
        wins, ranks = (with_all(mean_known(value[others], (0, 1)))[0] for value in values)
        table = pd.DataFrame({"without": rater, "system": cube.systems, "win_at_1": wins, "mean_rank": ranks})
        tables.append(table.assign(place=table["mean_rank"].rank(method="min")))
    return pd.concat(tables, ignore_index=True)
