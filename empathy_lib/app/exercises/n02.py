"""Exercises of notebook 02: labels, a batch's loss, the grammar, the longest shared run, LoRA in numbers.

Knows: what is asked, and the wrong turns that are usual. Does not know: how a verdict is said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from empathy_lib.app.exercises.slips import UNTRIED, untried
from empathy_lib.core.coe import is_well_formed
from empathy_lib.core.copying import longest_shared_run

_PROMPT, _COMPLETION, _END = [2, 11, 12, 13], [21, 22, 23], 1
_IGNORED = [-100] * len(_PROMPT)


def exercise_1(mine: Callable[[list[int], list[int], int], Sequence[int]]) -> str | None:
    """The labels of one pair from its prompt's ids, its completion's ids and the id of the end token."""
    found = mine(list(_PROMPT), list(_COMPLETION), _END)
    if untried(found):
        return UNTRIED
    labels = [int(label) for label in found]
    wrong = {
        (*_PROMPT, *_COMPLETION, _END): "the prompt carries loss; its labels are -100",
        (*_PROMPT, *_COMPLETION): "the prompt carries loss, and the end token is missing",
        (*_IGNORED, *_COMPLETION): "the end token is missing: the policy would never learn to stop",
        (
            *_IGNORED,
            *_COMPLETION,
            -100,
        ): "the end token carries no loss: the policy would never learn to stop",
        (*[0] * len(_PROMPT), *_COMPLETION, _END): "0 is the id of a token; what carries no loss is -100",
        (
            *_COMPLETION,
            _END,
        ): "labels are as many as input ids: the prompt needs one -100 for each of its tokens",
        (*_IGNORED[1:], *_COMPLETION, _END, -100): "do not shift the labels: the model does that itself",
        (*_IGNORED[1:], *_COMPLETION, _END): "do not shift the labels: the model does that itself",
        (*_PROMPT, *[-100] * (len(_COMPLETION) + 1)): "you have masked the completion, not the prompt",
    }
    if tuple(labels) == (*_IGNORED, *_COMPLETION, _END):
        return None
    count = len(_PROMPT) + len(_COMPLETION) + 1
    length = f"{len(labels)} labels for {count} ids" if len(labels) != count else f"you give {labels}"
    return wrong.get(
        tuple(labels), f"{length}; for the prompt {_PROMPT} -100 each, then {_COMPLETION}, then the end"
    )


_NLL = np.array([[9.0, 8.0, 1.0, 2.0, 3.0, 2.0], [7.0, 5.0, 4.0, 0.0, 0.0, 0.0]])
_MASK = np.array([[0, 0, 1, 1, 1, 1], [0, 1, 1, 0, 0, 0]])


def exercise_2(mine: Callable[[np.ndarray, np.ndarray], float]) -> str | None:
    """The loss of a padded batch from the tokens' negative log-probabilities and the mask."""
    found = mine(_NLL.copy(), _MASK.copy())
    if untried(found):
        return UNTRIED
    if np.size(found) != 1:
        return f"one number is asked for the whole batch; you give {np.size(found)}"
    kept, tokens = _NLL * _MASK, _MASK.sum()
    wrong = {
        "prompt and padding are in your mean: use the mask": _NLL.mean(),
        "that is the sum; divide it by the number of completion tokens": kept.sum(),
        "that is the mean of the pairs' means, in which a short pair's token counts for more; "
        "divide all by all tokens": (kept.sum(axis=1) / _MASK.sum(axis=1)).mean(),
        "you divide by all places, masked ones too": kept.mean(),
        "you divide by the number of pairs; divide by the number of completion tokens": kept.sum() / 2,
        "the prompt is in your sum: use the mask above and below the line": _NLL.sum() / tokens,
        "these are prompt and padding: you have the mask the wrong way round": (
            (_NLL * (1 - _MASK)).sum() / (1 - _MASK).sum()
        ),
        "a loss is above 0: mind the sign": -kept.sum() / tokens,
    }
    value = float(np.asarray(found).reshape(()))
    if np.isclose(value, kept.sum() / tokens):
        return None
    for sentence, other in wrong.items():
        if np.isclose(value, other):
            return sentence
    return f"you give {value:.3f}; the sum over completion tokens is {kept.sum():g}, and there are {tokens}"


def _chain(
    *, order: str = "1234", gap: str = "", layer: str = "累", tail: str = "", answer: str = "好"
) -> str:
    layers = gap.join(f"<L{n}>{layer}</L{n}>" for n in order)
    body = f"<empathy_think>{gap}{layers}{gap}</empathy_think>{gap}"
    return f"{body}<answer>{answer}</answer>{tail}"


# A completion, and what it says of a function that judges it wrongly.
_GRAMMAR = (
    (_chain(), "you refuse a completion that is well-formed"),
    ("", "you accept an empty text"),
    ("我很累。", "you accept a text without any tag"),
    (_chain(order="1243"), "you accept layers out of order: L4 before L3"),
    (_chain(order="124"), "you accept a chain without L3"),
    (_chain(order="12334"), "you accept a layer that stands there twice"),
    (_chain().removesuffix("</answer>"), "you accept an answer that is never closed"),
    (_chain(layer="  "), "you accept layers that hold only spaces"),
    (_chain(layer="……"), "you accept layers that hold only marks: a layer needs a letter or a digit"),
    (_chain(tail="谢谢"), "you accept words behind the answer"),
    ("好的。" + _chain(), "you accept words before the chain"),
    (_chain(gap="随便"), "you accept words between two layers"),
    (_chain(gap="\n"), "you refuse line breaks between tags, which are free"),
    (_chain(layer="第一行\n第二行"), "you refuse a line break within a layer: `.` needs re.DOTALL"),
    (_chain(answer="我<L1>懂</L1>你"), "you accept a tag of the grammar within the answer"),
)


def exercise_3(mine: Callable[[str], bool]) -> str | None:
    """Whether a completion follows the grammar of the chain."""
    found = [mine(text) for text, _ in _GRAMMAR]
    if all(map(untried, found)):
        # a regular expression's match is None where there is none, so only None everywhere is untried
        return UNTRIED
    for value, (text, sentence) in zip(found, _GRAMMAR, strict=True):
        if bool(value) != is_well_formed(text):
            return f"{sentence}: {text[:80]!r}"
    return None


_TRAINING = ("我懂你今天天", "气很好，别难过，慢慢来", "抱抱你呀")
_ANSWERS = ("今天天气很好，慢慢来", "抱你呀", "别慌，慢慢来", "喵")


def _common_subsequence(answer: str, corpus: str) -> int:
    row = [0] * (len(corpus) + 1)
    for a in answer:
        row = _next_row(row, a, corpus)
    return row[-1]


def _next_row(row: list[int], a: str, corpus: str) -> list[int]:
    new = [0]
    for j, b in enumerate(corpus):
        new.append(row[j] + 1 if a == b else max(row[j + 1], new[j]))
    return new


def exercise_4(mine: Callable[[str, Sequence[str]], str]) -> str | None:
    """The longest run of characters of an answer that stands in one of the training answers."""
    found = [mine(answer, list(_TRAINING)) for answer in _ANSWERS]
    if untried(*found):
        return UNTRIED
    if any(isinstance(value, Integral) for value in found):
        return "return the run itself; its length is len(run)"
    if not all(isinstance(value, str) for value in found):
        return f"return a text, not {type(found[0]).__name__}"
    right = [longest_shared_run(answer, "\n".join(_TRAINING)) for answer in _ANSWERS]
    joined = [longest_shared_run(answer, "".join(_TRAINING)) for answer in _ANSWERS]
    if [len(run) for run in found] == [len(run) for run in right] and all(map(_stands, found, _ANSWERS)):
        return None
    if found == joined:
        return f"your run {found[0]!r} crosses two training answers: look at each of them alone"
    lengths = [max(_common_subsequence(answer, text) for text in _TRAINING) for answer in _ANSWERS]
    if [len(run) for run in found] == lengths:
        return f"{found[0]!r} is a subsequence: the characters of a run stand next to each other"
    for run, best, answer in zip(found, right, _ANSWERS, strict=True):
        if run and not _stands(run, answer):
            return f"{run!r} does not stand in the answer {answer!r} and in one training answer"
        if len(run) < len(best):
            return f"for {answer!r} you give {run!r}; {best!r} is longer"
    return None


def _stands(run: str, answer: str) -> bool:
    return run in answer and any(run in text for text in _TRAINING)


_SHAPES = ((640, 1024), (640, 256), (2048, 640))


def exercise_5(mine: Callable[[Sequence[tuple[int, int]], int], Any]) -> str | None:
    """How many weights LoRA trains beside linear layers of the shapes ``(in, out)``."""
    rank = 8
    found = mine(list(_SHAPES), rank)
    if untried(found):
        return UNTRIED
    if not isinstance(found, Real):
        return f"give one number for all layers, not {type(found).__name__}"
    inner, outer = sum(i for i, _ in _SHAPES), sum(o for _, o in _SHAPES)
    full = sum(i * o for i, o in _SHAPES)
    wrong = {
        full: "these are the frozen weights themselves",
        rank * full: "A has r · in entries and B has out · r: add them, do not multiply in by out",
        rank * inner: "you count A alone; B has out · r entries",
        rank * outer: "you count B alone; A has r · in entries",
        inner + outer: "the rank is missing",
        full + rank * (inner + outer): "you count the frozen weights too; only A and B are trained",
        rank * (_SHAPES[0][0] + _SHAPES[0][1]): "you count the first layer alone",
        rank * (_SHAPES[-1][0] + _SHAPES[-1][1]): "you count the last layer alone",
        rank * rank * (inner + outer): "the rank stands once in A and once in B: r · in + out · r",
    }
    if found == rank * (inner + outer):
        return None
    return wrong.get(
        found, f"for the layers {list(_SHAPES)} and r = {rank} you give {found:g}; add r · in + out · r"
    )
