"""Exercises of notebook 05: ROUGE-2, a bootstrap interval, Holm, more references, one chain for everyone.

Knows: what is asked, and the wrong turns that are usual. Does not know: how a verdict is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from numbers import Real
from typing import Any

import numpy as np
from scipy import stats

from empathy_lib.app.exercises.slips import UNTRIED, untried
from empathy_lib.core import coe
from empathy_lib.core.statistics import holm
from empathy_lib.metrics.overlap import rouge
from empathy_lib.metrics.scoring import Example
from empathy_lib.reward.marking import MAX_EMOTIONS, default_marker

# a bigram that both repeat, one that only the answer does, none in common, the same text
_TEXTS = (
    ("慢慢来，慢慢来", "慢慢来，别急，慢慢说"),
    ("我很难过呢", "我真的很难过"),
    ("好好好好", "好好睡"),
    ("抱抱你", "别担心"),
    ("先睡一觉", "先睡一觉"),
)


def _bigrams(text: str) -> Counter[tuple[str, ...]]:
    return Counter(pairwise(text))


def _f1(shared: float, answer: float, reference: float) -> float:
    return 2 * shared / (answer + reference) if answer + reference else 0.0


def _rouge_2(answer: str, reference: str) -> float:
    one, other = _bigrams(answer), _bigrams(reference)
    return _f1((one & other).total(), one.total(), other.total())


def _by_counts(share: Callable[[int, int, int], float]) -> Callable[[str, str], float]:
    def score(answer: str, reference: str) -> float:
        one, other = _bigrams(answer), _bigrams(reference)
        return share((one & other).total(), one.total(), other.total())

    return score


def _unclipped(answer: str, reference: str) -> float:
    one, other = _bigrams(answer), _bigrams(reference)
    return _f1(sum(count for bigram, count in one.items() if bigram in other), one.total(), other.total())


_WRONG_ROUGE: dict[str, Callable[[str, str], float]] = {
    "those are single characters; a bigram is two neighbours": lambda a, b: _f1(
        (Counter(a) & Counter(b)).total(), len(a), len(b)
    ),
    "that is precision, the share of the answer's bigrams; F1 needs recall too": _by_counts(
        lambda shared, one, other: shared / one
    ),
    "that is recall, the share of the reference's bigrams; F1 needs precision too": _by_counts(
        lambda shared, one, other: shared / other
    ),
    "a set forgets how often a bigram stands there; count with `Counter`": lambda a, b: _f1(
        len(_bigrams(a) & _bigrams(b)), len(_bigrams(a)), len(_bigrams(b))
    ),
    "a bigram of the answer counts at most as often as the reference has it": _unclipped,
    "you divide by characters; a text of n characters has n - 1 bigrams": lambda a, b: _f1(
        (_bigrams(a) & _bigrams(b)).total(), len(a), len(b)
    ),
    "that is how many bigrams are shared; F1 is a share": _by_counts(lambda shared, one, other: shared),
    "that is the mean of precision and recall; F1 is their harmonic mean": _by_counts(
        lambda shared, one, other: (shared / one + shared / other) / 2
    ),
    "F1 has a 2 above the line": _by_counts(lambda shared, one, other: shared / (one + other)),
}


def exercise_1(mine: Callable[[str, str], float]) -> str | None:
    """ROUGE-2 F1 of two texts, in characters."""
    found = [mine(*texts) for texts in _TEXTS]
    if untried(*found):
        return UNTRIED
    if not all(isinstance(value, Real) for value in found):
        return f"your function gives {found[0]!r}; return a number"
    if not np.allclose(found, [_rouge_2(*texts) for texts in _TEXTS]):
        for sentence, wrong in _WRONG_ROUGE.items():
            if np.allclose(found, [wrong(*texts) for texts in _TEXTS]):
                return sentence
        place = next(p for p, texts in enumerate(_TEXTS) if not np.isclose(found[p], _rouge_2(*texts)))
        answer, reference = _TEXTS[place]
        return (
            f"for {answer} against {reference} you give {found[place]:.3f}; "
            f"it is {_rouge_2(answer, reference):.3f}"
        )
    return None if mine("好", "你好") == 0 == mine("好", "好") else "a text of one character scores 0"


_SCORES = np.random.default_rng(5).gamma(2.0, 0.1, size=40)


def _draws(size: int = len(_SCORES), resamples: int = 4000) -> np.ndarray:
    rng = np.random.default_rng(6)
    return _SCORES[rng.integers(len(_SCORES), size=(resamples, size))].mean(axis=1)


def exercise_2(mine: Callable[[np.ndarray, np.random.Generator], Sequence[float]]) -> str | None:
    """The 95 % percentile bootstrap interval of a mean."""
    found = mine(_SCORES.copy(), np.random.default_rng(1))
    if untried(found):
        return UNTRIED
    if np.shape(found) != (2,):
        return f"two numbers are asked for, low and high; you give shape {np.shape(found)}"
    low, high = (float(bound) for bound in found)
    mean, draws = float(_SCORES.mean()), _draws()
    if low > high:
        return "low is above high: they have changed places"
    if high - low < 1e-9:
        return "your interval has no width: draw with replacement, else each resample is the sample again"
    wanted = np.quantile(draws, [0.025, 0.975])
    usual = {
        None: wanted,
        "these are percentiles of the scores themselves; take those of the resamples' means": np.quantile(
            _SCORES, [0.025, 0.975]
        ),
        "that holds 90 % of the means; cut off 2.5 % on each side": np.quantile(draws, [0.05, 0.95]),
        "that is the middle half of the means; cut off 2.5 % on each side": np.quantile(draws, [0.25, 0.75]),
        "that is the mean and one standard error on each side; take percentiles of the means": (
            mean - draws.std(),
            mean + draws.std(),
        ),
        "these are the smallest and the largest mean; cut off 2.5 % on each side": (draws.min(), draws.max()),
        "that is around 0: give the bounds, not their distance from the mean": wanted - mean,
    }
    # chance moves a bound by about a fiftieth of the width
    far = {said: np.abs(np.subtract(bounds, (low, high))).max() for said, bounds in usual.items()}
    nearest = min(far, key=far.__getitem__)
    if far[nearest] > 0.08 * (wanted[1] - wanted[0]):
        return (
            f"you give [{low:.3f}, {high:.3f}] for 40 scores with mean {mean:.3f}; resampling gives "
            f"[{wanted[0]:.3f}, {wanted[1]:.3f}]"
        )
    if nearest is None and not np.allclose(mine(_SCORES.copy(), np.random.default_rng(1)), found):
        return "the same generator gives another interval: draw with `rng`, so that it can be repeated"
    return nearest


_P_VALUES = ([0.04, 0.001, 0.03, 0.02], [0.5, 0.9, 0.7, 0.01], [0.2], [0.011, 0.013, 0.9, 0.4, 0.012])


def _holm_sorted(values: Sequence[float]) -> np.ndarray:
    return np.sort(holm(values))


def _stepwise(values: Sequence[float], *, running: bool, clipped: bool) -> np.ndarray:
    """Holm with a step left out; in the order given."""
    order = np.argsort(values, kind="stable")
    steps = np.asarray(values, dtype=float)[order] * (len(values) - np.arange(len(values)))
    steps = np.maximum.accumulate(steps) if running else steps
    result = np.empty(len(values))
    result[order] = np.minimum(steps, 1) if clipped else steps
    return result


_WRONG_HOLM: dict[str, Callable[[Sequence[float]], np.ndarray]] = {
    "every value times m is Bonferroni; Holm's factor falls: m, m - 1, …": lambda p: np.minimum(
        np.array(p) * len(p), 1
    ),
    "nothing is corrected": lambda p: np.array(p),
    "these are right, but in order of size; return them in the order in which they came": _holm_sorted,
    "a corrected value lies below one of a smaller p: keep a running maximum": lambda p: _stepwise(
        p, running=False, clipped=True
    ),
    "a corrected p-value is above 1": lambda p: _stepwise(p, running=True, clipped=False),
    "a corrected value lies below one of a smaller p, another above 1": lambda p: _stepwise(
        p, running=False, clipped=False
    ),
    "that is Benjamini-Hochberg, which limits the share of false findings; Holm limits any at all": (
        lambda p: stats.false_discovery_control(p)
    ),
    "you start with the largest; the *smallest* p-value is multiplied by m": lambda p: np.minimum(
        np.array(p) * stats.rankdata(p), 1
    ),
}


def exercise_3(mine: Callable[[list[float]], Sequence[float]]) -> str | None:
    """Holm's correction of a list of p-values."""
    found = [mine(list(values)) for values in _P_VALUES]
    if untried(*found):
        return UNTRIED
    for values, own in zip(_P_VALUES, found, strict=True):
        if np.shape(own) != (len(values),):
            return f"for {len(values)} p-values you give shape {np.shape(own)}; one is asked for each"
    same = lambda rule: all(np.allclose(own, rule(p)) for p, own in zip(_P_VALUES, found, strict=True))  # noqa: E731
    if same(holm):
        return None
    for sentence, wrong in _WRONG_HOLM.items():
        if same(wrong):
            return sentence
    place = next(i for i, p in enumerate(_P_VALUES) if not np.allclose(found[i], holm(p)))
    values = _P_VALUES[place]
    right = np.round(holm(values), 3).tolist()
    return f"for {values} you give {np.round(found[place], 3).tolist()}; it is {right}"


def exercise_4(with_one: float, with_all: float, examples: Sequence[Example]) -> str | None:
    """Mean best ROUGE-L in characters against the first reference, and against all."""
    given = {"with_one": with_one, "with_all": with_all}
    for name, value in given.items():
        if not isinstance(value, Real):
            return f"{name} is {value!r}; a number is asked for, the mean over the posts"
    told = [example for example in examples if example.references]
    if not told:
        return "this run has no references, so there is nothing to compute; take synthetic posts"
    by = {unit: [rouge(e.answer, e.references, unit)["rouge_l"] for e in told] for unit in ("char", "word")}
    mean = lambda unit, of: float(np.mean([of(values) for values in by[unit]]))  # noqa: E731
    right = (mean("char", lambda v: v[0]), mean("char", max))
    if np.allclose(list(given.values()), right, atol=5e-4):
        return None
    if with_one > with_all + 1e-9:
        return "the best of all is never below the first alone: the two have changed places"
    wrong = {
        "these are words; characters are asked for": (mean("word", lambda v: v[0]), mean("word", max)),
        "with all references you take their mean; take the best": (right[0], mean("char", np.mean)),
        "with one reference you take the last; take the first": (mean("char", lambda v: v[-1]), right[1]),
        "these are percent; a share is asked for": (100 * right[0], 100 * right[1]),
    }
    for sentence, values in wrong.items():
        if np.allclose(list(given.values()), values, atol=5e-4):
            return sentence
    name, value = next(
        (name, value)
        for (name, own), value in zip(given.items(), right, strict=True)
        if not np.isclose(own, value, atol=5e-4)
    )
    return f"{name} is {given[name]:.3f}; it should be {value:.3f}"


def exercise_5(mine: Any) -> str | None:
    """One completion whose L1 names every emotion of the lexicon."""
    if not isinstance(mine, str):
        return f"a completion is a text; yours is of type {type(mine).__name__}"
    parsed = coe.parse(mine)
    if parsed is None:
        return f"it is not well-formed ({coe.main_fault(mine)}), so it is wrong everywhere; use `coe.render`"
    marker = default_marker()
    missing = sorted(set(marker.emotions) - marker.named_emotions(parsed.coe.L1))
    elsewhere = " ".join(getattr(parsed.coe, layer) for layer in ("L2", "L3", "L4"))
    if missing and not set(missing) - marker.named_emotions(elsewhere):
        return "the emotions stand in another layer; they are looked for in L1"
    if len(missing) == len(marker.emotions):
        return "L1 names no emotion of the lexicon; look at `default_marker().emotions`"
    if missing:
        limited = len(marker.emotions) - len(missing) <= MAX_EMOTIONS
        few = " Two at most is the rule of `L1`, not of `L1_any`." if limited else ""
        return f"L1 does not name {', '.join(missing[:3])} ({len(missing)} emotions are missing).{few}"
    return None
