"""Notebook 03's exercises: a right answer passes, each usual slip hears its own sentence."""

import numpy as np
import pytest
import torch
from jieba.analyse import extract_tags
from sklearn.metrics import roc_auc_score, roc_curve
from starters import starters
from torch.nn.functional import cross_entropy

from empathy_lib.app import exercises


def both_ways(cosines, tau):
    own = torch.arange(len(cosines))
    return (cross_entropy(cosines / tau, own) + cross_entropy(cosines.T / tau, own)) / 2


def youden(positives, negatives):
    labels = np.repeat([1, 0], [len(positives), len(negatives)])
    wrongly, passed, cuts = roc_curve(labels, np.concatenate([positives, negatives]))
    return cuts[np.argmax(passed - wrongly)]


def area(positives, negatives):
    labels = np.repeat([1, 0], [len(positives), len(negatives)])
    return roc_auc_score(labels, np.concatenate([positives, negatives]))


def horoscope(item, pool, rng):
    first, second = extract_tags(item.question, topK=2)
    return f"你说到{first}，又说到{second}，可见你是重感情的人。最近会有贵人相助，耐心等一等就好。"


RIGHT = {"03.1": both_ways, "03.2": youden, "03.3": area, "03.4": horoscope}
OWN = lambda c: torch.arange(len(c))  # noqa: E731
GAPS = lambda p, n: p[:, None] - n[None]  # noqa: E731
WRONG = [
    ("03.1", lambda c, tau: cross_entropy(c / tau, OWN(c)), "each answer pick its post too"),
    ("03.1", lambda c, tau: cross_entropy(c.T / tau, OWN(c)), "each post pick its answer too"),
    ("03.1", lambda c, tau: 2 * both_ways(c, tau), "the sum of both ways"),
    ("03.1", lambda c, tau: both_ways(c, 1.0), "temperature is missing"),
    ("03.1", lambda c, tau: -both_ways(c, tau), "sign is wrong"),
    ("03.1", lambda c, tau: 0.5, "is right"),
    ("03.2", lambda p, n: 0.55, "return the cut itself"),
    ("03.2", lambda p, n: 2, "a place in a list"),
    ("03.2", lambda p, n: 0.8, "fewest errors"),
    ("03.2", lambda p, n: min(p), "subtract the negatives' rate"),
    ("03.2", lambda p, n: max(p), "add the references' rate"),
    ("03.2", lambda p, n: (p.mean() + n.mean()) / 2, "is right"),
    ("03.3", lambda p, n: (GAPS(p, n) > 0).mean(), "counts nothing"),
    ("03.3", lambda p, n: (GAPS(p, n) >= 0).mean(), "counts whole"),
    ("03.3", lambda p, n: 1 - area(p, n), "the negative is above"),
    ("03.3", lambda p, n: np.mean([a > b for a, b in zip(p, n, strict=False)]), "pairwise accuracy"),
    ("03.3", lambda p, n: area(p, n) * p.size * n.size, "number of pairs"),
    ("03.3", lambda p, n: 0.3, "is right"),
    ("03.4", lambda item, pool, rng: 7, "returns a text"),
    ("03.4", lambda item, pool, rng: item.references[0], "the reference itself"),
    ("03.4", lambda item, pool, rng: f"我听到你说，{item.question}", "copies the post"),
    ("03.4", lambda item, pool, rng: "抱抱你，一切都会好起来的。", "generic comfort"),
    ("03.4", lambda item, pool, rng: f"你好，{item.id}，会好的。", "hardly touches the post"),
    ("03.4", lambda item, pool, rng: "、".join(extract_tags(item.question, topK=8)), "keyword stuffing"),
]


@pytest.mark.parametrize("exercise", RIGHT)
def test_the_right_answer_passes(exercise):
    exercises.require(exercise, RIGHT[exercise])


@pytest.mark.parametrize(("exercise", "answer", "sentence"), WRONG)
def test_a_wrong_answer_hears_what_is_wrong_with_it(exercise, answer, sentence):
    assert sentence in exercises.verdict(exercise, answer)


@pytest.mark.parametrize("exercise", RIGHT)
def test_an_untouched_starter_is_not_tried_yet(exercise, capsys):
    exec(starters("03")[exercise], {"exercises": exercises, "np": np, "torch": torch})
    assert capsys.readouterr().out == f"exercise {exercise}: not tried yet: replace the dots\n"


def test_there_is_a_starter_for_every_exercise():
    assert list(starters("03")) == list(RIGHT)


def test_any_cut_as_good_as_the_best_is_right():
    assert exercises.verdict("03.2", lambda p, n: youden(p, n) - 1e-4) is None
