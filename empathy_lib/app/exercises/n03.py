"""Checks of notebook 03, the reward model.

Knows: the right answers and the usual slips. Does not know: the notebook's run.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jieba.analyse import extract_tags
from torch.nn.functional import cross_entropy

from empathy_lib.app.exercises.slips import UNTRIED, untried, wrong_number
from empathy_lib.core.copying import copy_rate
from empathy_lib.core.schema import Answer, Item


def exercise_1(loss: Callable[[torch.Tensor, float], torch.Tensor]) -> str | None:
    """InfoNCE both ways, of cosines of shape (B, B) and a temperature."""
    cosines = torch.tensor([[0.9, 0.1, 0.3], [0.4, 0.6, 0.2], [0.1, 0.5, 0.7]])
    for table, tau in ((cosines, 0.5), (cosines.flip(1)[:2, 1:], 0.1)):
        own = torch.arange(len(table))
        posts, answers = cross_entropy(table / tau, own), cross_entropy(table.T / tau, own)
        both = cross_entropy(table, own), cross_entropy(table.T, own)
        slips = [
            (posts, "that is one way only: each post picks its answer. Let each answer pick its post too"),
            (answers, "that is one way only: each answer picks its post. Let each post pick its answer too"),
            (posts + answers, "that is the sum of both ways; take their mean, or every gradient doubles"),
            (sum(both) / 2, "the temperature is missing: divide the cosines by tau before the softmax"),
            (-(posts + answers) / 2, "the sign is wrong: a loss is the negative log of the right share"),
        ]
        if wrong := wrong_number(loss(table, tau), (posts + answers) / 2, slips):
            return wrong
    return None


def exercise_2(youden: Callable[[np.ndarray, np.ndarray], float]) -> str | None:
    """Youden's cut of positives' and negatives' cosines; any cut that is as good as the best is right."""
    negatives = np.array([0.75, 0.72, 0.6, 0.5, 0.45, 0.4, 0.35, 0.2, 0.1, 0.05])
    for positives in (np.array([0.9, 0.8, 0.7, 0.3]), np.array([0.95, 0.58, 0.56, 0.55, 0.52])):
        found = youden(positives, negatives)
        if untried(found):
            return UNTRIED
        cuts = np.concatenate([positives, negatives])
        passed, wrongly = _shares(positives, negatives, cuts)
        best = (passed - wrongly).max()
        if np.isclose(_gain(positives, negatives, float(found)), best):
            continue
        right = len(positives) * passed + len(negatives) * (1 - wrongly)
        slips = [
            (best, "that is how far the two rates lie apart at the best cut; return the cut itself"),
            (
                int(np.argmax(passed - wrongly)),
                "that is a place in a list; return the cosine that stands there",
            ),
            (
                cuts[np.argmax(right)],
                "that cut makes the fewest errors, so it favours the larger class; "
                "Youden's takes a rate of each",
            ),
            (
                cuts[np.argmax(passed)],
                "that cut lets every reference pass, and most negatives with them; "
                "subtract the negatives' rate",
            ),
            (
                cuts[np.argmin(wrongly)],
                "that cut keeps every negative out, and most references with them; add the references' rate",
            ),
        ]
        return wrong_number(found, cuts[np.argmax(passed - wrongly)], slips)
    return None


def _shares(positives: np.ndarray, negatives: np.ndarray, cuts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return tuple((part[None] >= cuts[:, None]).mean(axis=1) for part in (positives, negatives))


def _gain(positives: np.ndarray, negatives: np.ndarray, cut: float) -> float:
    return float((positives >= cut).mean() - (negatives >= cut).mean())


def exercise_3(area: Callable[[np.ndarray, np.ndarray], float]) -> str | None:
    """AUC as a count of pairs, ties half."""
    for positives, negatives in (
        (np.array([0.9, 0.5, 0.4, 0.35]), np.array([0.5, 0.3, 0.6])),
        (np.array([0.2, 0.2, 0.7]), np.array([0.2, 0.1, 0.1, 0.8])),
    ):
        gaps = positives[:, None] - negatives[None]
        above, ties = (gaps > 0).mean(), (gaps == 0).mean()
        matched = [p > n for p, n in zip(positives, negatives, strict=False)]
        slips = [
            (above, "a tie counts nothing with you; let it count one half"),
            (above + ties, "a tie counts whole with you; let it count one half"),
            (1 - above - ties / 2, "you count the pairs in which the negative is above"),
            (
                np.mean(matched),
                "you compare the first with the first, the second with the second: that is "
                "pairwise accuracy. Take every positive with every negative",
            ),
            ((above + ties / 2) * gaps.size, "that is a number of pairs; divide it by how many there are"),
        ]
        if wrong := wrong_number(area(positives, negatives), above + ties / 2, slips):
            return wrong
    return None


_POSTS = (
    "最近总是失眠，一想到下周的期末考试就心慌，爸妈还天天催我复习。我该怎么办？",
    "和室友因为打扫卫生吵了一架，现在宿舍里谁也不理谁，我觉得很委屈。",
    "刚刚分手三个月，前男友已经有了新的女朋友，我每天晚上都在翻他的朋友圈。",
)
_REPLY = "听起来这段时间你过得不容易，谢谢你愿意说出来。"


def exercise_4(hack: Callable[[Item, list[Item], np.random.Generator], str]) -> str | None:
    """A hack of the reader's own: of the post's words, not a copy, and another for each post."""
    items = [Item(id=f"e{n}", question=post, answers=[Answer(text=_REPLY)]) for n, post in enumerate(_POSTS)]
    made = [hack(item, items, np.random.default_rng(n)) for n, item in enumerate(items)]
    if untried(*made):
        return UNTRIED
    if not all(isinstance(each, str) and each.strip() for each in made):
        return f"a hack returns a text; yours returned {made[0]!r}"
    for item, reply in zip(items, made, strict=True):
        if reply.strip() == _REPLY:
            return "that is the reference itself, which helps; a hack must not"
        if (rate := copy_rate(reply, item.question)) >= 0.1:
            return f"it copies the post ({rate:.0%} of its 8-grams), which the suite has and the guard stops"
    if len(set(made)) == 1:
        return "it says the same to every post: that is 'generic comfort', which the suite has. Use the post"
    for item, reply in zip(items, made, strict=True):
        words = extract_tags(item.question, topK=8)
        if sum(word in reply for word in words) < 2:
            return (
                f"it hardly touches the post: name at least two of its words, such as {'、'.join(words[:4])}"
            )
        letters = sum(character.isalnum() for character in reply)
        if sum(len(word) for word in words if word in reply) > 0.8 * letters:
            return "it is a list of the post's words: that is 'keyword stuffing', which the suite has"
    return None
