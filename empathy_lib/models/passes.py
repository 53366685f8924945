"""A batch in several passes: rows of like length together, within a budget of padded tokens.

Knows: lengths and padding. Does not know: what a pass computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from empathy_lib.core.config import GRPOStageConfig

# Widths are padded to it. What a CPU computes is prepared, and kept, for every new shape: with 8, training on
# SMILE held half a GiB more and was no faster.
MULTIPLE = 32


def deal(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Rows of like length together, the longest first, at most ``budget`` padded tokens in each part; a row
    that is longer is a part of its own."""
    parts: list[list[int]] = []
    width = 0
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if not parts or (len(parts[-1]) + 1) * width > budget:
            parts.append([])
            width = padded(lengths[row])
        parts[-1].append(row)
    return parts


def padded(length: int) -> int:
    """The width that a row of this length takes."""
    return -(-length // MULTIPLE) * MULTIPLE


def passes(inputs: dict[str, Any], budget: int) -> list[dict[str, Any]]:
    """A batch padded on the right, in parts of at most ``budget`` padded tokens and no wider than need be."""
    lengths = inputs["attention_mask"].sum(dim=1).tolist()
    return [
        {key: value[rows, : padded(max(lengths[row] for row in rows))] for key, value in inputs.items()}
        for rows in deal(lengths, budget)
    ]


def rows_per_pass(config: GRPOStageConfig, rollouts: int, prompt: int, new: int) -> int:
    """Completions a pass: ``micro_batch``, or the largest divisor of a process' ``rollouts`` below it with
    which a prompt of ``prompt`` tokens, read once, and completions of ``new`` fit ``tokens_per_pass``; at
    least 1.
    """
    most = min(config.micro_batch, rollouts)
    if config.tokens_per_pass:
        most = max(1, min(most, (config.tokens_per_pass - prompt) // new))
    return next(rows for rows in range(most, 0, -1) if rollouts % rows == 0)
