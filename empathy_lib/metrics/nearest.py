"""Which of many known causes, or beliefs, does a text come nearest to?

Knows: the tf-idf cosine of character bigrams with a cause's sentence or its gist, whichever is higher. Does
not know: meaning. A text in words of its own may be nearest to none, or to a wrong one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from functools import cached_property
from typing import NamedTuple

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

_NOT_TEXT = re.compile(r"[\W_]+")


def squeezed(text: str) -> str:
    """Letters, digits and characters alone: a mark between two of them hides nothing."""
    return _NOT_TEXT.sub("", text)


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

    def cosines(self, text: str) -> np.ndarray:
        """Cosine of the text and each candidate, in [0, 1]."""
        if text not in self._known:
            vectorizer, sentences, gists = self._fitted
            row = vectorizer.transform([squeezed(text)])
            self._known[text] = np.maximum((row @ sentences).toarray(), (row @ gists).toarray())[0]
        return self._known[text]

    def identifies(self, text: str, gist: str) -> tuple[float, float]:
        """1.0 or 0.0: is ``text`` nearer to the candidate of this gist than to any other, of all, and of its
        sub-topic?

        A text with nothing in common, or as near to another, identifies nothing. NaN for a gist of no
        candidate, and within a sub-topic that is not known.
        """
        if (place := self._place.get(gist)) is None:
            return math.nan, math.nan
        cosines, own = self.cosines(text), self._subtopics == self._subtopics[place]
        nearest = cosines > cosines[place] - 1e-9  # itself among them
        within = float(cosines[place] > 0 and (nearest & own).sum() == 1)
        return float(cosines[place] > 0 and nearest.sum() == 1), (
            within if self._subtopics[place] else math.nan
        )

    def chance(self, gist: str) -> tuple[float, float]:
        """What a candidate drawn at random would score: of all, and of the sub-topic; NaN as above."""
        if (place := self._place.get(gist)) is None:
            return math.nan, math.nan
        size = (self._subtopics == self._subtopics[place]).sum()
        return 1 / len(self.candidates), float(1 / size) if self._subtopics[place] else math.nan
