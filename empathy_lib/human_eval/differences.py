"""Are systems ranked differently by more than chance: Friedman, Wilcoxon with Holm, Nemenyi, and intervals of
differences.

Knows: ratings (see ``ratings``). Does not know: how large a difference matters.

The tests take one block per item, the mean rank over its raters: single opinions are not independent. So they
speak of other items and take the raters as given; the interval of a difference covers both.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
import scikit_posthocs
from scipy import stats

from empathy_lib.core.statistics import holm
from empathy_lib.human_eval.cube import ALL, Cube, average_rank, mean_known, to_cube, with_all
from empathy_lib.human_eval.intervals import Bootstrap, mean_interval


def _item_means(cube: Cube, dimension: str) -> np.ndarray:
    """Mean rank of each system on each item, over raters (and dimensions); shape (items, systems); items
    lacking a system are left out."""
    means = with_all(mean_known(average_rank(cube.ranks), 0))[:, cube.row(dimension)]
    return means[~np.isnan(means).any(axis=1)].round(9)  # rounded, so that equal means tie on every machine


def omnibus(ratings: pd.DataFrame) -> pd.DataFrame:
    """Friedman's test that all systems rank alike, on the items' mean ranks.

    It speaks of the items being a sample and takes the raters as given. NaN with fewer than three systems or
    two items.

    Returns:
        Columns ``dimension``, ``statistic`` (chi-squared), ``df``, ``p``, ``items``.
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
    return pd.DataFrame(rows, columns=["dimension", "statistic", "df", "p", "items"])


def pairwise(
    ratings: pd.DataFrame, *, dimension: str = ALL, bootstrap: Bootstrap | None = None
) -> pd.DataFrame:
    """All pairs of systems: difference in mean rank, its interval, Wilcoxon's signed-rank test over items
    with Holm's correction.

    Args:
        ratings: see ``ratings``.
        dimension: which one, or ``all``.
        bootstrap: None for the ``two-way`` interval; see ``intervals``.

    Returns:
        Columns ``a``, ``b``, ``difference`` (mean rank of a minus b: below 0, a is better), ``low``, ``high``
        (raters and items), ``p``, ``p_holm`` (items only), ``items``.
    """
    cube = to_cube(ratings)
    values = average_rank(cube.ranks)
    gaps = np.stack(
        [values[..., a] - values[..., b] for a, b in combinations(range(len(cube.systems)), 2)], axis=-1
    )
    mean, (low, high) = mean_interval(gaps, bootstrap)
    row, by_item = cube.row(dimension), _item_means(cube, dimension)
    rows = []
    for pair, (a, b) in enumerate(combinations(range(len(cube.systems)), 2)):
        gap = by_item[:, a] - by_item[:, b]
        p = np.nan if len(gap) < 2 else stats.wilcoxon(gap).pvalue if gap.any() else 1.0
        rows.append(
            (cube.systems[a], cube.systems[b], mean[row, pair], low[row, pair], high[row, pair], p, len(gap))
        )
    table = pd.DataFrame(rows, columns=["a", "b", "difference", "low", "high", "p", "items"])
    table.insert(6, "p_holm", holm(table["p"]))
    return table


@dataclass(frozen=True)
class Nemenyi:
    """``ranks``: mean over items of each system's rank among the systems (1 the best). ``p``: of each pair, a
    square table. ``critical_difference``: pairs of ranks further apart differ at the 5 % level."""

    ranks: pd.Series
    p: pd.DataFrame
    critical_difference: float
    items: int


def nemenyi(ratings: pd.DataFrame, *, dimension: str = ALL) -> Nemenyi | None:
    """Nemenyi's test of all pairs, the usual companion of Friedman's [1]_; None with fewer than two items
    that hold all systems.

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
