"""The rules of cleaning marked against the noise that the synthesis planted.

Knows: noise labels, which rule must find which kind. Does not know: the rules (``cleaning``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from empathy_lib.core.schema import Item

NOISE_KINDS = ("advertisement", "short", "duplicate")  # what the synthesis plants
_RULE_OF = {"advertisement": "advertisement", "short": "short answer"}  # the rule that must find it


@dataclass
class PlantedNoise:
    """The synthesis' labels in raw items, and what the rules that look at one answer made of them.

    Attributes:
        planted, hits: by kind, all answers planted, and those that the kind's own rule removed.
        duplicates: ids of planted duplicate posts.
    """

    planted: Counter[str] = field(default_factory=Counter)
    hits: Counter[str] = field(default_factory=Counter)
    duplicates: set[str] = field(default_factory=set)

    def add(self, raw: Iterable[Item], removed: Mapping[tuple[str, int], str]) -> None:
        """Count items; ``removed`` as in :class:`Funnel`."""
        for item in raw:
            for place, noise in enumerate(answer.noise for answer in item.answers):
                if noise:
                    self.planted[noise] += 1
                    self.hits[noise] += removed.get((item.id, place), "") == _RULE_OF.get(noise)
            if item.noise == "duplicate":
                self.duplicates.add(item.id)


def noise_table(
    noise: PlantedNoise, removed: Mapping[str, int], merged: Mapping[Any, Any], duplicates: Container[Any]
) -> pd.DataFrame | None:
    """How well the rules found the planted noise; None where none was planted.

    Which of two equal posts is *the* duplicate is a matter of order, so duplicates are counted per group of
    merged posts: of the r posts removed from a group that holds p planted ones, min(r, p) are hits.

    Args:
        removed: answers by the rule that removed them.
        merged: duplicate posts to the posts that took their answers.
        duplicates: those of ``merged``'s posts that are planted.

    Returns:
        One row a kind: ``kind``, ``planted``, ``removed`` (by that kind's rule), ``hits``, ``precision``
            (hits / removed),
        ``recall`` (hits / planted), ``f1``; NaN where a denominator is 0.
    """
    if not noise.planted and not noise.duplicates:
        return None
    rows = [
        _score(kind, noise.planted[kind], removed.get(rule, 0), noise.hits[kind])
        for kind, rule in _RULE_OF.items()
    ]
    groups: dict[Any, list[Any]] = {}
    for duplicate, first in merged.items():
        groups.setdefault(first, [first]).append(duplicate)
    hits = sum(min(len(group) - 1, sum(post in duplicates for post in group)) for group in groups.values())
    rows.append(_score("duplicate", len(noise.duplicates), len(merged), hits))
    return pd.DataFrame(rows)


def _score(kind: str, planted: int, removed: int, hits: int) -> dict[str, str | int | float]:
    precision = hits / removed if removed else float("nan")
    recall = hits / planted if planted else float("nan")
    f1 = 2 * hits / (planted + removed) if planted + removed else float("nan")
    return {
        "kind": kind,
        "planted": planted,
        "removed": removed,
        "hits": hits,
        "precision": precision,
        "recall": recall,
        "f1": f1,
    }
