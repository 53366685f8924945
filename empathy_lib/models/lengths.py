"""How many tokens a stage reads or writes: as set, or from the training texts up to a cap.

Knows: quantiles of token lengths, how a choice is said. Does not know: any stage, or what is done with texts
that do not fit.

What a policy may write must have room for what it is taught, and one long text must not decide what all cost.
So a length that is ``auto`` is a quantile of the training texts', rounded up, and at most the profile's cap,
which bounds memory and time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from transformers import PreTrainedTokenizerBase

from empathy_lib.core.coe import render
from empathy_lib.core.config import GenerationConfig
from empathy_lib.core.errors import UserError
from empathy_lib.core.schema import Item

MULTIPLE = 16  # what lengths are rounded up to
COMPLETIONS = 0.995  # the quantile of completions that a policy may write to their end
READ = 0.99  # the quantile of posts and replies that the reward encoder reads whole


@dataclass(frozen=True)
class Length:
    """A length in tokens, where it comes from, and how many of the ``n`` texts it was held against are
    longer."""

    field: str
    tokens: int
    source: Literal["set", "data", "cap"]
    n: int
    longer: int
    longest: int

    def __str__(self) -> str:
        how = {
            "set": "as set",
            "data": "from the training texts",
            "cap": f"the cap, {self.field}_cap; the training texts ask for more",
        }[self.source]
        share = f"{self.longer:,} of {self.n:,} texts ({self.longer / max(self.n, 1):.1%}) are longer"
        return f"{self.field}: {self.tokens} tokens ({how}); {share}, the longest has {self.longest}"

    def record(self) -> dict[str, Any]:
        """For a stage's files."""
        return asdict(self)


def choose(
    field: str,
    setting: int | Literal["auto"],
    lengths: Sequence[int],
    cap: int,
    quantile: float = 1.0,
    times: int = 1,
) -> Length:
    """The length that ``setting`` means on texts of these ``lengths``.

    Args:
        field: dotted name in the profile.
        setting: a number of tokens, which is taken as it is, or ``auto``.
        lengths: of the training texts, in tokens.
        cap: the most that ``auto`` gives.
        quantile: ``auto`` has room for this share of the texts, rounded up to a multiple of 16 tokens.
        times: so many times that room.

    Raises:
        UserError: ``auto``, and not one text.
    """
    if setting == "auto" and not len(lengths):
        raise UserError(f"{field}=auto: there is no training text to take it from; set a number of tokens")
    tokens, source = setting, "set"
    if setting == "auto":
        # the longest of that share of texts, not a mean of two
        wanted = times * int(np.quantile(lengths, quantile, method="higher"))
        wanted = math.ceil(wanted / MULTIPLE) * MULTIPLE
        tokens, source = (wanted, "data") if wanted <= cap else (cap, "cap")
    longer = sum(length > tokens for length in lengths)
    return Length(field, tokens, source, len(lengths), longer, max(lengths, default=0))


def token_lengths(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[int]:
    """Tokens of each text, special ones that the tokenizer adds included."""
    return [len(ids) for ids in tokenizer(list(texts))["input_ids"]] if texts else []


def completion_lengths(items: Sequence[Item], tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Tokens of every training completion, its chain (if it has one) and its end token included."""
    texts = [
        answer.text if answer.coe is None else render(answer.coe, answer.text)
        for item in items
        for answer in item.answers
    ]
    encoded = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
    return [len(ids) + 1 for ids in encoded]


def completion_length(
    config: GenerationConfig, items: Sequence[Item], tokenizer: PreTrainedTokenizerBase
) -> Length:
    """What ``generation.max_new_tokens`` means on these training items."""
    lengths = completion_lengths(items, tokenizer)
    cap = config.max_new_tokens_cap
    return choose("generation.max_new_tokens", config.max_new_tokens, lengths, cap, COMPLETIONS)


def reading_length(
    setting: int | Literal["auto"],
    cap: int,
    posts: Sequence[str],
    replies: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
) -> Length:
    """What ``reward.max_length`` means: posts whole, and replies twice, so that what a policy puts behind a
    reply is read too."""
    field = "reward.max_length"
    asked, replied = token_lengths(tokenizer, posts), token_lengths(tokenizer, replies)
    found = max(
        choose(field, setting, asked, cap, READ),
        choose(field, setting, replied, cap, READ, times=2),
        key=lambda length: length.tokens,
    )
    texts = [*asked, *replied]
    longer = sum(length > found.tokens for length in texts)
    return replace(found, n=len(texts), longer=longer, longest=max(texts, default=0))
