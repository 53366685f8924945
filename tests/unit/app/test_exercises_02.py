"""Each exercise of notebook 02: the right answer passes, the starter is not tried, a wrong turn has its own
sentence."""

import re

import numpy as np
import pytest

from empathy_lib.app.exercises import verdict
from empathy_lib.core import coe
from empathy_lib.core.copying import longest_shared_run


def labels(prompt, completion, end):
    return [-100] * len(prompt) + completion + [end]


def loss(nll, mask):
    return (nll * mask).sum() / mask.sum()


def run_of(answer, training):
    return max((longest_shared_run(answer, text) for text in training), key=len)


def joined_run(answer, training):
    return longest_shared_run(answer, "".join(training))


def subsequence(answer, training):
    best = ""
    for text in training:
        kept, at = "", 0
        for char in answer:  # greedy is enough for these short texts
            if (place := text.find(char, at)) >= 0:
                kept, at = kept + char, place + 1
        best = max(best, kept, key=len)
    return best


TAGS = [f"<{end}L{n}>" for n in (1, 2, 3, 4) for end in ("", "/")]
LAYERS = "".join(rf"<L{n}>\s*\w.*?</L{n}>\s*" for n in (1, 2, 3, 4))
PATTERN = rf"\s*<empathy_think>\s*{LAYERS}</empathy_think>\s*<answer>(.*?\w.*?)</answer>\s*"


def by_pattern(text, flags=re.DOTALL):
    return re.fullmatch(PATTERN, text, flags) and all(text.count(tag) == 1 for tag in TAGS)


RIGHT = {
    "02.1": (labels,),
    "02.2": (loss,),
    "02.3": (coe.is_well_formed,),
    "02.4": (run_of,),
    "02.5": (lambda shapes, r: sum(r * (i + o) for i, o in shapes),),
}
STARTERS = {
    "02.1": lambda prompt, completion, end: ...,
    "02.2": lambda nll, mask: ...,
    "02.3": lambda text: ...,
    "02.4": lambda answer, training: ...,
    "02.5": lambda shapes, r: ...,
}
WRONG = [
    ("02.1", lambda p, c, e: p + c + [e], "the prompt carries loss; its labels are -100"),
    ("02.1", lambda p, c, e: p + c, "the prompt carries loss, and the end token is missing"),
    ("02.1", lambda p, c, e: labels(p, c, e)[:-1], "the end token is missing"),
    ("02.1", lambda p, c, e: labels(p, c, -100), "the end token carries no loss"),
    ("02.1", lambda p, c, e: [0] * len(p) + c + [e], "0 is the id of a token"),
    ("02.1", lambda p, c, e: c + [e], "as many as input ids"),
    ("02.1", lambda p, c, e: labels(p, c, e)[1:] + [-100], "do not shift"),
    ("02.1", lambda p, c, e: p + [-100] * (len(c) + 1), "masked the completion"),
    ("02.1", lambda p, c, e: [7], "1 labels for 8 ids"),
    ("02.2", lambda nll, mask: nll.mean(), "prompt and padding are in your mean"),
    ("02.2", lambda nll, mask: (nll * mask).sum(), "that is the sum"),
    ("02.2", lambda nll, mask: ((nll * mask).sum(1) / mask.sum(1)).mean(), "mean of the pairs' means"),
    ("02.2", lambda nll, mask: (nll * mask).mean(), "all places, masked ones too"),
    ("02.2", lambda nll, mask: (nll * mask).sum() / len(nll), "the number of pairs"),
    ("02.2", lambda nll, mask: nll.sum() / mask.sum(), "above and below the line"),
    ("02.2", lambda nll, mask: nll[mask == 0].mean(), "the wrong way round"),
    ("02.2", lambda nll, mask: -loss(nll, mask), "mind the sign"),
    ("02.2", lambda nll, mask: (nll * mask).sum(1), "one number is asked"),
    ("02.2", lambda nll, mask: 1.0, "you give 1.000; the sum over completion tokens is"),
    ("02.3", lambda text: True, "you accept an empty text"),
    ("02.3", lambda text: False, "you refuse a completion that is well-formed"),
    ("02.3", lambda text: "<answer>" in text, "you accept layers out of order"),
    ("02.3", lambda text: by_pattern(text, 0), "`.` needs re.DOTALL"),
    ("02.3", lambda text: not coe.validate(text.strip("谢")), "you accept words behind the answer"),
    ("02.3", lambda text: re.fullmatch(PATTERN.replace(r"\w", "."), text, re.S), "stands there twice"),
    ("02.4", joined_run, "crosses two training answers"),
    ("02.4", subsequence, "is a subsequence"),
    ("02.4", lambda answer, training: len(run_of(answer, training)), "return the run itself"),
    ("02.4", lambda answer, training: answer[:1], "is longer"),
    ("02.4", lambda answer, training: "别的话", "does not stand in the answer"),
    ("02.4", lambda answer, training: [run_of(answer, training)], "return a text"),
    ("02.5", lambda shapes, r: sum(r * i * o for i, o in shapes), "add them, do not multiply"),
    ("02.5", lambda shapes, r: sum(i * o for i, o in shapes), "the frozen weights themselves"),
    ("02.5", lambda shapes, r: sum(i * o + r * (i + o) for i, o in shapes), "count the frozen weights too"),
    ("02.5", lambda shapes, r: sum(r * i for i, o in shapes), "you count A alone"),
    ("02.5", lambda shapes, r: sum(r * o for i, o in shapes), "you count B alone"),
    ("02.5", lambda shapes, r: sum(i + o for i, o in shapes), "the rank is missing"),
    ("02.5", lambda shapes, r: r * sum(shapes[0]), "the first layer alone"),
    ("02.5", lambda shapes, r: [r * (i + o) for i, o in shapes], "one number for all layers"),
    ("02.5", lambda shapes, r: 7, "you give 7; add"),
]


@pytest.mark.parametrize("exercise", RIGHT)
def test_the_right_answer_passes_and_the_starter_is_not_tried(exercise):
    assert verdict(exercise, *RIGHT[exercise]) is None
    assert verdict(exercise, STARTERS[exercise]).startswith("not tried yet")


@pytest.mark.parametrize(("exercise", "answer", "sentence"), WRONG)
def test_a_wrong_turn_is_told_what_is_wrong_with_it(exercise, answer, sentence):
    assert sentence in verdict(exercise, answer)


def test_any_of_several_longest_runs_is_right():
    def last(answer, training):
        runs = (run_of(answer[start:], training) for start in reversed(range(len(answer))))
        return max(runs, key=len)

    assert verdict("02.4", last) is None


def test_labels_may_come_as_an_array():
    assert verdict("02.1", lambda p, c, e: np.array(labels(p, c, e))) is None
