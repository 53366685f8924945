"""Checks of the notebooks' exercises: whether an answer is right and, if not, what is wrong with it.

Knows: how a check is found and said. Does not know: any exercise; those of notebook 03 stand in ``n03``.

A check is a function ``exercise_1`` of the notebook's module. It takes what the reader made and returns a
sentence that says what is wrong, or None.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from empathy_lib.app.exercises.slips import UNTRIED, untried


def verdict(exercise: str, *answer: Any) -> str | None:
    """What is wrong with the answer to an exercise such as ``"03.1"``; None if nothing is."""
    notebook, number = exercise.split(".")
    if untried(*answer):
        return UNTRIED
    return getattr(import_module(f"{__name__}.n{notebook}"), f"exercise_{number}")(*answer)


def check(exercise: str, *answer: Any) -> None:
    """Print the verdict; an error of the answer's own is part of it, so that a notebook runs on."""
    try:
        wrong = verdict(exercise, *answer)
    except Exception as error:  # a reader's code may raise anything
        wrong = f"your code raises {type(error).__name__}: {error}"
    if wrong and wrong != UNTRIED:
        wrong = f"not yet: {wrong}"
    print(f"exercise {exercise}: {wrong or 'right'}")


def require(exercise: str, *answer: Any) -> None:
    """For the solutions: raise where :func:`check` would say "not yet"."""
    if wrong := verdict(exercise, *answer):
        raise AssertionError(f"exercise {exercise}: {wrong}")
    print(f"exercise {exercise}: right")
