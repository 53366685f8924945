"""``r_chain``, a reward for true chains: beyond the paper, which pays for the chain's form alone.

Knows: which marks are paid for, and where a post has no gold labels that its grounding is. Does not know: how
a label is marked (``marking``, ``grounding``), or who optimises against it (``grpo``).

All of it is our choice. The neighbour in the literature is PEER (arXiv 2508.09521), which pays for steps of
an empathetic reply by a model trained on step labels; here the labels are the data's own, and nothing is
learnt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from empathy_lib.core.coe import ChainOfEmpathy, parse
from empathy_lib.core.schema import Gold, Item
from empathy_lib.reward.grounding import GROUNDED, grounded_layers
from empathy_lib.reward.marking import Marker, default_marker

# What is paid for, by its mark. L4 has no label, its strategy being a choice; the belief is measured only.
PAID = {"emotion": "L1", "cause": "cause", "bias": "bias", "intent": "L3"}


@dataclass(frozen=True)
class ChainReward:
    """``r_chain``: the share of a chain's labels that are right, from 0 to 1; 0 for a completion that is not
    well-formed.

    Of a post with gold labels: emotion, cause, bias and intent, as far as it has them, by the rules of
    ``marking``. Of one without: how many of L1 to L3 keep to the post (``grounding``).

    Args:
        golds: post to its gold labels, None where it has none. Only these posts can be marked, so that a
            reward made of training posts knows no other post's labels.
        marker: knows the causes and beliefs of these labels.
    """

    golds: Mapping[str, Gold | None]
    marker: Marker

    @classmethod
    def of(cls, items: Iterable[Item]) -> ChainReward:
        """The reward for these items' posts."""
        golds = {item.question: item.gold for item in items}
        return cls(golds, default_marker().knowing(golds.values()))

    def layers(self, post: str, chain: ChainOfEmpathy | None) -> dict[str, float]:
        """1.0 or 0.0 for each label that is paid for; None is a broken chain.

        Raises:
            ValueError: a post that the reward was not made of.
        """
        if post not in self.golds:
            raise ValueError(
                f"no item has the post '{post[:20]}…': make the reward of the items it is to mark"
            )
        if (gold := self.golds[post]) is None:
            return grounded_layers(chain, post) if chain else dict.fromkeys(GROUNDED, 0.0)
        marks = self.marker.mark_chain(chain, gold, post)
        return {label: marks[mark] for label, mark in PAID.items() if marks[mark] == marks[mark]}

    def rate(self, posts: Sequence[str], completions: Sequence[str]) -> np.ndarray:
        """``r_chain`` of whole completions, shape ``(n,)``."""
        return self.table(posts, completions)["r_chain"].to_numpy()

    def table(self, posts: Sequence[str], completions: Sequence[str]) -> pd.DataFrame:
        """``r_chain`` and beside it each label's mark, a row a completion; NaN where a post lacks the
        label."""
        rows = []
        for post, completion in zip(posts, completions, strict=True):
            whole = parse(completion)
            marks = self.layers(post, whole.coe if whole else None)
            rows.append({"r_chain": sum(marks.values()) / max(1, len(marks))} | marks)
        return pd.DataFrame(rows, columns=["r_chain", *self.labels], dtype=float)

    @property
    def labels(self) -> tuple[str, ...]:
        """What is marked of these posts."""
        kinds = {gold is None for gold in self.golds.values()}
        return (*(PAID if False in kinds else ()), *(GROUNDED if True in kinds else ()))

    def as_function(self) -> Callable[..., list[float]]:
        """The reward in TRL's signature: completions of a batch and the dataset's ``question`` column."""

        def r_chain(completions: list[str], question: list[str], **_) -> list[float]:
            return self.rate(question, completions).tolist()

        return r_chain
