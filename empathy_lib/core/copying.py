"""How much of an answer is copied: from the post it answers, or from the training answers.

Knows: copy rate and the removal of copied spans, by character n-grams; the longest run shared with a corpus.
Does not know: which rate is too high (the reward's ``copy_guard``, the reference values of notebooks 02 and
05).

A copied span is a run of at least ``n`` letters and digits that stands in the post in that order. Only they
are compared, in one width and case: white space, punctuation, emoji and characters without width are looked
through on both sides, so a mark after every seventh character does not hide a copy. The length of 8 is our
choice: posts and honest answers share single words and short phrases, seldom eight characters in a row.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence

import pandas as pd

from empathy_lib.core.text import jaccard, shingles

COPY_NGRAM = 8


@functools.cache
def _letters(char: str) -> str:
    """The letters and digits that a character stands for: none for a mark, "a" for a full-width "Ａ"."""
    plain = unicodedata.normalize("NFKC", char).casefold()
    # tone marks and the Hangul fillers, which nobody sees, count as letters in Unicode
    return "".join(
        c for c in plain if c.isalnum() and unicodedata.category(c) != "Lm" and c not in "\u115f\u1160"
    )


def _squeezed(text: str) -> tuple[str, list[int]]:
    """Letters and digits of a text, and the place of each in it."""
    found = [(letter, place) for place, char in enumerate(text) for letter in _letters(char)]
    return "".join(letter for letter, _ in found), [place for _, place in found]


def has_letters(text: str) -> bool:
    """Whether a text says anything: a letter or digit stands in it."""
    return any(map(_letters, text))


def _copied_starts(answer: str, question: str, n: int) -> list[bool]:
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    grams = {question[start : start + n] for start in range(len(question) - n + 1)}
    return [answer[start : start + n] in grams for start in range(len(answer) - n + 1)]


def copy_rate(answer: str, question: str, n: int = COPY_NGRAM) -> float:
    """Share of the answer's ``n``-grams of letters and digits that stand in the post.

    Returns:
        A float in [0, 1]; 1.0 for a copy of the post, 0.0 for an answer of fewer than ``n`` letters.

    Raises:
        ValueError: ``n`` is below 1.
    """
    starts = _copied_starts(_squeezed(answer)[0], _squeezed(question)[0], n)
    return sum(starts) / len(starts) if starts else 0.0


def mask_copied_spans(answer: str, question: str, n: int = COPY_NGRAM) -> str:
    """The answer with every copied span taken out, until none is left: ``copy_rate`` of the result is 0.

    Marks within a span and those that end it go with it; where no letter is left, nothing is. Repeated
    because what remains is joined, and pieces of the post spread around a copied span would otherwise meet
    again.

    Raises:
        ValueError: ``n`` is below 1.
    """
    post = _squeezed(question)[0]
    while True:
        text, places = _squeezed(answer)
        starts = _copied_starts(text, post, n)
        if not any(starts):
            return answer
        ends = [*places[1:], len(answer)]  # a letter's span reaches to the next letter
        copied = {
            place
            for start, hit in enumerate(starts)
            if hit
            for place in range(places[start], max(ends[start + n - 1], places[start + n - 1] + 1))
        }
        answer = "".join(char for place, char in enumerate(answer) if place not in copied)
        if not has_letters(answer):
            return ""


def longest_shared_run(text: str, corpus: str) -> str:
    """The longest run of characters of ``text`` that stands in ``corpus`` (texts joined by a line break); the
    first of equals."""
    best = ""
    for start in range(len(text)):
        while start + len(best) < len(text) and text[start : start + len(best) + 1] in corpus:
            best = text[start : start + len(best) + 1]
    return best


def memorisation(answers: Sequence[str], training: Sequence[str]) -> pd.DataFrame:
    """How close each answer comes to the training answers.

    Returns:
        One row an answer: ``longest_run`` (characters), ``run_share`` (of the answer, 0 to 1), ``nearest``
            (5-gram Jaccard index of the
        nearest training answer, 0 to 1; 1 is a training answer word for word).
    """
    corpus, grams = "\n".join(training), [shingles(text) for text in training]
    rows = []
    for answer in answers:
        run, own = longest_shared_run(answer, corpus), shingles(answer)
        nearest = max((jaccard(own, other) for other in grams), default=0.0) if answer.strip() else 0.0
        rows.append(
            {"longest_run": len(run), "run_share": len(run) / max(1, len(answer)), "nearest": nearest}
        )
    return pd.DataFrame(rows, columns=["longest_run", "run_share", "nearest"])
