"""Uncertainty of a score and of a difference: intervals, paired permutation tests, Holm's correction.

Knows: numbers. Does not know: what they measure (``metrics``). Intervals speak of the held-out questions
being a sample; they do not cover training again with another seed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

NAN = float("nan")


@dataclass(frozen=True)
class Score:
    """A value with its 95 % interval over ``n`` examples; NaN where not available."""

    value: float
    low: float
    high: float
    n: int


NOT_AVAILABLE = Score(NAN, NAN, NAN, 0)


@dataclass(frozen=True)
class PairedTest:
    """Mean of ``a - b`` with its 95 % bootstrap interval, and the two-sided permutation p-value over ``n``
    pairs."""

    difference: float
    low: float
    high: float
    p: float
    n: int

    @property
    def verdict(self) -> str:
        """Where the interval puts ``a``: "above" or "below" ``b``, or "not clearly different from" it."""
        if self.low > 0:
            return "above"
        return "below" if self.high < 0 else "not clearly different from"

    def __str__(self) -> str:
        if math.isnan(self.difference):
            return "not available"
        interval = "" if math.isnan(self.low) else f" [{self.low:+.3f}, {self.high:+.3f}]"
        return f"{self.difference:+.3f}{interval}"


def _known(values: Sequence[float] | np.ndarray) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    return array[~np.isnan(array)]


def bootstrap_sums(
    parts: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    resamples: int,
    rng: np.random.Generator,
    level: float = 0.95,
) -> Score:
    """Percentile bootstrap over examples of a statistic of summed parts, such as corpus BLEU or a mean.

    Args:
        parts: shape (n, k), one row per example.
        statistic: takes sums of shape (m, k) to values of shape (m,).
        resamples: how many resamples of n examples with replacement.
    """
    n = len(parts)
    if n == 0:
        return NOT_AVAILABLE
    value = float(statistic(parts.sum(axis=0, keepdims=True))[0])
    if n == 1:
        return Score(value, NAN, NAN, 1)  # one example says nothing about spread
    weights = rng.multinomial(n, np.full(n, 1 / n), size=resamples)
    low, high = np.quantile(statistic(weights @ parts), [(1 - level) / 2, (1 + level) / 2])
    return Score(value, float(low), float(high), n)


def bootstrap_mean(
    values: Sequence[float] | np.ndarray, *, resamples: int, rng: np.random.Generator, level: float = 0.95
) -> Score:
    """Mean with its percentile bootstrap interval; NaN entries are left out and not counted in ``n``."""
    known = _known(values)
    return bootstrap_sums(
        known[:, None], lambda sums: sums[:, 0] / len(known), resamples=resamples, rng=rng, level=level
    )


def wilson_share(values: Sequence[float] | np.ndarray, *, level: float = 0.95) -> Score:
    """Share of ones with Wilson's interval; NaN entries are left out.

    A bootstrap of 16 successes out of 16 would say [1, 1]: no doubt at all after 16 questions. Wilson's says
    [0.81, 1]. A value may be the mean of several zeros and ones, such as a question's samples; the interval
    then is that of one each, and so a little too wide.
    """
    known = _known(values)
    if len(known) == 0:
        return NOT_AVAILABLE
    interval = stats.binomtest(round(float(known.sum())), len(known)).proportion_ci(level, method="wilson")
    return Score(float(known.mean()), float(interval.low), float(interval.high), len(known))


def jackknife(value: float, leave_one_out: np.ndarray, *, level: float = 0.95) -> Score:
    """Interval from the values that the statistic takes when one example is left out, shape (n,).

    For statistics that a bootstrap would bias, because a resample repeats examples (see
    ``metrics.distinct``).
    """
    n = len(leave_one_out)
    if n < 2:
        return Score(value, NAN, NAN, n)
    error = math.sqrt((n - 1) / n * float(((leave_one_out - leave_one_out.mean()) ** 2).sum()))
    half = float(stats.norm.ppf((1 + level) / 2)) * error
    return Score(value, value - half, value + half, n)


def paired_permutation(
    a: Sequence[float] | np.ndarray,
    b: Sequence[float] | np.ndarray,
    *,
    rng: np.random.Generator,
    resamples: int = 9999,
) -> PairedTest:
    """Two-sided paired permutation test of mean(a) = mean(b): within each question the two systems may be
    swapped.

    Args:
        a, b: scores of two systems on the same questions, in the same order; a pair with a NaN is left out.
        resamples: random swaps; all of them are tried where there are fewer.

    Raises:
        ValueError: lengths differ.
    """
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if a.shape != b.shape:
        raise ValueError(f"a and b must score the same questions, but have {len(a)} and {len(b)} values")
    gap = (a - b)[~np.isnan(a - b)]
    mean = bootstrap_mean(gap, resamples=max(resamples // 10, 10), rng=rng)
    if len(gap) < 2:
        return PairedTest(mean.value, NAN, NAN, NAN, len(gap))
    test = stats.permutation_test(
        (gap,),
        lambda x, axis: x.mean(axis=axis),
        permutation_type="samples",
        n_resamples=resamples,
        rng=rng,
        vectorized=True,
    )
    return PairedTest(mean.value, mean.low, mean.high, float(test.pvalue), len(gap))


def paired_sums(
    a: np.ndarray,
    b: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    rng: np.random.Generator,
    resamples: int = 9999,
) -> PairedTest:
    """:func:`paired_permutation` for a statistic of summed parts, such as corpus BLEU: approximate
    randomisation of Riezler and Maxwell 2005 (ACL workshop on evaluation measures).

    Args:
        a, b: parts of two systems on the same questions, shape (n, k); a question with a NaN on either side
            is left out.
        statistic: as :func:`bootstrap_sums` takes it.
        resamples: random swaps; the interval of the difference is a bootstrap of a tenth as many.

    Raises:
        ValueError: shapes differ.
    """
    if a.shape != b.shape:
        raise ValueError(
            f"a and b must hold parts of the same questions, but have shapes {a.shape} and {b.shape}"
        )
    known = ~np.isnan(a + b).any(axis=1)
    a, b, n = a[known], b[known], int(known.sum())
    difference = lambda first, second: statistic(first) - statistic(second)  # noqa: E731
    if n == 0:
        return PairedTest(NAN, NAN, NAN, NAN, 0)
    value = float(difference(a.sum(axis=0, keepdims=True), b.sum(axis=0, keepdims=True))[0])
    if n < 2:
        return PairedTest(value, NAN, NAN, NAN, n)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=max(resamples // 10, 10))
    low, high = np.quantile(difference(weights @ a, weights @ b), [0.025, 0.975])
    kept = (rng.random((resamples, n)) < 0.5).astype(float)
    swapped = difference(kept @ a + (1 - kept) @ b, kept @ b + (1 - kept) @ a)
    extreme = int((np.abs(swapped) >= abs(value) - 1e-9).sum())
    return PairedTest(value, float(low), float(high), (extreme + 1) / (resamples + 1), n)


def rank_correlation(
    a: Sequence[float] | np.ndarray,
    b: Sequence[float] | np.ndarray,
    groups: Sequence[str],
    *,
    resamples: int,
    rng: np.random.Generator,
    level: float = 0.95,
) -> Score:
    """Spearman's rank correlation of two judges' scores, with a percentile bootstrap over groups (posts),
    whose scores are not independent. ``n`` counts groups; pairs with a NaN are left out.

    Not available where a judge gives all the same score.
    """
    table = np.column_stack([a, b]).astype(float)
    known = ~np.isnan(table).any(axis=1)
    table, names = table[known], np.asarray(groups)[known]
    members = [np.flatnonzero(names == name) for name in dict.fromkeys(names.tolist())]

    def correlation(rows: np.ndarray) -> float:
        first, second = (stats.rankdata(column) for column in rows.T)
        return float(np.corrcoef(first, second)[0, 1]) if np.ptp(first) and np.ptp(second) else NAN

    if len(table) < 2 or math.isnan(value := correlation(table)):
        return Score(NAN, NAN, NAN, len(members))
    drawn = rng.integers(len(members), size=(resamples, len(members)))
    found = [correlation(table[np.concatenate([members[g] for g in draw])]) for draw in drawn]
    low, high = np.nanquantile(found, [(1 - level) / 2, (1 + level) / 2])
    return Score(value, float(low), float(high), len(members))


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Holm's step-down correction of a family of p-values; NaN entries stay NaN and do not count as tests."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")[: int((~np.isnan(p)).sum())]  # NaN sorts last
    corrected = np.full(p.shape, np.nan)
    # statsmodels gives the same, but collects garbage at each call: most of a second where torch is loaded
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return corrected


def key_of(measure: str) -> str:
    """A column, measure or kind as a part of a key of ``headline.json``: its words joined by underscores."""
    return "_".join(re.findall(r"\w+", measure))


def as_entry(result: Score | PairedTest, unit: str) -> dict[str, object]:
    """A score or a paired difference as ``headline.json`` keeps it: ``{value, interval, n, unit}``, None
    where not available."""
    value = result.value if isinstance(result, Score) else result.difference
    interval = None if math.isnan(result.low) else [float(result.low), float(result.high)]
    return {
        "value": None if math.isnan(value) else float(value),
        "interval": interval,
        "n": result.n,
        "unit": unit,
    }
