"""Retrieval baseline: answer a post with what a similar training post was answered.

Knows: BM25 over the words of training posts. Does not know: embeddings, generation, evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from rank_bm25 import BM25Okapi

from empathy_lib.core.errors import UserError
from empathy_lib.core.schema import Item
from empathy_lib.core.segment import Segmenter


@dataclass(frozen=True)
class Hit:
    """The training item that came out best, its first answer, and the BM25 score (0: no word in common)."""

    answer: str
    item_id: str
    score: float


class Bm25Retriever:
    """Okapi BM25 (k1 = 1.5, b = 0.75, the library's defaults) over the questions of ``items``.

    Raises:
        UserError: no item has both a question with words and an answer.
    """

    def __init__(self, items: Sequence[Item], segmenter: Segmenter | None = None) -> None:
        self.segmenter = segmenter or Segmenter("word")
        words = [self.segmenter.tokenize(item.question) for item in items]
        kept = [(item, tokens) for item, tokens in zip(items, words, strict=True) if tokens and item.answers]
        if not kept:
            raise UserError(
                "BM25 retrieval: no training item has a question and an answer; run notebook 01 with more "
                "questions"
            )
        self.items = [item for item, _ in kept]
        self._index = BM25Okapi([tokens for _, tokens in kept])

    def retrieve(self, question: str) -> Hit:
        """The best item's first answer; the earliest of equals, so that the result is the same everywhere."""
        scores = self._index.get_scores(self.segmenter.tokenize(question))
        best = int(np.argmax(scores))
        return Hit(self.items[best].answers[0].text, self.items[best].id, float(scores[best]))

    def nearest(self, question: str, allowed: Callable[[Item], bool]) -> Item | None:
        """The best item that is ``allowed``, the earliest of equals; None where no item is."""
        scores = self._index.get_scores(self.segmenter.tokenize(question))
        ranked = (self.items[place] for place in np.argsort(-scores, kind="stable"))
        return next((item for item in ranked if allowed(item)), None)

    def answers(self, questions: Sequence[str]) -> list[str]:
        """One retrieved answer per question."""
        return [self.retrieve(question).answer for question in questions]
