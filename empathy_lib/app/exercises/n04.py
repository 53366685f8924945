"""Checks of notebook 04, GRPO.

Knows: the right answers and the usual slips. Does not know: the notebook's run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
import torch

from empathy_lib.app.exercises.slips import UNTRIED, untried, wrong_number
from empathy_lib.reward.paid import AnswerReward

_POST = "我好累，该怎么办？"
# Answer, what it is to earn, and what is wrong where it earns something else.
_ANSWERS = (
    ("听起来你很累。最近睡得好吗？", 1.0, "an answer that asks a question of its own must earn 1"),
    ("听起来你很累。最近睡得好吗?", 1.0, "the half-width question mark (?) counts as well"),
    ("最近睡得好吗？先睡一觉吧。", 1.0, "the question may stand anywhere, not only at the end"),
    ("听起来你很累。先睡一觉吧。", 0.0, "an answer that asks nothing must earn 0"),
    ("该怎么办？先睡一觉吧。", 0.0, "its only question is copied from the post; it must earn 0"),
    ("", 0.0, "an empty answer must earn 0"),
    ("你最担心的是什么？", 1.0, "an answer that asks a question of its own must earn 1"),
    ("最近睡得好吗？你最担心的是什么？", 1.0, "two questions earn 1, as one does"),
    ("该怎么办？你最担心的是什么？", 1.0, "one question of its own is enough, whatever else it asks"),
)


def exercise_1(reward: AnswerReward) -> str | None:
    """A reward of the reader's own: 1 for an answer that asks a question which does not stand in the post."""
    if not isinstance(reward, AnswerReward):
        return (
            "make it a subclass of AnswerReward and hand in an instance: the notebook needs its cosines too"
        )
    answers = [answer for answer, _, _ in _ANSWERS]
    found = reward.rate([_POST] * len(answers), answers)
    if untried(found):
        return UNTRIED
    if not isinstance(found, np.ndarray):
        return f"rate returns a {type(found).__name__}; return np.array(…), of which the notebook takes means"
    if found.shape != (len(answers),):
        return f"{len(answers)} answers came in and an array of shape {found.shape} went out; one number each"
    for paid, (answer, due, sentence) in zip(found, _ANSWERS, strict=True):
        if paid != due:
            return f"{sentence} (post {_POST!r}, answer {answer!r}: {paid:g})"
    return None


def _advantages(rewards: torch.Tensor, correction: int = 1) -> torch.Tensor:
    return (rewards - rewards.mean()) / (rewards.std(correction=correction) + 1e-4)


# The last breaks the format and pleases the judge.
FORM, ANSWER = torch.tensor([1.0] * 7 + [0.0]), torch.tensor([1.0, 0, 1, 0, 1, 0, 0, 1])


def exercise_2(advantages: torch.Tensor) -> str | None:
    """An advantage for each reward, then their sum."""
    right = _advantages(FORM) + _advantages(ANSWER)
    slips = [
        (_advantages(FORM + ANSWER), "that is one advantage of the rewards' sum, as in section 2"),
        (
            _advantages(FORM, 0) + _advantages(ANSWER, 0),
            "the standard deviation divides by n here; TRL's divides by n - 1",
        ),
        (_advantages(right), "you have normalised the sum once more; stop before that"),
        (right / 2, "that is their mean; add them"),
        (FORM - FORM.mean() + ANSWER - ANSWER.mean(), "divide each by its own standard deviation first"),
        (torch.stack([_advantages(FORM), _advantages(ANSWER)]), "now add the two rows"),
    ]
    return wrong_number(advantages, right, slips)


def exercise_3(up: Iterable[float], down: Iterable[float]) -> str | None:
    """Of the ratios 0.7, 1.0, 1.1 and 1.5: those without a gradient, at advantage +1 and at -1."""
    up, down = (set(map(float, [each] if isinstance(each, int | float) else each)) for each in (up, down))
    if strange := (up | down) - {0.7, 1.0, 1.1, 1.5}:
        return f"{min(strange)} is none of the four ratios; answer with lists such as [0.7, 1.0]"
    if (up, down) == ({1.5}, {0.7}):
        return None
    if (up, down) == ({0.7}, {1.5}):
        return "the other way round: with advantage +1 it is the token that has risen enough which is let go"
    if up == down == {0.7, 1.5}:
        return "that is the clip alone; the min keeps the gradient where a token has moved the wrong way"
    if (up | down) & {1.0, 1.1}:
        return "1.0 and 1.1 lie within 1 ± 0.2: there the clip changes nothing"
    if not up or not down:
        return "each sign of the advantage has one ratio without a gradient"
    wrong = "+1" if up != {1.5} else "-1"
    return f"advantage {wrong} is not right yet: where is min(ratio·A, clip(ratio)·A) flat over the ratio?"


def exercise_4(sharpening: Callable[[np.ndarray, np.ndarray, np.ndarray], float]) -> str | None:
    """The share of GRPO's gain that greedy decoding of SFT gives too."""
    sampled, greedy = np.array([0.2, 0.4, 0.6]), np.array([0.55, 0.55, 0.55])
    grpo = np.array([0.8, 0.9, 1.0])
    slips = [
        (0.15, "that is what greedy decoding gains; divide it by what GRPO gains"),
        (0.5, "that is GRPO's gain; the question is which share of it greedy decoding gives"),
        (0.7, "that is the share which greedy decoding does not explain; take the other one"),
        (0.55 / 0.9, "you divide the levels; divide the gains over SFT's samples"),
        (0.15 / 0.4, "you divide by SFT's level; divide by GRPO's gain"),
        (0.15 / 0.9, "you divide by GRPO's level; divide by its gain over SFT's samples"),
        (0.5 / 0.15, "the fraction stands upside down"),
        ((greedy - sampled) / (grpo - sampled), "you divide post by post; take the means first"),
    ]
    if wrong := wrong_number(sharpening(sampled, greedy, grpo), 0.3, slips):
        return wrong
    if wrong := wrong_number(sharpening(sampled, sampled - 0.1, grpo), -0.2):
        return f"greedy decoding may do worse than sampling, and the share is negative then: {wrong}"
    for less in (0.0, 0.2):
        with np.errstate(all="ignore"):
            nothing = sharpening(grpo, greedy, grpo - less)
        if not (isinstance(nothing, float | np.floating) and math.isnan(nothing)):
            lost = "loses" if less else "gains nothing"
            return f"where GRPO {lost} there is no share: return float('nan'), not {nothing}"
    return None


def exercise_5(step: Callable[[float, float, float], float]) -> str | None:
    """How far Adam's first step moves a weight, sign included."""
    for gradient, rate, epsilon in ((0.01, 1.0, 1e-3), (-1e-5, 0.5, 1e-3), (-1e-5, 0.5, 1e-8)):
        size = abs(gradient)
        right = -rate * gradient / (size + epsilon)
        slips = [
            (-right, "the sign is wrong: a step goes against the gradient"),
            (abs(right), "the sign is missing: a step goes against the gradient"),
            (-rate * gradient, "that is SGD; Adam divides by the size of the gradient"),
            (-rate * np.sign(gradient), "that is the step without epsilon; here epsilon is the point"),
            (-rate * gradient / math.sqrt(gradient**2 + epsilon), "epsilon stands outside the root"),
            (
                -rate * 0.1 * gradient / (math.sqrt(0.001) * size + epsilon),
                "the running means start at 0; correct them, so that the first ones are g and g²",
            ),
            (-rate * gradient / (gradient**2 + epsilon), "take the root of the mean of g²"),
        ]
        if wrong := wrong_number(step(gradient, rate, epsilon), right, slips):
            return wrong
    return None
