"""Which posts repeat which, in numbers: merged into the first of their kind, rule by rule.

Knows: fingerprints and pairs of positions. Does not know: texts or items (``cleaning`` gathers the answers).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field

import numpy as np

from empathy_lib.core.config import DatasetConfig


@dataclass
class Merging:
    """Which posts repeat others, by their positions.

    Attributes:
        merged: a duplicate to the post that it repeats, in the order merged.
        groups: a post that stays to those merged into it, in the order that their answers get.
        removed: how many posts each rule merged.
    """

    merged: dict[int, int] = field(default_factory=dict)
    groups: dict[int, list[int]] = field(default_factory=dict)
    removed: Counter[str] = field(default_factory=Counter)

    def merge(self, rule: str, duplicate: int, first: int) -> None:
        """Give the answers of a post, and of those merged into it before, to another."""
        self.merged[duplicate] = first
        self.groups.setdefault(first, []).extend([duplicate, *self.groups.pop(duplicate, [])])
        self.removed[rule] += 1


def merge_repeats(
    prints: np.ndarray,
    near: Callable[[Container[int]], Iterable[tuple[int, int]]],
    config: DatasetConfig,
) -> Merging:
    """Merge posts into the first that they repeat.

    Args:
        prints: shape (N,), the :func:`fingerprint <empathy_lib.core.text.fingerprint>` of every post.
        near: takes the posts merged so far; gives near-duplicate pairs (i, j), i < j, of the others, ordered
            by (j, i).
    """
    merging = Merging()
    if "exact duplicate question" not in config.rules_off:
        for place, first in _repeats(prints):
            merging.merge("exact duplicate question", place, first)
    if "near-duplicate question" not in config.rules_off:
        for i, j in near(merging.merged):
            # a post that was merged away attracts no others
            if i not in merging.merged and j not in merging.merged:
                merging.merge("near-duplicate question", j, i)
    return merging


def _repeats(prints: np.ndarray) -> list[tuple[int, int]]:
    """Position of each print that stood before, in order, and that of the first of its kind."""
    order = np.argsort(prints, kind="stable")
    starts = np.flatnonzero(np.diff(prints[order], prepend=~prints[order[:1]]))
    firsts = np.repeat(order[starts], np.diff(np.append(starts, len(prints))))
    again = firsts != order
    return sorted(zip(order[again].tolist(), firsts[again].tolist(), strict=True))
