"""A second look beside the rules of the crisis gate: a small classifier over e5, for indirect words.

Knows: what it reads a text as, its weights' file (hash), how its answer joins that of the rules. Does not
know: how the weights were found (``tests/benchmarks/fit_crisis.py``), the patterns (``core.crisis``).

It only adds: nothing that the rules flag is taken back. It is a logistic regression over the mean token
vectors of two layers of e5 (the last layer is worse at this: it was trained for topics) and hashed n-grams
of characters. Without the wheel of e5 the rules serve alone, and a line says so. It stores no text. It learnt
from posts, so replies are left to the rules.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer

from empathy_lib.core.config import E5
from empathy_lib.core.crisis import FLAGGED, Screen, plain, screen
from empathy_lib.core.errors import UserError
from empathy_lib.models.encoder import BATCH, MAX_TOKENS, Encoder, load_encoder
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
        data = FILE.read_bytes()
        if (found := hashlib.sha256(data).hexdigest()) != SHA256:
            raise UserError(f"crisis weights {FILE.name}: SHA-256 is {found}, expected {SHA256}")
        with np.load(FILE, allow_pickle=False) as stored:
            self._dense, self._counts = (stored[name].astype(float) for name in ("dense", "ngrams"))
            self._bias, self.threshold = float(stored["bias"]), float(stored["threshold"])
        self._encoder = encoder

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """One a text, shape (n,); 0 for a text without a Chinese character, of which it learnt none."""
        read = [plain(text) for text in texts]
        logits = vectors(self._encoder, read) @ self._dense + ngrams(read) @ self._counts + self._bias
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


@torch.inference_mode()
def vectors(encoder: Encoder, texts: Sequence[str]) -> np.ndarray:
    """Mean token vectors of ``LAYERS``, side by side; shape (n, layers × width), float64. Unlike
    :meth:`Encoder.embed` it keeps no text."""
    made: list[np.ndarray] = [np.empty(0)] * len(texts)
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))  # a batch is alike in length
    for start in range(0, len(order), BATCH):
        places = order[start : start + BATCH]
        batch = encoder.tokenizer(
            [encoder.prefix + texts[place] for place in places],
            return_tensors="pt",
            padding=True,
            truncation=True,
            max_length=MAX_TOKENS,
        )
        batch.pop("token_type_ids", None)
        batch = batch.to(encoder.model.device)
        hidden = encoder.model(**batch, output_hidden_states=True).hidden_states
        mask = batch["attention_mask"][..., None].float()
        found = torch.cat([(hidden[layer] * mask).sum(1) / mask.sum(1) for layer in LAYERS], dim=1)
        for place, row in zip(places, found.double().cpu().numpy(), strict=True):
            made[place] = row
    return np.stack(made)


def ngrams(texts: Sequence[str]) -> sparse.csr_matrix:
    """Hashed counts of one to three characters at unit length; shape (n, ``BUCKETS``)."""
    hashing = HashingVectorizer(
        analyzer="char", ngram_range=(1, 3), n_features=BUCKETS, alternate_sign=False, norm="l2"
    )
    return hashing.transform(texts)
