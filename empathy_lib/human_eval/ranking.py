"""Ranking statistics: Win@K, mean rank, tests, agreement, strengths.

Knows: ratings (see ``ratings``). Does not know: who the raters are, or what was ranked.

Conventions (the paper reports Win@K and mean rank; all details below are our choice):

- A *ranking* is what one rater says of one item on one dimension. Only the order counts; rankings of fewer than two systems are left out.
- Ties share the places they fill: mean rank takes their average; Win@K gives each an equal share of those of their places that are ≤ K
  (two systems tied first: 1/2 each of Win@1, 1 each of Win@2; three tied first: 2/3 each of Win@2). So Win@K sums to K over the systems.
- Missing ranks: a system counts only where it was ranked. In a ranking of m of the k systems, Win@K goes by the places among those m,
  and rank r counts as r·(k+1)/(m+1), its expected value had the missing ones been inserted at random.
- Dimension ``all`` is the unweighted mean of the dimensions' values.
- Intervals: 95 % percentile bootstrap that resamples raters and items, independently and both with replacement [1]_, since opinions of one
  rater, or on one item, depend on each other. NaN with fewer than two raters or items, and where all resamples agree (a system that never
  won): a bootstrap cannot say how sure that is.

References:
    .. [1] Owen (2007), The pigeonhole bootstrap, Annals of Applied Statistics 1(2).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import choix
import krippendorff
import numpy as np
import pandas as pd
from scipy import stats

from empathy_lib.errors import UserError
from empathy_lib.human_eval.ratings import DIMENSIONS
from empathy_lib.statistics import holm

ALL = "all"
_CHUNK = 200  # resamples at a time: bounds the memory
_PSEUDO = 0.5  # wins added each way to every pair: keeps strengths finite where a system never wins


@dataclass(frozen=True)
class Cube:
    """Ranks as an array of shape (raters, items, dimensions, systems); NaN where not ranked."""

    ranks: np.ndarray
    raters: list[str]
    items: list[str]
    dimensions: list[str]
    systems: list[str]


def to_cube(ratings: pd.DataFrame) -> Cube:
    """Arrange ratings as an array: systems in order of name, dimensions in the paper's order.

    Raises:
        UserError: fewer than two systems, a doubled (rater, item, dimension, system), or an unknown dimension.
    """
    keys = ["rater", "item", "dimension", "system"]
    if ratings.duplicated(keys).any():
        twice = ratings.loc[ratings.duplicated(keys).idxmax(), keys].tolist()
        raise UserError(f"ratings: {', '.join(map(str, twice))} is there twice; keep one of the two rows")
    unknown = set(ratings["dimension"]) - set(DIMENSIONS)
    if unknown:
        raise UserError(f"ratings: unknown dimension '{min(unknown)}'; use one of {', '.join(DIMENSIONS)}")
    raters, items, systems = (sorted(set(ratings[key])) for key in ("rater", "item", "system"))
    if len(systems) < 2:
        raise UserError(f"ratings: only {len(systems)} system; a ranking needs at least 2")
    dimensions = [name for name in DIMENSIONS if name in set(ratings["dimension"])]
    labels = [raters, items, dimensions, systems]
    ranks = np.full([len(names) for names in labels], np.nan)
    ranks[tuple(pd.Index(names).get_indexer(ratings[key]) for key, names in zip(keys, labels, strict=True))] = ratings["rank"]
    ranks[(~np.isnan(ranks)).sum(axis=-1) < 2] = np.nan  # a lone system was compared with nothing
    return Cube(ranks, raters, items, dimensions, systems)


def places(ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per system: how many rank better, and how many share its rank (itself included); shape as ``ranks``, NaN where not ranked."""
    other, own = ranks[..., None, :], ranks[..., :, None]
    missing = np.where(np.isnan(ranks), np.nan, 0.0)
    return (other < own).sum(axis=-1) + missing, (other == own).sum(axis=-1) + missing


def win_credit(ranks: np.ndarray, k: int) -> np.ndarray:
    """Share of Win@``k`` that each system gets of each ranking, 0 to 1; shape as ``ranks``, NaN where not ranked."""
    better, tied = places(ranks)
    return np.clip(k - better, 0, tied) / tied


def average_rank(ranks: np.ndarray) -> np.ndarray:
    """Ranks 1 to k with ties averaged and incomplete rankings stretched; shape as ``ranks``, NaN where not ranked."""
    better, tied = places(ranks)
    ranked = (~np.isnan(ranks)).sum(axis=-1, keepdims=True)
    return (better + (tied + 1) / 2) * (ranks.shape[-1] + 1) / (ranked + 1)


def _divide(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.divide(sums, counts, out=np.full(np.shape(sums), np.nan), where=counts > 0)


def _mean(values: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    """Mean of what is not NaN; NaN where nothing is."""
    return _divide(np.nansum(values, axis=axis), (~np.isnan(values)).sum(axis=axis))


def _with_all(values: np.ndarray) -> np.ndarray:
    """Put the mean over dimensions, the second axis from the end, before them."""
    return np.concatenate([_mean(values, -2)[..., None, :], values], axis=-2)


def _resample(cube: Cube, resamples: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """How often each rater and item is drawn: shapes (resamples, raters) and (resamples, items)."""
    return tuple(rng.multinomial(size, np.full(size, 1 / size), size=resamples).astype(float) for size in cube.ranks.shape[:2])


def _weighted_sums(values: np.ndarray, weights: tuple[np.ndarray, np.ndarray]) -> Iterator[np.ndarray]:
    """Sums over raters and items under each resample: values of shape (raters, items, …) to chunks of shape (resamples, …)."""
    raters, items, *rest = values.shape
    flat = values.reshape(raters, -1)
    for start in range(0, len(weights[0]), _CHUNK):
        by_rater, by_item = (weight[start : start + _CHUNK] for weight in weights)
        per_item = (by_rater @ flat).reshape(len(by_rater), items, -1)
        yield np.matmul(by_item[:, None, :], per_item)[:, 0].reshape(len(by_rater), *rest)


def _resampled_means(values: np.ndarray, weights: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Means under each resample of what is not NaN, shape (resamples, 1 + dimensions, systems), ``all`` first."""
    known = ~np.isnan(values)
    sums = np.concatenate(list(_weighted_sums(np.where(known, values, 0.0), weights)))
    counts = np.concatenate(list(_weighted_sums(known.astype(float), weights)))
    return _with_all(_divide(sums, counts))


def _interval(cube: Cube, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % percentiles over the first axis, leaving out draws that missed all of a system's ranks; see above for NaN."""
    bounds = np.full((2, *draws.shape[1:]), np.nan)
    if min(cube.ranks.shape[:2]) >= 2:
        known = ~np.isnan(draws)
        varied = np.where(known, draws, -np.inf).max(axis=0) - np.where(known, draws, np.inf).min(axis=0) > 1e-9
        bounds[:, varied] = np.nanquantile(draws[:, varied], [0.025, 0.975], axis=0)
    return bounds[0], bounds[1]


def ranking_table(ratings: pd.DataFrame, *, resamples: int, rng: np.random.Generator, ks: Sequence[int] = (1, 2, 3)) -> pd.DataFrame:
    """Win@K (0 to 1, higher is better) and mean rank (1 to k, lower is better), with intervals.

    Returns:
        Columns ``dimension`` (``all`` first), ``measure`` (``win_at_1`` …, ``mean_rank``), ``system``, ``value``, ``low``, ``high``,
        ``n`` (rankings that hold the system).
    """
    cube = to_cube(ratings)
    weights = _resample(cube, resamples, rng)
    measures = {f"win_at_{k}": win_credit(cube.ranks, k) for k in ks} | {"mean_rank": average_rank(cube.ranks)}
    known = (~np.isnan(cube.ranks)).sum(axis=(0, 1))
    counts = np.concatenate([known.sum(axis=0, keepdims=True), known])
    rows = []
    for measure, values in measures.items():
        value = _with_all(_mean(values, (0, 1)))
        low, high = _interval(cube, _resampled_means(values, weights))
        for d, dimension in enumerate([ALL, *cube.dimensions]):
            for s, system in enumerate(cube.systems):
                rows.append((dimension, measure, system, value[d, s], low[d, s], high[d, s], int(counts[d, s])))
    return pd.DataFrame(rows, columns=["dimension", "measure", "system", "value", "low", "high", "n"])


def rank_shares(ratings: pd.DataFrame) -> pd.DataFrame:
    """Share of rankings that put a system on each place, mean of the dimensions; rows systems, columns places 1 to k; ties share."""
    cube = to_cube(ratings)
    upto = [np.zeros(len(cube.systems))]
    upto += [_mean(_mean(win_credit(cube.ranks, k), (0, 1)), 0) for k in range(1, len(cube.systems) + 1)]
    return pd.DataFrame(np.diff(upto, axis=0).T, index=pd.Index(cube.systems, name="system"), columns=range(1, len(cube.systems) + 1))


def _item_means(cube: Cube, dimension: str) -> np.ndarray:
    """Mean rank of each system on each item, over raters (and dimensions); shape (items, systems); items lacking a system are left out."""
    means = _with_all(_mean(average_rank(cube.ranks), 0))[:, [ALL, *cube.dimensions].index(dimension)]
    return means[~np.isnan(means).any(axis=1)].round(9)  # rounded, so that equal means tie on every machine


def omnibus(ratings: pd.DataFrame) -> pd.DataFrame:
    """Friedman's test that all systems rank alike, on the items' mean ranks.

    It speaks of the items being a sample and takes the raters as given. NaN with fewer than three systems or two items.

    Returns:
        Columns ``dimension``, ``statistic`` (chi-squared), ``df``, ``p``, ``items``.
    """
    cube = to_cube(ratings)
    rows = []
    for dimension in [ALL, *cube.dimensions]:
        means = _item_means(cube, dimension)
        possible = len(means) >= 2 and means.shape[1] >= 3 and (means != means[:, :1]).any()
        test = stats.friedmanchisquare(*means.T) if possible else None
        rows.append((dimension, test.statistic if test else np.nan, len(cube.systems) - 1, test.pvalue if test else np.nan, len(means)))
    return pd.DataFrame(rows, columns=["dimension", "statistic", "df", "p", "items"])


def pairwise(ratings: pd.DataFrame, *, resamples: int, rng: np.random.Generator, dimension: str = ALL) -> pd.DataFrame:
    """All pairs of systems: difference in mean rank, its interval, Wilcoxon's signed-rank test over items with Holm's correction.

    Wilcoxon and not Nemenyi, because Nemenyi's verdict on a pair depends on which other systems are in the study [1]_ and ignores ties.

    Returns:
        Columns ``a``, ``b``, ``difference`` (mean rank of a minus b: below 0, a is better), ``low``, ``high`` (clustered bootstrap:
        raters and items), ``p``, ``p_holm`` (items only), ``items``.

    References:
        .. [1] Benavoli, Corani, Mangili (2016), Should we really use post-hoc tests based on mean-ranks?, JMLR 17(5).
    """
    cube = to_cube(ratings)
    row = [ALL, *cube.dimensions].index(dimension)
    values = average_rank(cube.ranks)
    mean = _with_all(_mean(values, (0, 1)))[row]
    draws = _resampled_means(values, _resample(cube, resamples, rng))[:, row]
    by_item = _item_means(cube, dimension)
    rows = []
    for a, b in combinations(range(len(cube.systems)), 2):
        low, high = _interval(cube, draws[:, a] - draws[:, b])
        gap = by_item[:, a] - by_item[:, b]
        p = np.nan if len(gap) < 2 else stats.wilcoxon(gap).pvalue if gap.any() else 1.0
        rows.append((cube.systems[a], cube.systems[b], mean[a] - mean[b], float(low), float(high), p, len(gap)))
    table = pd.DataFrame(rows, columns=["a", "b", "difference", "low", "high", "p", "items"])
    table.insert(6, "p_holm", holm(table["p"]))
    return table


def kendall_w(ranks: np.ndarray) -> float:
    """Kendall's coefficient of concordance, corrected for ties: 1 if all raters agree, about 1/raters by chance.

    Args:
        ranks: shape (raters, systems); raters who missed a system are left out. NaN with fewer than two raters, or only ties.
    """
    full = ranks[~np.isnan(ranks).any(axis=1)]
    raters, systems = full.shape
    if raters < 2 or systems < 2 or (full == full[:, :1]).all():
        return float("nan")
    order = stats.rankdata(full, axis=1)
    ties = sum(float((sizes**3 - sizes).sum()) for sizes in (np.unique(row, return_counts=True)[1] for row in order))
    spread = float(((order.sum(axis=0) - order.sum() / systems) ** 2).sum())
    return 12 * spread / (raters**2 * (systems**3 - systems) - raters * ties)


def agreement(ratings: pd.DataFrame) -> pd.DataFrame:
    """How far raters agree: Kendall's W per item, averaged, and Krippendorff's ordinal alpha over (item, system) pairs.

    Returns:
        Columns ``dimension``, ``kendall_w``, ``kendall_w_chance`` (mean of 1/raters), ``krippendorff_alpha`` (1 agreement,
        0 chance), ``items``.
    """
    cube = to_cube(ratings)
    ranks = average_rank(cube.ranks)
    rows = []
    for d, dimension in enumerate(cube.dimensions):
        each = [(kendall_w(item), (~np.isnan(item).any(axis=1)).sum()) for item in np.moveaxis(ranks[:, :, d], 1, 0)]
        usable = [(w, 1 / raters) for w, raters in each if not np.isnan(w)]
        w, chance = np.mean(usable, axis=0) if usable else (np.nan, np.nan)
        data = ranks[:, :, d].reshape(len(cube.raters), -1)
        paired = data[:, (~np.isnan(data)).sum(axis=0) >= 2]
        varied = len(np.unique(paired[~np.isnan(paired)])) >= 2
        alpha = krippendorff.alpha(reliability_data=paired, level_of_measurement="ordinal") if varied else np.nan
        rows.append((dimension, float(w), float(chance), float(alpha), len(usable)))
    return pd.DataFrame(rows, columns=["dimension", "kendall_w", "kendall_w_chance", "krippendorff_alpha", "items"])


def _fit(wins: np.ndarray) -> np.ndarray:
    """Bradley-Terry log-strengths, mean 0; ``wins[s, t]`` says how often s beat t; NaN where a system was never compared."""
    smoothed = wins + _PSEUDO * (1 - np.eye(len(wins)))
    fitted = choix.ilsr_pairwise_dense(smoothed, max_iter=1000)
    return np.where(wins.sum(axis=0) + wins.sum(axis=1) > 0, fitted - fitted.mean(), np.nan)


def estimate_strengths(ratings: pd.DataFrame, *, resamples: int, rng: np.random.Generator, overall: bool = False) -> pd.DataFrame:
    """Log-strength of each system on each dimension, with intervals; ``overall`` puts their mean, dimension ``all``, before them.

    Rankings are broken into all their pairs (a tie is half a win each way) and fitted by ``choix`` as Bradley-Terry, which is consistent
    for Plackett-Luce [1]_ and takes ties and missing ranks as they come. Strengths are centred to mean 0 on each dimension.
    Raters or items of differing taste pull the estimates towards 0: the model has no such effects.

    Returns:
        Columns ``dimension``, ``system``, ``strength``, ``low``, ``high``.

    References:
        .. [1] Azari Soufiani, Chen, Parkes, Xia (2013), Generalized method-of-moments for rank aggregation, NeurIPS.
    """
    cube = to_cube(ratings)
    own, other = cube.ranks[..., :, None], cube.ranks[..., None, :]
    beats = ((own < other) + 0.5 * (own == other)) * (1 - np.eye(len(cube.systems)))
    points = np.array([_fit(wins) for wins in beats.sum(axis=(0, 1))])
    draws = np.array([[_fit(wins) for wins in draw] for chunk in _weighted_sums(beats, _resample(cube, resamples, rng)) for draw in chunk])
    if overall:
        points, draws = _with_all(points), _with_all(draws)
    low, high = _interval(cube, draws)
    rows = [
        (dimension, system, points[d][s], low[d, s], high[d, s])
        for d, dimension in enumerate([ALL] * overall + cube.dimensions)
        for s, system in enumerate(cube.systems)
    ]
    return pd.DataFrame(rows, columns=["dimension", "system", "strength", "low", "high"])


def recovery(estimated: pd.DataFrame, strengths: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """Put known strengths beside estimated ones; only simulated raters have known ones.

    Args:
        estimated: result of :func:`estimate_strengths`.
        strengths: the truth, rows = systems, columns = dimensions (as given to ``simulate_ratings``).

    Returns:
        ``estimated`` with a column ``true`` (centred to mean 0 on each dimension), and Pearson's correlation of the two.
    """
    centred = strengths - strengths.mean()
    table = estimated.assign(true=[float(centred.loc[row.system, row.dimension]) for row in estimated.itertuples()])
    known = table.dropna(subset=["strength"])
    return table, float(np.corrcoef(known["true"], known["strength"])[0, 1])
