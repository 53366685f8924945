"""Train, validation and test: whole clusters of related questions, spread over the topics, checked for leaks.

Knows: that posts which are near-duplicates or share an answer belong together. Does not know: files.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from empathy_lib.core.config import DatasetConfig
from empathy_lib.core.errors import UserError
from empathy_lib.core.schema import Item
from empathy_lib.core.text import fingerprint
from empathy_lib.dataset.deduplicate import near_duplicate_pairs
from empathy_lib.dataset.store import select

SPLITS = ("train", "validation", "test")


class LeakageError(AssertionError):
    """A question, a near-duplicate of it, or an answer stands in more than one split, or a post in training
    that is held out of it."""


def related_pairs(items: Iterable[Item], threshold: float) -> list[tuple[int, int, str]]:
    """Pairs ``(i, j, why)`` of items that must not be parted: equal or near-duplicate questions, or an answer
    in common.

    An answer shared by n items gives n - 1 pairs (a chain), enough to connect them.
    """
    questions: list[str] = []
    marks: dict[str, tuple[array[int], array[int]]] = {
        why: (array("Q"), array("Q")) for why in ("question", "answer")
    }
    for index, item in enumerate(items):
        questions.append(item.question)
        for why, texts in (("question", [item.question]), ("answer", item.references)):
            marks[why][0].extend(map(fingerprint, texts))
            marks[why][1].extend(repeat(index, len(texts)))
    pairs = [(i, j, "near-duplicate question") for i, j, _ in near_duplicate_pairs(questions, threshold)]
    return pairs + [
        (i, j, why)
        for why, (prints, homes) in marks.items()
        for i, j in neighbours(np.array(prints), np.array(homes)).tolist()
    ]


def neighbours(prints: np.ndarray, homes: np.ndarray) -> np.ndarray:
    """Pairs of consecutive ``homes`` (N item positions, ascending) that hold an equal print, shape (M, 2), in
    order; by sorting, as a dict takes more memory."""
    order = np.argsort(prints, kind="stable")
    prints, homes = prints[order], homes[order]
    found = np.flatnonzero((prints[1:] == prints[:-1]) & (homes[1:] != homes[:-1]))
    pairs = np.stack([homes[found], homes[found + 1]], axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def component_labels(pairs: np.ndarray, count: int) -> np.ndarray:
    """The number of each position's connected component, shape (count,); components are numbered by their
    first position.

    Args:
        pairs: shape (M, 2), positions that belong together.
    """
    graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    labels = connected_components(graph, directed=False)[1]
    firsts = np.unique(labels, return_index=True)[1]
    return np.argsort(np.argsort(firsts))[labels]


def _labels(items: Sequence[Item], threshold: float) -> np.ndarray:
    pairs = [(i, j) for i, j, _ in related_pairs(items, threshold)]
    return component_labels(np.array(pairs, np.int64).reshape(-1, 2), len(items))


def clusters(items: Sequence[Item], threshold: float) -> list[list[int]]:
    """Connected components of :func:`related_pairs` as lists of positions, each in order, ordered by their
    first."""
    groups: dict[int, list[int]] = defaultdict(list)
    for index, label in enumerate(_labels(items, threshold).tolist()):
        groups[label].append(index)
    return list(groups.values())


def split(
    items: Sequence[Item], config: DatasetConfig, rng: np.random.Generator
) -> dict[str, Sequence[Item]]:
    """Part the items into ``train``, ``validation`` and ``test``.

    Clusters are shuffled, ordered by topic, and dealt one by one to the split that lags furthest behind its
    share: a systematic sample, so that each topic is spread as evenly as its size allows and the totals come
    out as asked. A cluster with a post of ``unseen`` sentences (``Gold.sentences``) is never dealt to
    training. A split that would stay empty gets the smallest cluster that it may have of the largest split.

    Returns:
        The three splits, none empty, each in the items' order.

    Raises:
        UserError: the shares leave nothing for training, or there are fewer than three unrelated questions,
            or none that training may have.
    """
    shares_of(config)
    labels = _labels(items, config.near_duplicate_jaccard)
    names, topics = np.unique([item.topic for item in items], return_inverse=True)
    kept_out = np.fromiter(map(held_out, items), bool, len(items))
    home = deal(labels, topics, len(names), kept_out, config, rng)
    return {name: select(items, np.flatnonzero(home == place).tolist()) for place, name in enumerate(SPLITS)}


def shares_of(config: DatasetConfig) -> dict[str, float]:
    """Each split's share; a :class:`UserError` where nothing is left for training."""
    shares = {"validation": config.validation_share, "test": config.test_share}
    shares = {"train": 1 - sum(shares.values()), **shares}
    if shares["train"] <= 0:
        raise UserError(
            f"dataset.validation_share {config.validation_share} + dataset.test_share {config.test_share} "
            f"leave nothing "
            "for training; lower them"
        )
    return shares


def deal(
    labels: np.ndarray,
    topics: np.ndarray,
    topic_count: int,
    kept_out: np.ndarray,
    config: DatasetConfig,
    rng: np.random.Generator,
) -> np.ndarray:
    """The place in :data:`SPLITS` of each of N posts, shape (N,), as :func:`split` says: from numbers alone.

    Args:
        labels: shape (N,), see :func:`component_labels`.
        topics: shape (N,), the place of each post's topic among all topics, sorted.
        kept_out: shape (N,), whether a post is :func:`held_out`.
    """
    shares = shares_of(config)
    firsts = np.unique(labels, return_index=True)[1]
    sizes, count = np.bincount(labels), len(firsts)
    if count < len(SPLITS):
        raise UserError(
            f"{len(labels)} questions form {count} unrelated group(s), too few for three splits; give more "
            f"data"
        )
    never_train = np.bincount(labels, kept_out) > 0
    order = rng.permutation(count)
    rank = rng.permutation(topic_count)
    order = order[np.argsort(rank[topics[firsts[order]]], kind="stable")]  # shuffled within a topic
    dealt = np.empty(count, np.int8)  # in this order
    counts, apart = dict.fromkeys(SPLITS, 0), dict.fromkeys(SPLITS[1:], 0)
    rest, done = 1 - shares["train"], 0
    for place, (size, barred) in enumerate(
        zip(sizes[order].tolist(), never_train[order].tolist(), strict=True)
    ):
        done += size
        if not barred:
            name = max(SPLITS, key=lambda name: shares[name] * done - counts[name])
        else:  # these by a count of their own, so that validation and test get their shares of them
            held = sum(apart.values()) + size
            name = max(apart, key=lambda name: shares[name] / rest * held - apart[name])
            apart[name] += size
        dealt[place] = SPLITS.index(name)
        counts[name] += size
    for place, name in enumerate(SPLITS):
        if (dealt == place).any():
            continue
        donor = np.bincount(dealt, minlength=len(SPLITS)).argmax()
        free = np.flatnonzero((dealt == donor) & ~(never_train[order] & (name == "train")))
        if not len(free):
            raise UserError(
                f"no question is left for {name}; give more data, or set dataset.held_out_causes=0"
            )
        dealt[free[sizes[order[free]].argmin()]] = place
    home = np.empty(count, np.int8)
    home[order] = dealt
    return home[labels]


def held_out(item: Item) -> bool:
    """Whether the post's sentences must stay out of training."""
    return item.gold is not None and item.gold.sentences == "unseen"


def leakage(splits: Mapping[str, Sequence[Item]], threshold: float) -> list[str]:
    """Pairs of items in different splits that share a question, a near-duplicate of one (5-gram Jaccard >=
    ``threshold``) or an answer; and items of training whose sentences are held out of it."""
    homes: list[tuple[str, str]] = []

    def everything() -> Iterator[Item]:
        for name, members in splits.items():
            for item in members:
                homes.append((name, item.id))
                yield item

    pairs = ((homes[i], homes[j], why) for i, j, why in related_pairs(everything(), threshold))
    kept_out = [f"train/{item.id} has sentences held out" for item in splits["train"] if held_out(item)]
    return kept_out + [
        f"{'/'.join(one)} and {'/'.join(other)} share a {why}"
        for one, other, why in pairs
        if one[0] != other[0]
    ]


def assert_no_leakage(splits: Mapping[str, Sequence[Item]], threshold: float) -> None:
    """Check that there is no :func:`leakage`.

    Raises:
        LeakageError: names the first pair of items and what they share.
    """
    if pairs := leakage(splits, threshold):
        raise LeakageError(pairs[0])
