"""Pairs of like posts across shards: keys are dealt to buckets, and each bucket is searched by itself.

Knows: keys, places, and the search of ``deduplicate``. Does not know: what a pair is for (``steps``). Posts
that agree in a band have its key in common, so they meet in a bucket; the exact Jaccard index then decides as
it does on one machine. Of posts with an equal normal form, only the first is compared with others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from empathy_lib.dataset.deduplicate import band_keys, bands_of, equal_keys, likely, verified
from empathy_lib.dataset.shards.files import Shards
from empathy_lib.dataset.split import neighbours

_QUESTION, _ANSWER = 254, 255  # kinds of keys beside the bands, of which there are fewer than 128


def bucketed(
    prints: np.ndarray, signatures: np.ndarray, answers: np.ndarray, homes: np.ndarray, tasks: int, bar: float
) -> dict[str, np.ndarray]:
    """A shard's keys, ordered by bucket: 13 bytes for each band, question and answer of N posts.

    Args:
        prints, signatures: of questions, shapes (N,) and (N, 128).
        answers, homes: shapes (M,), the fingerprint of each answer and the row of its post, ascending.
        bar: the least Jaccard index of near-duplicates.
    """
    bands, width = bands_of(bar)
    rows = np.arange(len(prints), dtype=np.uint32)
    parts = [(band, band_keys(signatures, band, width), rows) for band in range(bands)]
    parts += [(_QUESTION, prints, rows), (_ANSWER, answers, homes.astype(np.uint32))]
    kinds = np.repeat(np.array([kind for kind, _, _ in parts], np.uint8), [len(keys) for _, keys, _ in parts])
    keys = np.concatenate([keys for _, keys, _ in parts])
    buckets = keys % np.uint64(tasks)
    order = np.lexsort((kinds, buckets))  # stable: rows stay in order
    return {
        "kinds": kinds[order],
        "keys": keys[order],
        "rows": np.concatenate([rows for _, _, rows in parts])[order],
        "bounds": np.searchsorted(buckets[order], np.arange(tasks + 1)),
    }


def _bucket(shards: Shards, bucket: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kinds, keys and places in a bucket, of all shards; the places of each kind ascend."""
    parts = []
    for shard, start in enumerate(shards.starts[:-1].tolist()):
        begin, end = shards.array(shard, "bounds")[bucket : bucket + 2].tolist()
        kinds, keys, rows = (shards.array(shard, name)[begin:end] for name in ("kinds", "keys", "rows"))
        parts.append((kinds, keys, rows.astype(np.int64) + start))
    kinds, keys, places = (np.concatenate(each) for each in zip(*parts, strict=True))
    return kinds, keys, places


def near_pairs(shards: Shards, bucket: int, bar: float, *, equal_too: bool = False) -> np.ndarray:
    """Near-duplicates (i, j), i < j, that a bucket is the first to see, shape (M, 2), ordered by (j, i).

    Args:
        equal_too: compare posts of equal normal form with each other and with all others, too.
    """
    found = np.array(list(verified(_likely(shards, bucket, bar, equal_too), _question_of(shards), bar)))
    pairs = found.reshape(-1, 3)[:, :2].astype(np.int64)
    return pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]


def _question_of(shards: Shards) -> Callable[[int], str]:
    return lambda place: shards.item(place).question


def _likely(shards: Shards, bucket: int, bar: float, equal_too: bool) -> Iterator[tuple[int, int]]:
    """Pairs whose signatures speak for them, each from the first band in which it agrees."""
    bands, width = bands_of(bar)
    i, j, band = _candidates(shards, bucket, bands, equal_too)
    for chosen, agree in likely(i, j, partial(shards.take, "signatures"), bar):
        by_band = agree[:, : bands * width].reshape(-1, bands, width).all(axis=2)
        first = chosen[by_band.argmax(axis=1) == band[chosen]]
        yield from zip(i[first].tolist(), j[first].tolist(), strict=True)


def _candidates(shards: Shards, bucket: int, bands: int, equal_too: bool) -> np.ndarray:
    """Pairs of places with an equal key of a band, and the band, shape (3, M)."""
    kinds, keys, places = _bucket(shards, bucket)
    several = _several(kinds, keys)
    several = several[kinds[several] < bands]
    kinds, keys, places = kinds[several], keys[several], places[several]
    prints = places if equal_too else shards.take("prints", places)
    found = [np.zeros((3, 0), np.int64)]
    for band in range(bands):
        here = np.flatnonzero(kinds == band)
        here = here[np.sort(np.unique(prints[here], return_index=True)[1])]
        j, i = np.divmod(equal_keys(keys[here]), max(1, len(here)))
        found.append(np.stack([places[here[i]], places[here[j]], np.full(len(i), band)]))
    return np.concatenate(found, axis=1)


def _several(kinds: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Where keys stand that several posts have; most are of one alone."""
    order = np.lexsort((keys, kinds))
    kinds, keys = kinds[order], keys[order]
    same = (kinds[1:] == kinds[:-1]) & (keys[1:] == keys[:-1])
    return np.sort(order[np.append(same, False) | np.append(False, same)][: len(order)])


def equal_pairs(shards: Shards, bucket: int) -> np.ndarray:
    """Posts that hold an equal question or an answer in common, as a chain of pairs, shape (M, 2)."""
    kinds, keys, places = _bucket(shards, bucket)
    marked = [kinds == kind for kind in (_QUESTION, _ANSWER)]
    return np.concatenate([neighbours(keys[here], places[here]) for here in marked])
