"""How a wrong number is told apart: the slip that gives it, by name.

Knows: numbers. Does not know: any exercise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

UNTRIED = "not tried yet: replace the dots"


def untried(*answers: Any) -> bool:
    """Whether one of them is still the starter's: dots, or a function's missing ``return``."""
    return any(answer is None or answer is ... for answer in answers)


def wrong_number(found: Any, right: Any, slips: Sequence[tuple[Any, str]] = ()) -> str | None:
    """None if ``found`` is ``right`` up to rounding; else the sentence of the first slip whose value it has,
    or what was expected.

    Args:
        found: a number, or an array or tensor of any shape, of which there is one right value.
        slips: wrong values and what to say of each.
    """
    if untried(found):
        return UNTRIED
    values = np.asarray(found.detach() if hasattr(found, "detach") else found, dtype=float)
    due = np.asarray(right, dtype=float)
    if _equal(values, due):
        return None
    for value, sentence in slips:
        if _equal(values, np.asarray(value, dtype=float)):
            return sentence
    if values.shape != due.shape:
        return f"the shape is {values.shape}; it should be {due.shape}"
    if due.size < 2:
        return f"found {_said(values)}, where {_said(due)} is right"
    # one of them, so that the rest is left to find
    wrong = np.flatnonzero(~_close(values, due))
    first = wrong[0]
    return (
        f"{len(wrong)} of {due.size} numbers are wrong; at place {first} stands {_said(values.flat[first])}, "
        f"where {_said(due.flat[first])} is right"
    )


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool(_close(a, b).all())


def _close(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.isclose(a, b, rtol=1e-3, atol=1e-6, equal_nan=True)


def _said(values: np.ndarray) -> str:
    return str(values.round(3).tolist())
