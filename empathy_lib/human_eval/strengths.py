"""Strengths of systems behind their rankings: Bradley-Terry on all pairs, with intervals, beside known ones
where raters are simulated.

Knows: ratings (see ``ratings``). Does not know: effects of raters or items, which the model lacks: differing
tastes pull all estimates towards 0, so a strength speaks of the average opinion, not of one person's.

Only differences between strengths mean anything, and only between systems that comparisons connect: each
group of them (``cube.groups``) is fitted and centred by itself.
"""

from __future__ import annotations

import choix
import numpy as np
import pandas as pd

from empathy_lib.human_eval.cube import ALL, Cube, components, pair_wins, to_cube, with_all
from empathy_lib.human_eval.intervals import Bootstrap, percentiles, two_way, weighted_sums, with_whole

_PSEUDO = 0.5  # wins added each way to every pair: keeps strengths finite where a system never wins


def fit(wins: np.ndarray, pseudo: float = _PSEUDO, group: np.ndarray | None = None) -> np.ndarray:
    """Bradley-Terry log-strengths, mean 0 in each group; NaN where a system was never compared.

    Args:
        wins: ``wins[s, t]`` says how often s beat t.
        pseudo: wins added each way to every pair within a group.
        group: a number for each system; None for those that ``wins`` connect.
    """
    group = components(wins + wins.T) if group is None else group
    strengths = np.full(len(wins), np.nan)
    for number in np.unique(group):
        members = np.flatnonzero(group == number)
        own = wins[np.ix_(members, members)]
        if own.any():
            fitted = choix.ilsr_pairwise_dense(own + pseudo * (1 - np.eye(len(members))), max_iter=1000)
            compared = own.sum(axis=0) + own.sum(axis=1) > 0  # a resample may miss a system
            strengths[members] = np.where(compared, fitted - fitted.mean(), np.nan)
    return strengths


def _influence(beats: np.ndarray, strengths: np.ndarray, group: np.ndarray) -> np.ndarray:
    """What each (rater, item) adds to the strengths' error, shape (raters, items, systems): one Newton step
    for its rankings alone.

    Args:
        beats: shape (raters, items, systems s, systems t): s beat t, 0 where not compared.
        strengths: the fit to their sum.
        group: as :func:`fit` takes it.
    """
    known = np.where(np.isnan(strengths), 0.0, strengths)
    expected = 1 / (1 + np.exp(known[None, :] - known[:, None]))
    compared = beats + np.swapaxes(beats, -1, -2)
    score = (beats - compared * expected).sum(axis=-1)
    same = (group[:, None] == group[None, :]) & ~np.eye(len(known), dtype=bool)
    totals = compared.sum(axis=(0, 1)) + 2 * _PSEUDO * same
    information = totals * expected * (1 - expected)
    laplacian = np.diag(information.sum(axis=1)) - information
    steps = score @ np.linalg.pinv(laplacian)  # the pseudo-inverse keeps each group's mean at 0
    return steps - steps.mean(axis=(0, 1))


def estimate_strengths(
    ratings: pd.DataFrame, *, bootstrap: Bootstrap | None = None, overall: bool = False
) -> pd.DataFrame:
    """Log-strength of each system on each dimension, with 95 % intervals; ``overall`` puts their mean,
    dimension ``all``, before them.

    Rankings are broken into all their pairs (a tie is half a win each way) and fitted by ``choix`` as
    Bradley-Terry, which is consistent for Plackett-Luce [1]_ and takes ties and missing ranks as they come.
    Strengths are centred to mean 0 on each dimension, within each group of systems that were compared.

    Args:
        ratings: see ``ratings``.
        bootstrap: None for the ``two-way`` interval; see ``intervals``.
        overall: whether to give dimension ``all``.

    Returns:
        Columns ``dimension``, ``system``, ``strength``, ``low``, ``high``.

    References:
        .. [1] Azari Soufiani, Chen, Parkes, Xia (2013), Generalized method-of-moments for rank aggregation,
           NeurIPS.
    """
    cube = to_cube(ratings)
    beats = np.nan_to_num(pair_wins(cube.ranks)) * (1 - np.eye(len(cube.systems)))
    sums = beats.sum(axis=(0, 1))
    group = [components(wins + wins.T) for wins in sums]
    points = np.array([fit(wins, group=own) for wins, own in zip(sums, group, strict=True)])
    if bootstrap is None:
        low, high = _two_way(cube, beats, points, group)
    else:
        draws = np.array(
            [
                [fit(wins, group=own) for wins, own in zip(draw, group, strict=True)]
                for chunk in weighted_sums(beats, bootstrap)
                for draw in chunk
            ]
        )
        low, high = percentiles(with_all(draws), len(cube.raters), len(cube.items))
    strengths = with_all(points)
    rows = [
        (dimension, system, strengths[d, s], low[d, s], high[d, s])
        for d, dimension in enumerate([ALL, *cube.dimensions])
        for s, system in enumerate(cube.systems)
    ]
    table = pd.DataFrame(rows, columns=["dimension", "system", "strength", "low", "high"])
    return table if overall else table[table["dimension"] != ALL].reset_index(drop=True)


def _two_way(
    cube: Cube, beats: np.ndarray, points: np.ndarray, group: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    steps = np.stack([_influence(beats[:, :, d], points[d], group[d]) for d in range(len(points))], axis=2)
    there = ~np.isnan(points)
    return two_way(with_all(points), *with_whole(np.where(there, steps, 0.0), ~np.isnan(cube.ranks), there))


def recovery(estimated: pd.DataFrame, strengths: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """Put known strengths beside estimated ones; only simulated raters have known ones.

    Args:
        estimated: result of :func:`estimate_strengths`.
        strengths: the truth, rows = systems, columns = dimensions (as given to ``simulate_ratings``).

    Returns:
        ``estimated`` with a column ``true`` (centred to mean 0 on each dimension), and Pearson's correlation
        of the two.
    """
    centred = strengths - strengths.mean()
    table = estimated.assign(
        true=[float(centred.loc[row.system, row.dimension]) for row in estimated.itertuples()]
    )
    known = table.dropna(subset=["strength"])
    return table, float(np.corrcoef(known["true"], known["strength"])[0, 1])
