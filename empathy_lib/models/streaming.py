"""One completion as it grows, for a reader who waits for it.

Knows: transformers' streamers and how a running ``generate`` is ended. Does not know: prompts, what of a
completion may be shown.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from queue import SimpleQueue
from typing import Any

import torch
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
    set_seed,
)
from transformers.generation.streamers import BaseStreamer


def grow(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str, seed: int, **how: Any
) -> Generator[str]:
    """All of the completion so far, after each token; closing the iterator ends the generation.

    Args:
        how: settings of ``generate``; what they leave open the model's own configuration fills.

    Raises:
        Exception: whatever ``generate`` raises, in its own thread, comes up here.
    """
    encoded = tokenizer([prompt], return_tensors="pt").to(model.device)
    encoded.pop("token_type_ids", None)
    tokens: SimpleQueue[list[int] | Exception | None] = SimpleQueue()
    left = threading.Event()

    def run() -> None:
        try:
            set_seed(seed)
            model.generate(
                **encoded,
                **how,
                pad_token_id=tokenizer.pad_token_id,
                streamer=_Hand(tokens),
                stopping_criteria=StoppingCriteriaList([_Left(left)]),
            )
        except Exception as error:
            tokens.put(error)
        tokens.put(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    seen: list[int] = []
    try:
        while (more := tokens.get()) is not None:
            if isinstance(more, Exception):
                raise more
            seen += more
            # all tokens anew, since one may be a part of a character; U+FFFD is a part still alone
            yield tokenizer.decode(seen, skip_special_tokens=True).rstrip("\ufffd")
    finally:
        left.set()
        thread.join()


class _Hand(BaseStreamer):
    """Hands on the ids of each step, but for the prompt's."""

    def __init__(self, tokens: SimpleQueue) -> None:
        self._tokens, self._prompt = tokens, True

    def put(self, value: torch.Tensor) -> None:
        if not self._prompt:
            self._tokens.put(value.reshape(-1).tolist())
        self._prompt = False

    def end(self) -> None:
        """Nothing: the thread says when it is at its end, with an error too."""


class _Left(StoppingCriteria):
    """Ends the generation once its reader has left."""

    def __init__(self, left: threading.Event) -> None:
        self._left = left

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **how: Any) -> torch.Tensor:
        return torch.full((len(input_ids),), self._left.is_set(), device=input_ids.device)
