"""A second look beside the rules of the crisis gate: a small classifier over e5, for indirect words.

Knows: what it reads a text as, its weights' file (hash), how its answer joins that of the rules. Does not
know: how the weights were found (``tests/benchmarks/fit_crisis.py``), the patterns (``core.crisis``).

It only adds: nothing that the rules flag is taken back. It is a logistic regression over the mean token
vectors of two layers of e5 (the last layer is worse at this: it was trained for topics) and hashed n-grams
of characters. Without the wheel of e5 the rules serve alone, and a line says so. It stores no text. It learnt
from posts, so replies are left to the rules.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer

from empathy_lib.core.config import E5
from empathy_lib.core.crisis import FLAGGED, Screen, plain, screen
from empathy_lib.core.files import read_pinned
from empathy_lib.models.encoder import Encoder, load_encoder
from empathy_lib.models.wheel import NotInstalledError

FILE = Path(__file__).parent / "crisis_weights.npz"
SHA256 = "3566007489203f0835f9b4375693534145b9acbb0a27db0a925447816048c3a1"
RULE = "classifier"  # its name among a screen's rules
LAYERS = (7, 9)  # of e5's twelve
BUCKETS = 2**14  # of hashed n-grams
_CHINESE = re.compile("[\u4e00-\u9fff]")


class Classifier:
    """Probabilities of danger to life, as far as texts like those it learnt from go.

    Args:
        encoder: e5.

    Raises:
        UserError: the file of weights is not the pinned one.
    """

    def __init__(self, encoder: Encoder) -> None:
        data = read_pinned(FILE, SHA256, "crisis weights")
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            self._dense, self._counts = (stored[name].astype(float) for name in ("dense", "ngrams"))
            self._bias, self.threshold = float(stored["bias"]), float(stored["threshold"])
        self._encoder = encoder

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """One a text, shape (n,); 0 for a text without a Chinese character, of which it learnt none."""
        read = [plain(text) for text in texts]
        dense = self._encoder.layer_means(read, LAYERS)
        logits = dense @ self._dense + ngrams(read) @ self._counts + self._bias
        return np.where([bool(_CHINESE.search(text)) for text in read], 1 / (1 + np.exp(-logits)), 0.0)

    def screen(self, text: str) -> Screen:
        """What the rules find; a text that they do not flag and this does is of level 2, by the rule
        "classifier", without a category or a span."""
        found = screen(text)
        if found.flagged or self.probabilities([text])[0] < self.threshold:
            return found
        return replace(found, level=FLAGGED, rules=(*found.rules, RULE))


def gate() -> Callable[[str], Screen]:
    """Rules and classifier, or the rules alone where e5's wheel is missing, which a line says.

    Raises:
        UserError: wheel or weights are there but not what they should be.
    """
    try:
        return Classifier(load_encoder(E5)).screen
    except NotInstalledError as error:
        print(f"crisis gate: rules alone, no classifier ({error})")
        return screen


def ngrams(texts: Sequence[str]) -> sparse.csr_matrix:
    """Hashed counts of one to three characters at unit length; shape (n, ``BUCKETS``)."""
    hashing = HashingVectorizer(
        analyzer="char", ngram_range=(1, 3), n_features=BUCKETS, alternate_sign=False, norm="l2"
    )
    return hashing.transform(texts)
