"""Exercises of notebook 06: Kendall's W, loved or hated, false alarms, Plackett-Luce, a study of one's own.

Knows: what is asked, and the wrong turns that are usual. Does not know: how a verdict is said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from empathy_lib.app.exercises.slips import UNTRIED, untried
from empathy_lib.human_eval import agreement, differences
from empathy_lib.human_eval.checks import without_checks
from empathy_lib.human_eval.cube import average_rank, win_credit
from empathy_lib.human_eval.ratings import COLUMNS, is_simulated
from empathy_lib.human_eval.simulate import simulate_cube

_RANKS = (
    np.array([[1, 2, 3, 4], [2, 1, 3, 4], [1, 3, 2, 4]]),
    np.array([[1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 2, 3]]),
    np.array([[1, 2, 3], [3, 2, 1]]),
    np.array([[5, 1, 2, 3, 4], [4, 2, 1, 3, 5]]),
)


def _squares(ranks: np.ndarray, axis: int = 0) -> float:
    sums = ranks.sum(axis=axis)
    return float(((sums - sums.mean()) ** 2).sum())


def _w(ranks: np.ndarray) -> float:
    raters, systems = ranks.shape
    return 12 * _squares(ranks) / (raters**2 * (systems**3 - systems))


_WRONG_W: dict[str, Callable[[np.ndarray], float]] = {
    "that is S itself; W puts it over the largest S there can be": _squares,
    "the rank sums are of the raters; sum over raters, a sum for each system": lambda r: (
        12 * _squares(r, axis=1) / (r.shape[0] ** 2 * (r.shape[1] ** 3 - r.shape[1]))
    ),
    "raters and systems have changed places in the formula": lambda r: (
        12 * _squares(r) / (r.shape[1] ** 2 * (r.shape[0] ** 3 - r.shape[0]))
    ),
    "you divide by m, not by m squared": lambda r: _w(r) * r.shape[0],
    "you have the mean of the squares (a variance); S is their sum": lambda r: _w(r) / r.shape[1],
    "those are mean ranks; S is of rank *sums*": lambda r: _w(r) / r.shape[0] ** 2,
    "the factor 12 is missing": lambda r: _w(r) / 12,
    "you divide by n cubed; it is n cubed less n": lambda r: _w(r) * (1 - 1 / r.shape[1] ** 2),
}


def exercise_1(mine: Callable[[np.ndarray], float]) -> str | None:
    """Kendall's W of a post's ranks, raters × systems."""
    found = [mine(ranks.copy()) for ranks in _RANKS]
    if untried(*found):
        return UNTRIED
    if not all(isinstance(value, Real) for value in found):
        return f"your function gives {found[0]!r}; return a number"
    if np.allclose(found, [agreement.kendall_w(ranks.astype(float)) for ranks in _RANKS]):
        return None
    for sentence, wrong in _WRONG_W.items():
        if np.allclose(found, [wrong(ranks) for ranks in _RANKS]):
            return sentence
    if not np.isclose(found[1], 1):
        return f"four raters who all agree have W = 1; you give {found[1]:.3f}"
    place = next(p for p, ranks in enumerate(_RANKS) if not np.isclose(found[p], _w(ranks)))
    return f"for {_RANKS[place].tolist()} you give {found[place]:.3f}; it is {_w(_RANKS[place]):.3f}"


def exercise_2(mine: Sequence[Mapping[str, float]]) -> str | None:
    """Rankings in which A has the highest Win@1 and the worst mean rank."""
    if isinstance(mine, Mapping) or not isinstance(mine, Sequence) or isinstance(mine, str) or not mine:
        return "a list of rankings is asked for, each a dictionary of system to rank"
    for ranks in mine:
        if not isinstance(ranks, Mapping) or set(ranks) != set("ABC"):
            return f"each ranking holds A, B and C; one of yours is {ranks!r}"
        if not all(isinstance(rank, Real) and 1 <= rank <= 3 for rank in ranks.values()):
            return f"ranks are numbers from 1 (the best) to 3; one of your rankings is {dict(ranks)}"
    ranks = np.array([[each[system] for system in "ABC"] for each in mine], dtype=float)
    wins, places = win_credit(ranks, 1).mean(axis=0), average_rank(ranks).mean(axis=0)
    loved = wins[0] > wins[1:].max() + 1e-9
    hated = places[0] > places[1:].max() + 1e-9
    said = ", ".join(f"{s} {w:.2f} and {p:.2f}" for s, w, p in zip("ABC", wins, places, strict=True))
    if loved and hated:
        return None
    if not loved and not hated:
        return f"A has neither the highest Win@1 nor the worst mean rank; Win@1 and mean rank: {said}"
    if loved:
        return f"A wins most, but its mean rank is not the worst: the others must put it last ({said})"
    return f"A has the worst mean rank, but not the highest Win@1: let B and C share first places ({said})"


STUDIES, RATERS, POSTS = 40, 20, 30


@cache
def alarms(taste_sd: float = 0.5) -> tuple[float, float, float, float]:
    """Shares of the 40 studies of equal systems with Friedman's p, some p, some p_holm below .05; last the
    share of all pairs with such a p."""
    equal = pd.DataFrame({"Comforting": [0.0] * 6}, index=list("ABCDEF"))
    found = []
    for seed in range(STUDIES):
        items = [f"post {number}" for number in range(POSTS)]
        rng = np.random.default_rng(seed)
        cube = simulate_cube(equal, RATERS, items, rng, rater_sd=taste_sd, item_sd=taste_sd)
        pairs = differences.pairwise(cube)
        friedman = differences.omnibus(cube)["p_these_raters"].iloc[0] < 0.05
        below = pairs["p"] < 0.05
        found.append((friedman, below.any(), (pairs["p_holm"] < 0.05).any(), below.mean()))
    return tuple(float(share) for share in np.mean(found, axis=0))


def exercise_3(friedman: float, some_p: float, some_p_holm: float) -> str | None:
    """Shares of studies of equal systems that call some difference real, by three methods."""
    given = {"friedman_share": friedman, "p_share": some_p, "p_holm_share": some_p_holm}
    for name, value in given.items():
        if not isinstance(value, Real):
            return f"{name} is {value!r}; a share is asked for, such as the mean of a list of True and False"
        if value > 1:
            return f"{name} is {value:g}; that is a number of studies; divide by {STUDIES} for a share"
    *right, of_pairs = alarms()
    values = list(given.values())
    if np.allclose(values, right):
        return None
    if np.allclose(values, [1 - share for share in right]):
        return "these are the studies without an alarm; a false alarm is a p below .05"
    if np.allclose(values, alarms(0.0)[:3]):
        return "your raters have no tastes; leave `rater_sd` and `item_sd` as they are"
    if np.allclose([friedman, some_p_holm, some_p], right):
        return "the shares of p and p_holm have changed places; Holm's correction makes fewer alarms"
    if np.isclose(some_p, of_pairs) and not np.isclose(right[1], of_pairs):
        return "p_share is the share of pairs; asked is in which share of studies *some* pair is below .05"
    for (name, value), share in zip(given.items(), right, strict=True):
        if not np.isclose(value, share):
            return f"{name} is {value:.3f}; with seeds 0 to {STUDIES - 1} it is {share:.3f}"
    return None


_THETA = {"A": 1.2, "B": 0.3, "C": -0.5, "D": 0.1}
_ORDERS = (list("ABCD"), list("CDBA"), list("BA"), list("DCA"))


def _chance(order: Sequence[str], theta: Mapping[str, float], *, left: bool = True) -> float:
    worth = {system: float(np.exp(theta[system])) for system in order}
    parts = [
        worth[system] / sum(worth[s] for s in (order[place:] if left else order))
        for place, system in enumerate(order)
    ]
    return float(np.prod(parts))


def _raw(order: Sequence[str], theta: Mapping[str, float]) -> float:
    return float(np.prod([theta[s] / sum(theta[t] for t in order[p:]) for p, s in enumerate(order)]))


_WRONG_CHANCE: dict[str, Callable[[Sequence[str], Mapping[str, float]], float]] = {
    "the systems already drawn are still among those to choose from; take them out": lambda o, t: _chance(
        o, t, left=False
    ),
    "that is the probability of the order backwards: the first of `order` is the best": lambda o, t: _chance(
        o[::-1], t
    ),
    "you divide the strengths themselves; take exp(θ) first": _raw,
    "that is the probability of the first place alone; go on with those that are left": lambda o, t: float(
        np.exp(t[o[0]]) / sum(np.exp(t[s]) for s in o)
    ),
    "that is the logarithm of the probability": lambda o, t: float(np.log(_chance(o, t))),
    "probabilities of draws one after another are multiplied, not added": lambda o, t: float(
        sum(np.exp(t[s]) / sum(np.exp(t[u]) for u in o[p:]) for p, s in enumerate(o))
    ),
}


def exercise_4(mine: Callable[[list[str], dict[str, float]], float]) -> str | None:
    """The probability of a whole ranking under Plackett-Luce."""
    asked = [(list(order), {system: _THETA[system] for system in order}) for order in _ORDERS]
    found = [mine(list(order), dict(theta)) for order, theta in asked]
    if untried(*found):
        return UNTRIED
    if not all(isinstance(value, Real) for value in found):
        return f"your function gives {found[0]!r}; return a number"
    if np.allclose(found, [_chance(*each) for each in asked]):
        return None
    for sentence, wrong in _WRONG_CHANCE.items():
        if np.allclose(found, [wrong(*each) for each in asked]):
            return sentence
    place = next(p for p, each in enumerate(asked) if not np.isclose(found[p], _chance(*each)))
    order, theta = asked[place]
    return f"for {order} with {theta} you give {found[place]:.3f}; it is {_chance(order, theta):.3f}"


def exercise_5(ratings: Any, least: Any) -> str | None:
    """Ratings of a study of one's own, and the dimension on which its raters agree least."""
    if not isinstance(ratings, pd.DataFrame):
        return "the first answer is a table of ratings; `read_ratings` reads it from the CSV"
    if "letter" in ratings and "system" not in ratings:
        return "the ratings are still blind, with letters in place of systems; run `unblind` first"
    if missing := [name for name in COLUMNS if name not in ratings]:
        return f"the ratings have no column '{missing[0]}'; `read_ratings` gives all of them"
    if is_simulated(ratings):
        return "these raters are simulated; ask people"
    raters, posts = ratings["rater"].nunique(), without_checks(ratings)["item"].nunique()
    if raters < 2:
        return "one rater alone can agree with nobody; ask a second"
    if posts < 5:
        return f"five posts are asked for; these ratings are of {posts}"
    alphas = agreement.agreement(ratings).set_index("dimension")["krippendorff_alpha"].dropna()
    if alphas.empty:
        return "no two raters ranked the same post, or all ranks are alike; alpha is not available"
    if least not in alphas.index:
        return f"the second answer is a dimension, one of {', '.join(alphas.index)}; yours is {least!r}"
    lowest = alphas.idxmin()
    if alphas[least] > alphas[lowest] + 1e-9:
        if np.isclose(alphas[least], alphas.max()):
            return f"on {least} you agree most; alpha of 1 is full agreement, of 0 chance"
        return f"alpha is {alphas[least]:.3f} on {least}; on another dimension it is lower"
    return None
