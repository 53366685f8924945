"""Notebook 04's exercises: a right answer passes, each usual slip hears its own sentence."""

import math

import numpy as np
import pytest
import torch
from starters import starters

from empathy_lib.app import exercises
from empathy_lib.app.exercises.n04 import ANSWER, FORM
from empathy_lib.core.text import sentences
from empathy_lib.reward.paid import AnswerReward


def reward_of(rate):
    """An AnswerReward that pays by ``rate(question, answer)``."""

    class Mine(AnswerReward):
        def rate(self, questions, answers):
            return np.array([float(rate(q, a)) for q, a in zip(questions, answers, strict=True)])

    return Mine(None)


def asks(question, answer):
    return any(s[-1] in "？?" and s not in question for s in sentences(answer))


class AsList(AnswerReward):
    def rate(self, questions, answers):
        return [0.0] * len(answers)


class OneForAll(AnswerReward):
    def rate(self, questions, answers):
        return np.zeros(1)


def advantages(rewards, correction=1):
    return (rewards - rewards.mean()) / (rewards.std(correction=correction) + 1e-4)


def sharpening(sampled, greedy, grpo):
    gain = grpo.mean() - sampled.mean()
    return (greedy.mean() - sampled.mean()) / gain if gain > 0 else math.nan


def first_step(gradient, rate, epsilon):
    """torch's own Adam, one step from 0."""
    weight = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    weight.grad = torch.tensor([gradient], dtype=torch.float64)
    torch.optim.Adam([weight], lr=rate, eps=epsilon).step()
    return weight.item()


BOTH = advantages(FORM) + advantages(ANSWER)
RIGHT = {
    "04.1": (reward_of(asks),),
    "04.2": (BOTH,),
    "04.3": ([1.5], [0.7]),
    "04.4": (sharpening,),
    "04.5": (first_step,),
}
WRONG = [
    ("04.1", lambda q, a: 1.0, "subclass of AnswerReward"),
    ("04.1", AsList(None), "np.array"),
    ("04.1", OneForAll(None), "one number each"),
    ("04.1", reward_of(lambda q, a: "吗" in a), "asks a question of its own"),
    ("04.1", reward_of(lambda q, a: "？" in a), "half-width"),
    ("04.1", reward_of(lambda q, a: a[-1:] in ("？", "?")), "anywhere"),
    ("04.1", reward_of(lambda q, a: "睡" in a), "asks nothing"),
    ("04.1", reward_of(lambda q, a: "？" in a or "?" in a), "copied from the post"),
    ("04.1", reward_of(lambda q, a: not a or asks(q, a)), "empty answer"),
    ("04.1", reward_of(lambda q, a: a.count("？") + a.count("?") if asks(q, a) else 0), "two questions"),
    ("04.1", reward_of(lambda q, a: asks(q, a) and "该怎么办" not in a), "is enough"),
    ("04.2", advantages(FORM + ANSWER), "one advantage of the rewards' sum"),
    ("04.2", advantages(FORM, 0) + advantages(ANSWER, 0), "n - 1"),
    ("04.2", advantages(BOTH), "once more"),
    ("04.2", BOTH / 2, "add them"),
    ("04.2", FORM - FORM.mean() + ANSWER - ANSWER.mean(), "own standard deviation"),
    ("04.2", torch.stack([advantages(FORM), advantages(ANSWER)]), "add the two rows"),
    ("04.2", torch.zeros(3), "shape"),
    ("04.2", torch.zeros(8), "is right"),
    ("04.4", lambda s, g, r: g.mean() - s.mean(), "divide it by what GRPO gains"),
    ("04.4", lambda s, g, r: r.mean() - s.mean(), "that is GRPO's gain"),
    ("04.4", lambda s, g, r: 1 - sharpening(s, g, r), "take the other one"),
    ("04.4", lambda s, g, r: g.mean() / r.mean(), "divide the levels"),
    ("04.4", lambda s, g, r: (g.mean() - s.mean()) / s.mean(), "SFT's level"),
    ("04.4", lambda s, g, r: 1 / sharpening(s, g, r), "upside down"),
    ("04.4", lambda s, g, r: (g - s) / (r - s), "post by post"),
    ("04.4", lambda s, g, r: abs(sharpening(s, g, r)), "worse than sampling"),
    ("04.4", lambda s, g, r: float((g.mean() - s.mean()) / (r.mean() - s.mean())), "nan"),
    ("04.4", lambda s, g, r: 0.3, "worse than sampling"),
    ("04.4", lambda s, g, r: (g.mean() - s.mean()) / r.mean(), "GRPO's level"),
    ("04.4", lambda s, g, r: sharpening(s, g, r) if r.mean() >= s.mean() else -1.0, "where GRPO loses"),
    ("04.5", lambda g, lr, e: -first_step(g, lr, e), "sign is wrong"),
    ("04.5", lambda g, lr, e: -lr * g, "that is SGD"),
    ("04.5", lambda g, lr, e: -lr * np.sign(g), "without epsilon"),
    ("04.5", lambda g, lr, e: -lr * g / math.sqrt(g**2 + e), "outside the root"),
    ("04.5", lambda g, lr, e: -lr * 0.1 * g / (math.sqrt(0.001) * abs(g) + e), "start at 0"),
    ("04.5", lambda g, lr, e: -lr * g / (g**2 + e), "take the root"),
    ("04.5", lambda g, lr, e: 0.0, "is right"),
]
CLIPS = [
    ([0.7], [1.5], "the other way round"),
    ([0.7, 1.5], [0.7, 1.5], "the clip alone"),
    ([1.1, 1.5], [0.7], "within 1 ± 0.2"),
    ([], [0.7], "one ratio without a gradient"),
    ([2.0], [0.7], "none of the four"),
    ([0.7, 1.5], [0.7], "advantage +1"),
    (1.5, [0.7, 1.5], "advantage -1"),
]


@pytest.mark.parametrize("exercise", RIGHT)
def test_the_right_answer_passes(exercise):
    exercises.require(exercise, *RIGHT[exercise])


@pytest.mark.parametrize(("exercise", "answer", "sentence"), WRONG)
def test_a_wrong_answer_hears_what_is_wrong_with_it(exercise, answer, sentence):
    assert sentence in exercises.verdict(exercise, answer)


@pytest.mark.parametrize(("up", "down", "sentence"), CLIPS)
def test_a_wrong_clip_hears_what_is_wrong_with_it(up, down, sentence):
    assert sentence in exercises.verdict("04.3", up, down)


def test_a_clipped_ratio_has_no_gradient():
    """What exercise 04.3 takes for right, by autograd."""
    for sign, flat in ((1.0, [1.5]), (-1.0, [0.7])):
        ratios = torch.tensor([0.7, 1.0, 1.1, 1.5], requires_grad=True)
        torch.minimum(ratios * sign, ratios.clamp(0.8, 1.2) * sign).sum().backward()
        assert ratios[ratios.grad == 0].tolist() == pytest.approx(flat)


@pytest.mark.parametrize("exercise", RIGHT)
def test_an_untouched_starter_is_not_tried_yet(exercise, capsys):
    names = {"exercises": exercises, "np": np, "torch": torch, "AnswerReward": AnswerReward, "judge": None}
    exec(starters("04")[exercise], names)
    assert capsys.readouterr().out == f"exercise {exercise}: not tried yet: replace the dots\n"


def test_there_is_a_starter_for_every_exercise():
    assert list(starters("04")) == list(RIGHT)
