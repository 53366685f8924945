"""What a dataset's statistics are counted from: of one split, post by post, and added up.

Knows: items. Does not know: files, or what is said of the counts (``card``). Lengths are kept as numbers of
texts of each length, so that memory does not grow with the corpus.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from empathy_lib.core.coe import LAYERS
from empathy_lib.core.crisis import FLAGGED
from empathy_lib.core.schema import Item
from empathy_lib.core.text import visible_length
from empathy_lib.dataset.rules.chain import unnamed


@dataclass
class Counts:
    """Of some posts. Lengths are visible characters to how many texts have them; ``subtopics`` stand with
    their topic; ``unnamed`` counts posts with rule-made chains, see
    :func:`empathy_lib.dataset.rules.chain.unnamed_shares`."""

    questions: Counter[int] = field(default_factory=Counter)
    answers: Counter[int] = field(default_factory=Counter)
    chains: Counter[int] = field(default_factory=Counter)
    topics: set[str] = field(default_factory=set)
    subtopics: set[tuple[str, str]] = field(default_factory=set)
    intents: Counter[str] = field(default_factory=Counter)
    crisis: Counter[int] = field(default_factory=Counter)
    unnamed: Counter[str] = field(default_factory=Counter)

    def add(self, item: Item) -> None:
        """Count one post."""
        self.questions[visible_length(item.question)] += 1
        self.answers.update(map(visible_length, item.references))
        self.chains.update(chain_length(item, place) for place in range(len(item.answers)))
        self.topics.update(filter(None, [item.topic]))
        self.subtopics.update([(item.topic, item.subtopic)] if item.subtopic else [])
        self.intents.update([item.gold.intent] if item.gold else [])
        self.crisis[item.crisis] += 1
        if item.coe_origin == "rules" and item.answers and item.answers[0].coe:
            self.unnamed.update(["posts", *unnamed(item.answers[0].coe)])

    def __add__(self, other: Counts) -> Counts:
        pairs = ((getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return Counts(*(one | two if isinstance(one, set) else one + two for one, two in pairs))


def counted(items: Iterable[Item]) -> Counts:
    """Counts of all items."""
    counts = Counts()
    for item in items:
        counts.add(item)
    return counts


def chain_length(item: Item, index: int) -> int:
    """Visible characters of L1 to L4 of the item's answer ``index``; 0 where it has no chain."""
    chain = item.answers[index].coe
    return sum(visible_length(getattr(chain, layer)) for layer in LAYERS) if chain else 0


def count_figures(splits: Mapping[str, Counts]) -> dict[str, Any]:
    """What :func:`empathy_lib.dataset.build.statistics` says of the posts of all splits."""
    total = reduce(add, splits.values(), Counts())
    questions, answers = total.questions.total(), total.answers.total()
    return {
        "questions": questions,
        "answers": answers,
        "answers_per_question": answers / questions,
        "topics": len(total.topics),
        "subtopics": len(total.subtopics),
        "intents": dict(sorted(total.intents.items())),
        "crisis_posts": sum(posts for level, posts in total.crisis.items() if level >= FLAGGED),
        "splits": {
            name: {
                "questions": counts.questions.total(),
                "answers": counts.answers.total(),
                "topics": len(counts.topics),
            }
            for name, counts in splits.items()
        },
        "lengths": {
            "question": summary(total.questions),
            "answer": summary(total.answers),
            "chain": summary(total.chains),
        },
    }


def summary(lengths: Mapping[int, int]) -> dict[str, float]:
    """Mean, median, 95th percentile and maximum, as numpy has them, of lengths to their numbers."""
    values = np.array(sorted(lengths), np.int64)
    ends = np.cumsum([lengths[value] for value in values.tolist()])

    def quantile(q: float) -> float:
        place = q * (ends[-1] - 1)
        low, high = values[np.searchsorted(ends, [np.floor(place), np.ceil(place)], side="right")]
        return float(np.quantile([low, high], place - np.floor(place)))

    mean = sum(value * count for value, count in lengths.items()) / int(ends[-1])
    return {"mean": mean, "median": quantile(0.5), "p95": quantile(0.95), "max": float(values[-1])}
