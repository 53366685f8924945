"""Training pairs: what a policy is shown, and which of it there is room for.

Knows: how an item becomes a (prompt, completion) pair with and without CoE, which pairs are too long.
Does not know: how anything is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from empathy_lib.core.coe import render
from empathy_lib.core.config import BaseModelConfig
from empathy_lib.core.errors import UserError
from empathy_lib.core.schema import Item
from empathy_lib.models.lengths import Length, choose, token_lengths
from empathy_lib.models.prompts import coe_prompt, plain_prompt


def sft_pairs(
    items: list[Item], tokenizer: PreTrainedTokenizerBase, limit: int, rng: np.random.Generator, *, coe: bool
) -> list[dict]:
    """Turn items into ``{"id", "prompt", "completion"}``: every question once before any question twice.

    Args:
        items: annotated items.
        limit: the most pairs.
        rng: decides which answer of a question comes first, so both policies see the same answers given the
            same seed.
        coe: with the chain, or the answer alone (the ablation).
    """
    rounds: list[list[tuple[Item, int]]] = []
    for index in rng.permutation(len(items)):
        for turn, answer in enumerate(rng.permutation(len(items[index].answers))):
            while len(rounds) <= turn:
                rounds.append([])
            rounds[turn].append((items[index], int(answer)))
    pairs = []
    for item, number in [pair for turn in rounds for pair in turn][:limit]:
        answer = item.answers[number]
        if coe and answer.coe is None:
            raise UserError(
                f"item '{item.id}': an answer has no chain of empathy; set dataset.annotator=rules and run "
                f"notebook 01 again"
            )
        if coe:
            pairs.append(
                {
                    "id": item.id,
                    "prompt": coe_prompt(tokenizer, item.question),
                    "completion": render(answer.coe, answer.text),
                }
            )
        else:
            pairs.append(
                {"id": item.id, "prompt": plain_prompt(tokenizer, item.question), "completion": answer.text}
            )
    return pairs


@dataclass(frozen=True)
class Fit:
    """Which pairs have room, and why the others have none."""

    kept: tuple[bool, ...]
    length: Length  # of prompt and completion
    max_new_tokens: int | None  # of the completion

    @property
    def left_out(self) -> int:
        """How many pairs have no room."""
        return len(self.kept) - sum(self.kept)

    def select(self, pairs: Sequence[dict]) -> list[dict]:
        """The pairs at the places that have room, also of the same answers without their chains.

        Raises:
            UserError: none has.
        """
        if not any(self.kept):
            raise UserError(f"no pair has room: {self}")
        return [pair for pair, kept in zip(pairs, self.kept, strict=True) if kept]

    def __str__(self) -> str:
        if not self.left_out:
            return f"all {len(self.kept):,} pairs fit {self.length.field} = {self.length.tokens} tokens"
        cap = "" if self.length.source == "set" else "_cap"
        limit, remedy = f"longer than {self.length.tokens} tokens", f"raise {self.length.field}{cap}"
        if self.max_new_tokens is not None:
            limit += f" or with more than {self.max_new_tokens} to write"
            remedy += " and generation.max_new_tokens_cap, or set generation.max_new_tokens"
        share = f"{self.left_out:,} of {len(self.kept):,} pairs ({self.left_out / len(self.kept):.1%})"
        return f"{share} are left out: {limit}; to keep them {remedy}, at the price of memory and time"

    def record(self) -> dict[str, Any]:
        """For a stage's files and its manifest."""
        return {
            "pairs": len(self.kept),
            "left_out": self.left_out,
            "max_length": self.length.tokens,
            "max_length_is": self.length.source,
            "max_new_tokens": self.max_new_tokens,
        }


def fit(
    pairs: Sequence[dict],
    tokenizer: PreTrainedTokenizerBase,
    models: BaseModelConfig,
    completions: Length | None = None,
) -> Fit:
    """Decide which pairs have room: a cut-off chain would teach the model to break the format.

    Args:
        pairs: of :func:`sft_pairs`.
        models: its ``max_length`` bounds prompt and completion together, end token included; ``auto`` is the
            longest pair, at most ``max_length_cap``.
        completions: what the policy will be allowed to write; it is not taught what it could not finish.
            A number that was set bounds no pair: whoever sets it may want short samples only.
    """
    written_at_most = None if completions is None or completions.source == "set" else completions.tokens
    whole = [
        length + 1 for length in token_lengths(tokenizer, [p["prompt"] + p["completion"] for p in pairs])
    ]
    room = [True] * len(pairs)
    if written_at_most is not None and pairs:
        written = tokenizer([pair["completion"] for pair in pairs], add_special_tokens=False)["input_ids"]
        room = [len(ids) + 1 <= written_at_most for ids in written]
    possible = [length for length, fits in zip(whole, room, strict=True) if fits]
    length = choose("base_model.max_length", models.max_length, possible or whole, models.max_length_cap)
    kept = [total <= length.tokens and fits for total, fits in zip(whole, room, strict=True)]
    return Fit(tuple(kept), length, written_at_most)
