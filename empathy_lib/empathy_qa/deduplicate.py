"""When two texts are one: normal form, character 5-gram Jaccard, and near-duplicate pairs in a large set.

Knows: texts. Does not know: items, or what is done with a duplicate (``cleaning`` merges it, ``split`` keeps it together).
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Sequence
from functools import lru_cache

from datasketch import LeanMinHash, MinHash, MinHashLSH

NGRAM = 5
_MARKS = re.compile(r"[\W_]+")
_PERMUTATIONS = 128
_EMPTY = MinHash(num_perm=_PERMUTATIONS, seed=1, hashfunc=zlib.crc32)  # copied, since drawing the permutations is slow; SHA-1 would be too
_CANDIDATE_MARGIN = 0.1  # candidates are sought below the threshold, because MinHash only estimates the Jaccard index


def normalise(text: str) -> str:
    """NFKC, case-folded, letters and digits only; a text without any (e.g. "……") keeps its characters."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _MARKS.sub("", folded) or folded.strip()


def shingles(text: str) -> frozenset[str]:
    """The set of character 5-grams of the normal form; a shorter text is its own only 5-gram."""
    plain = normalise(text)
    return frozenset(plain[i : i + NGRAM] for i in range(max(1, len(plain) - NGRAM + 1)))


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """Size of the intersection over size of the union, in [0, 1]; two empty sets are equal (1)."""
    union = len(a | b)
    return len(a & b) / union if union else 1.0


@lru_cache
def _bands(threshold: float) -> tuple[int, int]:
    """Bands and rows of the hash tables, weighing a missed pair nine times a needless candidate; kept, since finding them is slow."""
    index = MinHashLSH(threshold=max(0.05, threshold - _CANDIDATE_MARGIN), num_perm=_PERMUTATIONS, weights=(0.1, 0.9))
    return index.b, index.r


@lru_cache(maxsize=100_000)  # cleaning, splitting and the leakage report ask for the same posts; a signature takes about 1 KB
def _minhash(text: str) -> LeanMinHash:
    minhash = _EMPTY.copy()
    minhash.update_batch([gram.encode() for gram in shingles(text)])
    return LeanMinHash(minhash)


def near_duplicate_pairs(texts: Sequence[str], threshold: float) -> list[tuple[int, int, float]]:
    """All pairs ``(i, j, jaccard)``, i < j, whose 5-gram Jaccard index is at least ``threshold``, ordered by (j, i).

    MinHash-LSH (Broder 1997; Indyk & Motwani 1998) proposes pairs, the exact index decides. So every pair returned is
    right; one close to the threshold may, with a small probability, be missed.

    Args:
        texts: N texts.
        threshold: in (0, 1].
    """
    index = MinHashLSH(num_perm=_PERMUTATIONS, params=_bands(threshold))
    pairs: list[tuple[int, int, float]] = []
    for j, text in enumerate(texts):
        minhash = _minhash(text)
        if candidates := sorted(index.query(minhash)):
            grams = shingles(text)
            similar = ((i, jaccard(shingles(texts[i]), grams)) for i in candidates)
            pairs += [(i, j, similarity) for i, similarity in similar if similarity >= threshold]
        index.insert(j, minhash)
    return pairs


def compare_all(texts: Sequence[str], threshold: float) -> list[tuple[int, int, float]]:
    """What :func:`near_duplicate_pairs` seeks, found by comparing all N (N - 1) / 2 pairs: exact and slow, to measure the search by."""
    grams = [shingles(text) for text in texts]
    compared = ((i, j, jaccard(grams[i], grams[j])) for j in range(len(texts)) for i in range(j))
    return [pair for pair in compared if pair[2] >= threshold]
