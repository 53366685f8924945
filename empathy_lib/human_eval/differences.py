"""Are systems ranked differently by more than chance: differences in mean rank with intervals and p-values;
Friedman and Nemenyi, for these raters only.

Knows: ratings (see ``ratings``). Does not know: how large a difference matters.

Interval and p-value of a difference come from one statistic, clustered by rater and by item (``intervals``),
and so speak of new raters and new items. Friedman's and Nemenyi's tests take one block per item, the mean
rank over its raters, and those raters as given: where tastes differ, they call systems different that new
raters would not (in three of four simulated studies of equal systems, 20 raters and 100 items).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scikit_posthocs
from scipy import stats

from empathy_lib.core.statistics import holm
from empathy_lib.human_eval.cube import ALL, Cube, average_rank, mean_known, to_cube, with_all
from empathy_lib.human_eval.intervals import Bootstrap, mean_and_influence, mean_interval, p_values


def _item_means(cube: Cube, dimension: str) -> np.ndarray:
    """Mean rank of each system on each item, over raters (and dimensions); shape (items, systems); items
    lacking a system are left out."""
    means = with_all(mean_known(average_rank(cube.ranks), 0))[:, cube.row(dimension)]
    return means[~np.isnan(means).any(axis=1)].round(9)  # rounded, so that equal means tie on every machine


def omnibus(ratings: pd.DataFrame) -> pd.DataFrame:
    """Friedman's test that all systems rank alike, on the items' mean ranks.

    It speaks of the items being a sample and of *these raters only*. NaN with fewer than three systems or two
    items.

    Returns:
        Columns ``dimension``, ``statistic`` (chi-squared), ``df``, ``p_these_raters``, ``items``.
    """
    cube = to_cube(ratings)
    rows = []
    for dimension in [ALL, *cube.dimensions]:
        means = _item_means(cube, dimension)
        possible = len(means) >= 2 and means.shape[1] >= 3 and (means != means[:, :1]).any()
        test = stats.friedmanchisquare(*means.T) if possible else None
        rows.append(
            (
                dimension,
                test.statistic if test else np.nan,
                len(cube.systems) - 1,
                test.pvalue if test else np.nan,
                len(means),
            )
        )
    return pd.DataFrame(rows, columns=["dimension", "statistic", "df", "p_these_raters", "items"])


def pairwise(
    ratings: pd.DataFrame | Cube, *, dimension: str = ALL, bootstrap: Bootstrap | None = None
) -> pd.DataFrame:
    """All pairs of systems: difference in mean rank over the rankings that hold both, its interval and
    p-value, Holm's correction for the number of pairs.

    Args:
        ratings: see ``ratings``.
        dimension: which one, or ``all``.
        bootstrap: None for the ``two-way`` interval, else that of the bootstrap; the p-values are two-way in
            either case (see ``intervals``).

    Returns:
        Columns ``a``, ``b``, ``difference`` (mean rank of a minus b: below 0, a is better), ``low``,
        ``high``, ``p``, ``p_holm`` (all of new raters and new items), ``n`` (rankings that hold both). NaN
        where not available: never ranked together, or fewer than two raters or items.
    """
    return all_pairwise(ratings, bootstrap=bootstrap)[dimension]


def all_pairwise(
    ratings: pd.DataFrame | Cube, *, bootstrap: Bootstrap | None = None
) -> dict[str, pd.DataFrame]:
    """:func:`pairwise` of ``all`` and of each dimension; Holm's correction within each."""
    cube = to_cube(ratings)
    first, second = np.triu_indices(len(cube.systems), 1)
    values = average_rank(cube.ranks)
    gaps = values[..., first] - values[..., second]
    mean, influence, known = mean_and_influence(gaps)
    low, high = mean_interval(gaps, bootstrap)[1]
    p = p_values(mean, influence, known)
    counts = (~np.isnan(gaps)).sum(axis=(0, 1))
    counts = np.concatenate([counts.sum(axis=0)[None], counts])
    return {
        dimension: pd.DataFrame(
            {
                "a": [cube.systems[a] for a in first],
                "b": [cube.systems[b] for b in second],
                "difference": mean[row],
                "low": low[row],
                "high": high[row],
                "p": p[row],
                "p_holm": holm(p[row]),
                "n": counts[row],
            }
        )
        for row, dimension in enumerate([ALL, *cube.dimensions])
    }


@dataclass(frozen=True)
class Nemenyi:
    """``ranks``: mean over items of each system's rank among the systems (1 the best). ``p``: of each pair, a
    square table. ``critical_difference``: pairs of ranks further apart differ at the 5 % level."""

    ranks: pd.Series
    p: pd.DataFrame
    critical_difference: float
    items: int


def nemenyi(ratings: pd.DataFrame, *, dimension: str = ALL) -> Nemenyi | None:
    """Nemenyi's test of all pairs, the usual companion of Friedman's [1]_, and like it for *these raters
    only*; None with fewer than two items that hold all systems.

    Its verdict on a pair depends on which other systems are in the study, and it ignores ties [2]_: where it
    and :func:`pairwise` disagree, trust the latter.

    References:
        .. [1] Demšar (2006), Statistical comparisons of classifiers over multiple data sets, JMLR 7.
        .. [2] Benavoli, Corani, Mangili (2016), Should we really use post-hoc tests based on mean-ranks?,
           JMLR 17(5).
    """
    cube = to_cube(ratings)
    means = _item_means(cube, dimension)
    if len(means) < 2:
        return None
    return nemenyi_of(pd.DataFrame(means, columns=cube.systems))


def nemenyi_of(blocks: pd.DataFrame) -> Nemenyi:
    """:func:`nemenyi` of any table of blocks (rows) and systems (columns), small values the best."""
    items, systems = blocks.shape
    ranks = pd.Series(stats.rankdata(blocks, axis=1).mean(axis=0), index=blocks.columns)
    width = (
        stats.studentized_range.ppf(0.95, systems, np.inf)
        / np.sqrt(2)
        * np.sqrt(systems * (systems + 1) / (6 * items))
    )
    return Nemenyi(ranks, scikit_posthocs.posthoc_nemenyi_friedman(blocks), float(width), items)
