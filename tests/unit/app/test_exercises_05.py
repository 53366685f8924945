"""Notebook 05's exercises: right answers pass, wrong ones are told apart, what was not tried is said so."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from empathy_lib.app.exercises import verdict
from empathy_lib.core import coe
from empathy_lib.metrics.scoring import Example
from empathy_lib.reward.marking import default_marker

UNTRIED = "not tried yet"


def f1(shared, one, other):
    return 2 * shared / (one + other) if one + other else 0.0


def bigrams(text):
    return Counter(pairwise(text))


def rouge_2(answer, reference):
    one, other = bigrams(answer), bigrams(reference)
    return f1((one & other).total(), one.total(), other.total())


def single(answer, reference):
    return f1((Counter(answer) & Counter(reference)).total(), len(answer), len(reference))


def by_sets(answer, reference):
    one, other = set(pairwise(answer)), set(pairwise(reference))
    return f1(len(one & other), len(one), len(other))


def unclipped(answer, reference):
    other = bigrams(reference)
    found = sum(pair in other for pair in pairwise(answer))
    return f1(found, len(answer) - 1, len(reference) - 1)


def precision(answer, reference):
    return (bigrams(answer) & bigrams(reference)).total() / max(len(answer) - 1, 1)


def of_one(answer, reference):
    return 1.0 if len(answer) == 1 else rouge_2(answer, reference)


@pytest.mark.parametrize(
    ("mine", "said"),
    [
        (rouge_2, None),
        (lambda answer, reference: ..., UNTRIED),
        (single, "single characters"),
        (precision, "precision"),
        (lambda answer, reference: precision(reference, answer), "recall"),
        (by_sets, "a set forgets"),
        (unclipped, "at most as often"),
        (lambda answer, reference: rouge_2(answer, reference) / 2, "a 2 above the line"),
        (of_one, "one character scores 0"),
        (lambda answer, reference: "0.4", "return a number"),
        (lambda answer, reference: 0.4, "you give 0.400; it is"),
    ],
)
def test_rouge_2(mine, said):
    check("05.1", (mine,), said)


def resampled(scores, rng, low=0.025, high=0.975):
    means = scores[rng.integers(len(scores), size=(2000, len(scores)))].mean(axis=1)
    return np.quantile(means, [low, high])


def not_replaced(scores, rng):
    return np.quantile([rng.permutation(scores).mean() for _ in range(200)], [0.025, 0.975])


def one_error(scores, rng):
    error = scores.std() / np.sqrt(len(scores))
    return scores.mean() - error, scores.mean() + error


@pytest.mark.parametrize(
    ("mine", "said"),
    [
        (resampled, None),
        (lambda scores, rng: ..., UNTRIED),
        (lambda scores, rng: scores.mean(), "two numbers"),
        (lambda scores, rng: resampled(scores, rng)[::-1], "changed places"),
        (not_replaced, "with replacement"),
        (lambda scores, rng: np.quantile(scores, [0.025, 0.975]), "of the scores themselves"),
        (lambda scores, rng: resampled(scores, rng, 0.05, 0.95), "90 %"),
        (lambda scores, rng: resampled(scores, rng, 0.25, 0.75), "middle half"),
        (one_error, "one standard error"),
        (lambda scores, rng: resampled(scores, rng) - scores.mean(), "around 0"),
        (lambda scores, rng: resampled(scores, np.random.default_rng()), "draw with `rng`"),
        (lambda scores, rng: (0.0, 1.0), "resampling gives"),
    ],
)
def test_interval(mine, said):
    check("05.2", (mine,), said)


def holm(p_values, *, running=True, clipped=True):
    order, m = np.argsort(p_values), len(p_values)
    result, most = [0.0] * m, 0.0
    for step, place in enumerate(order):
        value = (m - step) * p_values[place]
        most = max(most, value) if running else value
        result[place] = min(most, 1) if clipped else most
    return result


@pytest.mark.parametrize(
    ("mine", "said"),
    [
        (holm, None),
        (lambda p: ..., UNTRIED),
        (lambda p: p, "nothing is corrected"),
        (lambda p: [min(value * len(p), 1) for value in p], "Bonferroni"),
        (lambda p: sorted(holm(p)), "in order of size"),
        (lambda p: holm(p, running=False), "running maximum"),
        (lambda p: holm(p, clipped=False), "above 1"),
        (stats.false_discovery_control, "Benjamini-Hochberg"),
        (lambda p: holm(p)[:1], "one is asked for each"),
        (lambda p: [0.5 for _ in p], "it is ["),
    ],
)
def test_holm(mine, said):
    check("05.3", (mine,), said)


EXAMPLES = [
    Example("a", "帖", "我很难过呢", ["我真的很难过", "我很难过", "抱抱你，别难过"]),
    Example("b", "帖", "抱抱你", ["别担心了", "抱抱你吧", "先睡一觉"]),
]
# ROUGE-L by hand: 4 of 5 and 6; 4 of 5 and 4; 3 of 3 and 4
ONE, ALL = 2 * 4 / 11 / 2, (2 * 4 / 9 + 2 * 3 / 7) / 2


@pytest.mark.parametrize(
    ("mine", "said"),
    [
        ((ONE, ALL), None),
        ((..., ALL), UNTRIED),
        ((ALL, ONE), "changed places"),
        ((100 * ONE, 100 * ALL), "percent"),
        ((ONE, (8 / 11 + 8 / 9 + 2 * 2 / 11 + 6 / 7) / 6), "take the best"),
        ((ONE, [ALL]), "a number is asked for"),
        ((ONE, 0.99), "with_all is 0.990"),
    ],
)
def test_references(mine, said):
    check("05.4", (*mine, EXAMPLES), said)


def test_references_need_references():
    assert "no references" in verdict("05.4", 0.1, 0.2, [Example("a", "帖", "好", [])])


def completion(**layers):
    chain = {layer: "我在想" for layer in ("L1", "L2", "L3", "L4")} | layers
    return coe.render(coe.ChainOfEmpathy(**chain), "抱抱你。")


EVERY = "、".join(words[0] for words in default_marker().emotions.values())


@pytest.mark.parametrize(
    ("mine", "said"),
    [
        (completion(L1=EVERY), None),
        (..., UNTRIED),
        (EVERY, "not well-formed"),
        (completion(L2=EVERY), "another layer"),
        (completion(), "names no emotion"),
        (completion(L1="焦虑"), "Two at most is the rule of `L1`"),
        (completion(L1=EVERY.partition("、")[2]), "(1 emotions are missing)"),
        ({"L1": EVERY}, "of type dict"),
    ],
)
def test_one_for_all(mine, said):
    check("05.5", (mine,), said)


def check(exercise, answer, said):
    found = verdict(exercise, *answer)
    assert found is None if said is None else found is not None and said in found, found
