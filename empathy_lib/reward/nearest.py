"""Which of many known causes, or beliefs, does a text come nearest to?

Knows: the tf-idf cosine of character bigrams with a cause's sentence or its gist, whichever is higher; which
texts list several, or are the post in another order. Does not know: meaning. A text in words of its own may
be nearest to none, or to a wrong one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer

_NOT_TEXT = re.compile(r"[\W_]+")
# From this share of the bigrams of its sentence or gist on a candidate is named. Of 2,532 gold chains none
# names a second cause of the sub-topic, and 7 a second belief.
NAMED_SHARE = 0.4
_KEPT = 4096  # texts whose cosines are remembered: a policy writes without end


def squeezed(text: str) -> str:
    """Letters, digits and characters alone: a mark between two of them hides nothing."""
    return _NOT_TEXT.sub("", text)


def bigrams(text: str) -> frozenset[str]:
    """Pairs of neighbouring letters; a single letter is its own pair."""
    text = squeezed(text)
    return frozenset(text[i : i + 2] for i in range(len(text) - 1)) or frozenset([text] if text else [])


class Candidate(NamedTuple):
    """``sentence``: how a post says it, empty if not known; ``gist``: how a label does; ``subtopic``: among
    which it is hardest to tell, empty if not known."""

    gist: str
    sentence: str = ""
    subtopic: str = ""


class Nearest:
    """Candidates of one kind, to be told apart; the first of equal gists counts."""

    def __init__(self, candidates: Iterable[Candidate] = ()) -> None:
        self.candidates = list({c.gist: c for c in reversed(list(candidates)) if squeezed(c.gist)}.values())
        self._place = {candidate.gist: place for place, candidate in enumerate(self.candidates)}
        self._subtopics = np.array([candidate.subtopic for candidate in self.candidates])
        self._known: dict[str, np.ndarray] = {}
        self._rows: dict[str, csr_matrix] = {}

    def identity(self) -> list[Candidate]:
        """What tells it from another: its candidates."""
        return self.candidates

    def knowing(self, gists: Iterable[str]) -> Nearest:
        """With these as candidates too, where they are none yet: a user's own labels."""
        new = [Candidate(gist) for gist in gists if squeezed(gist) and gist not in self._place]
        return Nearest([*self.candidates, *new]) if new else self

    @cached_property
    def _fitted(self) -> tuple:
        texts = [[squeezed(c.sentence) for c in self.candidates], [squeezed(c.gist) for c in self.candidates]]
        # a gist may be one character
        vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 2), binary=True)
        vectorizer.fit(texts[0] + texts[1])
        return vectorizer, *(vectorizer.transform(kind).T for kind in texts)

    def sentence(self, gist: str) -> str:
        """The sentence that a post says the candidate with; empty where it is not known."""
        return self.candidates[self._place[gist]].sentence if gist in self._place else ""

    def _row(self, text: str) -> csr_matrix:
        if text not in self._rows:
            if len(self._rows) >= _KEPT:
                self._rows.clear()
                self._known.clear()
            self._rows[text] = self._fitted[0].transform([squeezed(text)])
        return self._rows[text]

    def cosines(self, text: str) -> np.ndarray:
        """Cosine of the text and each candidate, in [0, 1]."""
        row = self._row(text)
        if text not in self._known:
            _, sentences, gists = self._fitted
            self._known[text] = np.maximum((row @ sentences).toarray(), (row @ gists).toarray())[0]
        return self._known[text]

    def likeness(self, text: str, other: str) -> float:
        """Cosine of two texts, in the words of the candidates, in [0, 1]."""
        return float((self._row(text) @ self._row(other).T).sum())

    def lists(self, text: str, gist: str) -> bool:
        """Whether the text also names another candidate of this one's sub-topic: so much of its sentence or
        gist stands there."""
        own = self.candidates[self._place[gist]]
        words = bigrams(text)
        others = (c for c in self.candidates if c.subtopic and c.subtopic == own.subtopic and c is not own)
        return any(
            len(words & wanted) >= NAMED_SHARE * len(wanted)
            for other in others
            for wanted in filter(None, (bigrams(other.sentence), bigrams(other.gist)))
        )

    def identifies(self, text: str, gist: str, rest: str | None = None) -> tuple[float, float]:
        """1.0 or 0.0: is ``text`` nearer to the candidate of this gist than to any other, of all, and of its
        sub-topic?

        A text with nothing in common, or as near to another, identifies nothing. Nor, where ``rest`` is
        given, what the post says beside (empty: not known), does one that is as near to that, or names
        another of the sub-topic too. NaN for a gist of no candidate, and within a sub-topic that is not
        known.
        """
        if (place := self._place.get(gist)) is None:
            return math.nan, math.nan
        cosines, own = self.cosines(text), self._subtopics == self._subtopics[place]
        nearest = cosines > cosines[place] - 1e-9  # itself among them
        told = cosines[place] > 0 and (nearest & own).sum() == 1
        if told and rest is not None:
            told = not self.lists(text, gist) and self.likeness(text, rest) < cosines[place]
        return float(told and nearest.sum() == 1), float(told) if self._subtopics[place] else math.nan

    def chance(self, gist: str) -> tuple[float, float]:
        """What a candidate drawn at random would score: of all, and of the sub-topic; NaN as above."""
        if (place := self._place.get(gist)) is None:
            return math.nan, math.nan
        size = (self._subtopics == self._subtopics[place]).sum()
        return 1 / len(self.candidates), float(1 / size) if self._subtopics[place] else math.nan
