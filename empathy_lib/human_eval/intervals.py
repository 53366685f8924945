"""How sure a figure of a study is: 95 % intervals where the opinions of one rater, and those on one item,
depend on each other.

Knows: values per (rater, item) and what each adds to an estimate. Does not know: ranks.

Two methods, neither of which treats raters × items opinions as independent ones:

- ``two-way`` (the default): the variance is clustered by rater and by item, V = V_rater + V_item - V_cell,
  and never below the smaller of the first two (our choice: the larger would be too wide where nobody differs
  in taste); Student's t with as many degrees of freedom as the smaller of raters and items, less one [1]_; on
  the logit scale where the figure has bounds. It needs no resampling.
- ``bootstrap``: percentiles of an estimate under resampling of raters and items, independently and with
  replacement [2]_, taken further out than 2.5 and 97.5 % as far as Student's t is wider than the normal, and
  a resample's spread too small, with few raters or items [3]_. Wider than needed where opinions are mere
  noise: it enters with the rater, with the item, and with the two together.

A p-value is that of the two-way statistic against Student's t: it speaks of new raters and new items, as the
interval does.

``tests/benchmarks/bench_coverage.py`` measures how often each holds the truth, and how often systems that are
alike are called different. Over 200 simulated studies of each kind, from 5 × 12 to 20 × 100, ``two-way`` held
it in 93.9 to 96.6 % of cases, with tastes and without; ``bootstrap`` in 93.9 to 98.0 % with tastes (10 × 30
to 20 × 100) and in 99.8 to 100 % without; plain percentiles in 92 % at the paper's size. Both give NaN with
fewer than two raters or items, and where nothing varies (a system that never won): neither can say how sure
that is.

References:
    .. [1] Cameron, Gelbach, Miller (2011), Robust inference with multiway clustering, Journal of Business &
       Economic Statistics 29(2).
    .. [2] Owen (2007), The pigeonhole bootstrap, Annals of Applied Statistics 1(2).
    .. [3] Hesterberg (2015), What teachers should know about the bootstrap, The American Statistician 69(4):
       expanded percentiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from empathy_lib.human_eval.cube import divide, mean_known, with_all

LEVEL = 0.95
_CHUNK = 200  # resamples at a time: bounds the memory
_NO_SPREAD = 1e-18  # a variance below this is rounding


@dataclass(frozen=True)
class Bootstrap:
    """Asks for the bootstrap: how many resamples, drawn with which generator."""

    resamples: int
    rng: np.random.Generator


Interval = tuple[np.ndarray, np.ndarray]


def _spread(influence: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two-way clustered variance (NaN where it cannot be told) and degrees of freedom, shape (…)."""
    raters, items = known.any(axis=1).sum(axis=0), known.any(axis=0).sum(axis=0)
    enough = (raters >= 2) & (items >= 2)
    raters, items = np.maximum(raters, 2), np.maximum(items, 2)
    by_rater = (influence.sum(axis=1) ** 2).sum(axis=0) * raters / (raters - 1)
    by_item = (influence.sum(axis=0) ** 2).sum(axis=0) * items / (items - 1)
    smaller, larger = np.minimum(by_rater, by_item), np.maximum(by_rater, by_item)
    # two raters of the same mean say nothing of how far raters differ
    floor = np.where(smaller > _NO_SPREAD, smaller, larger)
    variance = np.maximum(by_rater + by_item - (influence**2).sum(axis=(0, 1)), floor)
    return np.where(enough & (variance > _NO_SPREAD), variance, np.nan), np.minimum(raters, items) - 1


def p_values(value: np.ndarray, influence: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Two-sided p-values of the estimates being 0, by the two-way variance and Student's t.

    Where every single opinion is the same there is no variance: p is then that of the sign test over as many
    opinions as the smaller of raters and items, 1 if all are 0. NaN with fewer than two raters or items.

    Args:
        value, influence, known: as :func:`two_way` takes them.
    """
    variance, freedom = _spread(influence, known)
    p = 2 * stats.t.sf(np.abs(value) / np.sqrt(variance), freedom)
    raters, items = known.any(axis=1).sum(axis=0), known.any(axis=0).sum(axis=0)
    alike = (np.abs(influence).max(axis=(0, 1)) < _NO_SPREAD**0.5) & (np.minimum(raters, items) >= 2)
    return np.where(alike, np.where(np.abs(value) > 1e-9, 2.0**-freedom, 1.0), p)


def two_way(
    value: np.ndarray, influence: np.ndarray, known: np.ndarray, bounds: tuple[float, float] | None = None
) -> Interval:
    """Two-way clustered interval.

    Args:
        value: the estimates, shape (…).
        influence: what each (rater, item) adds to the estimate's error, shape (raters, items, …); sums to 0,
            0 where unknown.
        known: where there are data, shape as ``influence``.
        bounds: smallest and largest value there can be; None for the real line.

    Returns:
        ``low`` and ``high``, shape (…).
    """
    variance, freedom = _spread(influence, known)
    usable = ~np.isnan(variance)
    half = stats.t.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(variance)
    if bounds is None:
        return value - half, value + half
    least, span = bounds[0], bounds[1] - bounds[0]
    share = np.where(usable, (value - least) / span, 0.5)
    half, centre = half / (span * share * (1 - share)), special.logit(share)
    return least + span * special.expit(centre - half), least + span * special.expit(centre + half)


def mean_and_influence(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means over raters and items with ``all`` first, and what :func:`two_way` needs of them.

    Args:
        values: shape (raters, items, dimensions, …), NaN where there is none.

    Returns:
        Means of shape (1 + dimensions, …); influence and known, each of shape (raters, items, 1 + dimensions,
        …).
    """
    known = ~np.isnan(values)
    mean = mean_known(values, (0, 1))
    influence = np.where(known, values - mean, 0.0) / np.maximum(known.sum(axis=(0, 1)), 1)
    return with_all(mean), *with_whole(influence, known, ~np.isnan(mean))


def with_whole(influence: np.ndarray, known: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Put those of ``all``, the mean over the dimensions that are ``there``, before influence and known (axis
    2)."""
    whole = influence.sum(axis=2, keepdims=True) / np.maximum(there.sum(axis=0), 1)
    return np.concatenate([whole, influence], axis=2), np.concatenate(
        [known.any(axis=2, keepdims=True), known], axis=2
    )


def mean_interval(
    values: np.ndarray, bootstrap: Bootstrap | None, bounds: tuple[float, float] | None = None
) -> tuple[np.ndarray, Interval]:
    """Means as of :func:`mean_and_influence` with their intervals: ``two-way``, or the bootstrap that is
    asked for."""
    mean, influence, known = mean_and_influence(values)
    if bootstrap is None:
        return mean, two_way(mean, influence, known, bounds)
    return mean, percentiles(resampled_means(values, bootstrap), *values.shape[:2])


def weighted_sums(values: np.ndarray, bootstrap: Bootstrap) -> Iterator[np.ndarray]:
    """Sums over raters and items under each resample: values of shape (raters, items, …) to chunks of shape
    (resamples, …)."""
    raters, items, *rest = values.shape
    flat = values.reshape(raters, -1)
    for start in range(0, bootstrap.resamples, _CHUNK):
        size = min(_CHUNK, bootstrap.resamples - start)
        by_rater, by_item = (
            bootstrap.rng.multinomial(n, np.full(n, 1 / n), size=size).astype(float) for n in (raters, items)
        )
        per_item = (by_rater @ flat).reshape(size, items, -1)
        yield np.matmul(by_item[:, None, :], per_item)[:, 0].reshape(size, *rest)


def resampled_means(values: np.ndarray, bootstrap: Bootstrap) -> np.ndarray:
    """Means under each resample of what is not NaN, shape (resamples, 1 + dimensions, …), ``all`` first."""
    known = ~np.isnan(values)
    both = np.stack([np.where(known, values, 0.0), known.astype(float)], axis=2)
    sums = np.concatenate(list(weighted_sums(both, bootstrap)))
    return with_all(divide(sums[:, 0], sums[:, 1]))


def percentiles(draws: np.ndarray, raters: int, items: int) -> Interval:
    """Expanded percentiles over the first axis, leaving out draws that missed all of a system's ranks; see
    above for NaN."""
    bounds = np.full((2, *draws.shape[1:]), np.nan)
    fewer = min(raters, items)
    if fewer >= 2:
        tail = stats.norm.cdf(stats.t.ppf((1 - LEVEL) / 2, fewer - 1) * np.sqrt(fewer / (fewer - 1)))
        known = ~np.isnan(draws)
        varied = (
            np.where(known, draws, -np.inf).max(axis=0) - np.where(known, draws, np.inf).min(axis=0) > 1e-9
        )
        bounds[:, varied] = np.nanquantile(draws[:, varied], [tail, 1 - tail], axis=0)
    return bounds[0], bounds[1]
