"""How much of an answer is copied: from the post it answers, or from the training answers.

Knows: copy rate and the removal of copied spans, by character n-grams; the longest run shared with a corpus.
Does not know: which rate is too high (the reward's ``copy_guard``, the reference values of notebooks 02 and
05).

A copied span is a run of at least ``n`` characters that stands in the post as it is. White space is ignored
on both sides, so a line break added to a copy does not hide it. The length of 8 characters is our choice:
posts and honest answers share single words and short phrases, seldom eight characters in a row.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from empathy_lib.core.text import jaccard, shingles

COPY_NGRAM = 8


def _squeezed(text: str) -> tuple[str, list[int]]:
    places = [place for place, char in enumerate(text) if not char.isspace()]
    return "".join(text[place] for place in places), places


def _copied_starts(answer: str, question: str, n: int) -> list[bool]:
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    grams = {question[start : start + n] for start in range(len(question) - n + 1)}
    return [answer[start : start + n] in grams for start in range(len(answer) - n + 1)]


def copy_rate(answer: str, question: str, n: int = COPY_NGRAM) -> float:
    """Share of the answer's character ``n``-grams that stand in the post.

    Returns:
        A float in [0, 1]; 1.0 for a copy of the post, 0.0 for an answer of fewer than ``n`` characters.

    Raises:
        ValueError: ``n`` is below 1.
    """
    starts = _copied_starts(_squeezed(answer)[0], _squeezed(question)[0], n)
    return sum(starts) / len(starts) if starts else 0.0


def mask_copied_spans(answer: str, question: str, n: int = COPY_NGRAM) -> str:
    """The answer with every copied span taken out, until none is left: ``copy_rate`` of the result is 0.

    Repeated because what remains is joined, and pieces of the post spread around a copied span would
    otherwise meet again.

    Raises:
        ValueError: ``n`` is below 1.
    """
    post = _squeezed(question)[0]
    while True:
        text, places = _squeezed(answer)
        starts = _copied_starts(text, post, n)
        if not any(starts):
            return answer
        copied = {
            place
            for start, hit in enumerate(starts)
            if hit
            for place in range(places[start], places[start + n - 1] + 1)
        }
        answer = "".join(char for place, char in enumerate(answer) if place not in copied)


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
