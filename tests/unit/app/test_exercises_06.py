"""Notebook 06's exercises: right answers pass, wrong ones are told apart, what was not tried is said so."""

import numpy as np
import pandas as pd
import pytest

from empathy_lib.app.exercises import n06, verdict
from empathy_lib.human_eval.ratings import COLUMNS

UNTRIED = "not tried yet"


def w(ranks, axis=0, factor=12.0):
    (raters, systems), sums = ranks.shape, ranks.sum(axis=axis)
    return factor * ((sums - sums.mean()) ** 2).sum() / (raters**2 * (systems**3 - systems))


@pytest.mark.parametrize(
    ("mine", "said"),
    [
        (w, None),
        (lambda ranks: ..., UNTRIED),
        (lambda ranks: w(ranks, axis=1), "sum over raters"),
        (lambda ranks: w(ranks, factor=1.0), "factor 12"),
        (lambda ranks: w(ranks) * len(ranks), "not by m squared"),
        (lambda ranks: w(ranks) / ranks.shape[1], "their sum"),
        (lambda ranks: w(ranks) / len(ranks) ** 2, "rank *sums*"),
        (lambda ranks: ((ranks.sum(axis=0) - ranks.sum(axis=0).mean()) ** 2).sum(), "S itself"),
        (lambda ranks: 0.7, "agree have W = 1"),
        (lambda ranks: 1.0, "it is 0.778"),
        (lambda ranks: [1.0], "return a number"),
    ],
)
def test_kendalls_w(mine, said):
    check("06.1", (mine,), said)


LOVED = [{"A": 1, "B": 2, "C": 3}, {"A": 1, "B": 3, "C": 2}]
HATED = [{"A": 3, "B": 1, "C": 2}, {"A": 3, "B": 2, "C": 1}, {"A": 3, "B": 2, "C": 2}]


@pytest.mark.parametrize(
    ("mine", "said"),
    [
        ([*LOVED, *HATED], None),
        (..., UNTRIED),
        (LOVED, "mean rank is not the worst"),
        (HATED, "not the highest Win@1"),
        ([{"A": 2, "B": 1, "C": 3}], "neither"),
        ([{"A": 1, "B": 1, "C": 1}], "neither"),
        ([{"A": 1, "B": 2}], "each ranking holds A, B and C"),
        ([{"A": 0, "B": 1, "C": 2}], "from 1"),
        ({"A": 1, "B": 2, "C": 3}, "a list of rankings"),
    ],
)
def test_loved_or_hated(mine, said):
    check("06.2", (mine,), said)


def test_false_alarms(monkeypatch):
    with_tastes, without = (0.5, 0.4, 0.1, 0.05), (0.05, 0.3, 0.025, 0.04)
    monkeypatch.setattr(n06, "alarms", lambda taste_sd=0.5: with_tastes if taste_sd else without)
    for mine, said in [
        (with_tastes[:3], None),
        ((..., ..., ...), UNTRIED),
        (without[:3], "no tastes"),
        ((0.5, 0.1, 0.4), "changed places"),
        ((0.5, 0.05, 0.1), "the share of pairs"),
        ((0.5, 0.6, 0.9), "without an alarm"),
        ((20, 16, 4), "divide by 40"),
        (([True, False], 0.4, 0.1), "a share is asked for"),
        ((0.5, 0.4, 0.2), "p_holm_share is 0.200"),
    ]:
        check("06.3", mine, said)


def test_equal_systems_with_tastes_alarm_friedman_and_not_holm(monkeypatch):
    monkeypatch.setattr(n06, "STUDIES", 12)
    n06.alarms.cache_clear()
    friedman, some_p, some_p_holm, of_pairs = n06.alarms()
    n06.alarms.cache_clear()
    assert friedman > some_p_holm and some_p > of_pairs and some_p_holm <= 0.25


def chance(order, theta, *, among=None):
    """``among``: whom each is drawn from, in place of those that are left."""
    worth, found = {system: np.exp(theta[system]) for system in theta}, 1.0
    for place, system in enumerate(order):
        found *= worth[system] / sum(worth[other] for other in among or order[place:])
    return found


def raw(order, theta):
    parts = [theta[each] / sum(theta[other] for other in order[n:]) for n, each in enumerate(order)]
    return np.prod(parts)


@pytest.mark.parametrize(
    ("mine", "said"),
    [
        (chance, None),
        (lambda order, theta: ..., UNTRIED),
        (lambda order, theta: chance(order, theta, among=order), "take them out"),
        (lambda order, theta: chance(order[::-1], theta), "backwards"),
        (lambda order, theta: chance(order[:1], theta, among=order), "first place alone"),
        (lambda order, theta: np.log(chance(order, theta)), "logarithm"),
        (raw, "take exp(θ) first"),
        (lambda order, theta: 1 / 24, "it is"),
    ],
)
def test_probability_of_a_ranking(mine, said):
    check("06.4", (mine,), said)


def ratings(*raters, posts=5):
    """Two systems; the raters agree on Fluency, and on Comforting only where the post's number is even."""
    rows = []
    for number, rater in enumerate(raters):
        for post in range(posts):
            for dimension in ("Fluency", "Comforting"):
                other_way = dimension == "Comforting" and number == 1 and post % 2
                for system, rank in (("x", 1 + bool(other_way)), ("y", 2 - bool(other_way))):
                    rows.append((rater, f"post {post}", dimension, system, float(rank)))
    return pd.DataFrame(rows, columns=list(COLUMNS))


TWO = ratings("Ann", "Ben")


@pytest.mark.parametrize(
    ("mine", "said"),
    [
        ((TWO, "Comforting"), None),
        ((..., ...), UNTRIED),
        ((TWO, "Fluency"), "you agree most"),
        ((TWO, "Kindness"), "one of Fluency, Comforting"),
        ((ratings("simulated-01", "simulated-02"), "Comforting"), "simulated"),
        ((ratings("Ann"), "Comforting"), "ask a second"),
        ((ratings("Ann", "Ben", posts=3), "Comforting"), "are of 3"),
        ((TWO.rename(columns={"system": "letter"}), "Comforting"), "still blind"),
        ((TWO.drop(columns="rank"), "Comforting"), "no column 'rank'"),
        (("ratings.csv", "Comforting"), "`read_ratings` reads it"),
    ],
)
def test_a_study_of_ones_own(mine, said):
    check("06.5", mine, said)


def check(exercise, answer, said):
    found = verdict(exercise, *answer)
    assert found is None if said is None else found is not None and said in found, found
