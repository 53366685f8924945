"""When two texts are one: normal form and its fingerprint, character 5-gram Jaccard, and near-duplicate pairs
in a large set.

Knows: texts. Does not know: items, or what is done with a duplicate (``cleaning`` merges it, ``split`` keeps
it together).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache

import numpy as np
from datasketch import MinHash, MinHashLSH
from numpy.lib.stride_tricks import sliding_window_view

from empathy_lib.core.text import NGRAM, jaccard, normalise, shingles

PERMUTATIONS = 128
# copied, since drawing the permutations is slow; given hashes, not texts
_EMPTY = MinHash(num_perm=PERMUTATIONS, seed=1, hashfunc=int)
_CANDIDATE_MARGIN = (
    0.2  # candidates are sought below the threshold, because MinHash only estimates the Jaccard index
)
_KEPT = 4_096  # texts whose hashed 5-grams are kept for the next comparison
_TOGETHER = 4_096  # candidates whose signatures, a kilobyte a pair, are compared at once
# multipliers of hashes
_ODD = np.random.default_rng(1).integers(2**63, size=max(NGRAM, PERMUTATIONS), dtype=np.uint64) * 2 + 1


@lru_cache
def bands_of(threshold: float) -> tuple[int, int]:
    """Bands and rows of the hash tables, weighing a missed pair nine times a needless candidate; kept, since
    finding them is slow."""
    index = MinHashLSH(
        threshold=max(0.05, threshold - _CANDIDATE_MARGIN), num_perm=PERMUTATIONS, weights=(0.1, 0.9)
    )
    return index.b, index.r


def _hashed_shingles(text: str) -> np.ndarray:
    """The :func:`shingles` of a text as sorted 64-bit hashes; two different ones share a hash about once in
    10^19."""
    codes = np.frombuffer(normalise(text).encode("utf-32-le"), np.uint32).astype(np.uint64)
    grams = sliding_window_view(codes, min(NGRAM, len(codes))) if len(codes) else np.zeros((1, 1), np.uint64)
    return _distinct(grams @ _ODD[: grams.shape[1]])


def _distinct(values: np.ndarray) -> np.ndarray:
    """Sorted, each once; np.unique hashes first, and took ten times as long here."""
    values = np.sort(values)
    return values[np.append(True, values[1:] != values[:-1])] if len(values) else values


def signature(text: str) -> np.ndarray:
    """MinHash values of a text's 5-grams, shape (128,), uint32."""
    return _signature(_hashed_shingles(text))


def _signature(grams: np.ndarray) -> np.ndarray:
    minhash = _EMPTY.copy()
    minhash.update_batch((grams >> np.uint64(32)).tolist())
    return minhash.hashvalues.astype(np.uint32)


def band_keys(signatures: np.ndarray, band: int, rows: int) -> np.ndarray:
    """A hash of one band of every signature, shape (N,); texts that agree in the band have the same."""
    return signatures[:, band * rows : (band + 1) * rows].astype(np.uint64) @ _ODD[:rows]


def equal_keys(keys: np.ndarray) -> np.ndarray:
    """Pairs of places (i < j) that hold an equal key, each as ``j * N + i``, in no order.

    datasketch's own index keeps a set for every text and band, 10 KB a post; sorting the bands one by one
    needs none.
    """
    count = len(keys)
    order = np.argsort(keys, kind="stable")
    bounds = np.flatnonzero(np.diff(keys[order])) + 1
    # where each place's bucket ends
    ends = np.repeat(np.append(bounds, count), np.diff(np.concatenate([[0], bounds, [count]])))
    pairs = [np.zeros(0, np.int64)]
    for step in range(1, count):
        here = np.flatnonzero(np.arange(step, count + step) < ends)
        if not len(here):
            break
        # stable: the later place is the later text
        pairs.append(order[here + step] * count + order[here])
    return np.concatenate(pairs)


def _candidates(signatures: np.ndarray, bands: int, rows: int) -> np.ndarray:
    """Pairs of row numbers that agree in all rows of a band, as :func:`equal_keys` gives them, ordered by j,
    then i."""
    found = np.zeros(0, np.int64)
    for band in range(bands):
        found = _distinct(np.concatenate([found, equal_keys(band_keys(signatures, band, rows))]))
    return found


def likely(
    i: np.ndarray, j: np.ndarray, rows_of: Callable[[np.ndarray], np.ndarray], threshold: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The candidates whose whole signatures agree too, as posts that share a few phrases do not; the margin
    is over 4 standard errors.

    Args:
        i, j: shape (M,), the two texts of each candidate.
        rows_of: gives texts' signatures, shape (n, 128).

    Returns:
        Part by part, which candidates stay, and which values of their signatures are equal, shape (m, 128).
    """
    for start in range(0, len(i), _TOGETHER):
        part = slice(start, start + _TOGETHER)
        agree = rows_of(i[part]) == rows_of(j[part])
        chosen = np.flatnonzero(agree.mean(axis=1) >= threshold - _CANDIDATE_MARGIN)
        yield start + chosen, agree[chosen]


def verified(
    pairs: Iterable[tuple[int, int]], text_of: Callable[[int], str], threshold: float
) -> Iterator[tuple[int, int, float]]:
    """The pairs whose exact 5-gram Jaccard index is at least ``threshold``, with it."""
    # all of them would take four times a text's own memory
    grams = lru_cache(_KEPT)(lambda place: _hashed_shingles(text_of(place)))
    for i, j in pairs:
        one, other = grams(i), grams(j)
        shared = len(np.intersect1d(one, other, assume_unique=True))
        similarity = shared / (len(one) + len(other) - shared)
        if similarity >= threshold:
            yield i, j, similarity


def near_duplicate_pairs(texts: Sequence[str], threshold: float) -> list[tuple[int, int, float]]:
    """All pairs ``(i, j, jaccard)``, i < j, whose 5-gram Jaccard index is at least ``threshold``, ordered by
    (j, i).

    MinHash-LSH (Broder 1997; Indyk & Motwani 1998) proposes pairs, the exact index decides. So every pair
    returned is right; one close to the threshold may, with a small probability, be missed.

    Args:
        texts: N texts.
        threshold: in (0, 1].
    """
    signatures = np.empty((len(texts), PERMUTATIONS), np.uint32)
    for place, text in enumerate(texts):
        signatures[place] = signature(text)
    j, i = np.divmod(_candidates(signatures, *bands_of(threshold)), max(1, len(texts)))
    parts = [chosen for chosen, _ in likely(i, j, signatures.__getitem__, threshold)]
    pairs = ((int(i[place]), int(j[place])) for part in parts for place in part)
    return list(verified(pairs, texts.__getitem__, threshold))


def compare_all(texts: Sequence[str], threshold: float) -> list[tuple[int, int, float]]:
    """What :func:`near_duplicate_pairs` seeks, found by comparing all N (N - 1) / 2 pairs: exact and slow, to
    measure the search by."""
    grams = [shingles(text) for text in texts]
    compared = ((i, j, jaccard(grams[i], grams[j])) for j in range(len(texts)) for i in range(j))
    return [pair for pair in compared if pair[2] >= threshold]
