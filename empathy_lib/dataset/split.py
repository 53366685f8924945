"""Train, validation and test: whole clusters of related questions, spread over the topics, checked for leaks.

Knows: that posts which are near-duplicates or share an answer belong together. Does not know: files.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, repeat

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
        for i, j in _neighbours(np.array(prints), np.array(homes))
    ]


def _neighbours(prints: np.ndarray, homes: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of consecutive ``homes`` (N item positions, ascending) that hold an equal print; by sorting, as a
    dict takes more memory."""
    order = np.argsort(prints, kind="stable")
    prints, homes = prints[order], homes[order]
    found = np.flatnonzero((prints[1:] == prints[:-1]) & (homes[1:] != homes[:-1]))
    return sorted(zip(homes[found].tolist(), homes[found + 1].tolist(), strict=True))


def clusters(items: Sequence[Item], threshold: float) -> list[list[int]]:
    """Connected components of :func:`related_pairs` as lists of positions, each in order, ordered by their
    first."""
    pairs = related_pairs(items, threshold)
    rows, columns = [i for i, _, _ in pairs], [j for _, j, _ in pairs]
    graph = coo_array((np.ones(len(pairs)), (rows, columns)), shape=(len(items), len(items)))
    _, labels = connected_components(graph, directed=False)
    groups: dict[int, list[int]] = defaultdict(list)
    for index, label in enumerate(labels):
        groups[int(label)].append(index)
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
    shares = {"validation": config.validation_share, "test": config.test_share}
    shares = {"train": 1 - sum(shares.values()), **shares}
    if shares["train"] <= 0:
        raise UserError(
            f"dataset.validation_share {config.validation_share} + dataset.test_share {config.test_share} "
            f"leave nothing "
            "for training; lower them"
        )
    groups = clusters(items, config.near_duplicate_jaccard)
    if len(groups) < len(SPLITS):
        raise UserError(
            f"{len(items)} questions form {len(groups)} unrelated group(s), too few for three splits; give "
            f"more data"
        )
    groups = [groups[i] for i in rng.permutation(len(groups))]
    topic_of = [item.topic for item in items]
    topics = sorted(set(topic_of))
    topic_rank = dict(zip(topics, rng.permutation(len(topics)), strict=True))
    groups.sort(key=lambda group: topic_rank[topic_of[group[0]]])  # stable: shuffled within a topic
    dealt: dict[str, list[list[int]]] = {name: [] for name in SPLITS}
    counts, apart = dict.fromkeys(SPLITS, 0), dict.fromkeys(SPLITS[1:], 0)
    rest = 1 - shares["train"]
    for done, group in zip(np.cumsum([len(group) for group in groups]), groups, strict=True):
        if _allowed(items, group) == SPLITS:
            name = max(SPLITS, key=lambda name: shares[name] * done - counts[name])
        else:  # these by a count of their own, so that validation and test get their shares of them
            held = sum(apart.values()) + len(group)
            name = max(apart, key=lambda name: shares[name] / rest * held - apart[name])
            apart[name] += len(group)
        dealt[name].append(group)
        counts[name] += len(group)
    for name in SPLITS:
        if not dealt[name]:
            donor = max(SPLITS, key=lambda other: len(dealt[other]))
            free = [group for group in dealt[donor] if name in _allowed(items, group)]
            if not free:
                raise UserError(
                    f"no question is left for {name}; give more data, or set dataset.held_out_causes=0"
                )
            smallest = min(free, key=len)
            dealt[donor].remove(smallest)
            dealt[name].append(smallest)
    return {name: select(items, sorted(chain.from_iterable(dealt[name]))) for name in SPLITS}


def held_out(item: Item) -> bool:
    """Whether the post's sentences must stay out of training."""
    return item.gold is not None and item.gold.sentences == "unseen"


def _allowed(items: Sequence[Item], group: Sequence[int]) -> tuple[str, ...]:
    return SPLITS[1:] if any(held_out(items[place]) for place in group) else SPLITS


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
