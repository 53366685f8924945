"""How likely a language model finds a text: a measure of fluent language that no trained policy is part of.

Knows: a model and texts. Does not know: what is said, or to whom: a fluent answer may be beside the point.
Our choice; the paper lets people rate fluency. Best near the references' own value: loops are likely, too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from empathy_lib.models.memory import release_after

TOGETHER = 16  # texts of like length in one pass


@torch.no_grad()
def mean_log_probability(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int = 1024
) -> np.ndarray:
    """Mean log-probability of each text's tokens under ``model``, shape ``(n,)``, in nats a token, at most 0.

    The text stands alone after the beginning of a sequence, so nothing of a post is in it.

    Args:
        texts: n texts; one without a token gives NaN.
        max_length: tokens of a text that are read.
    """
    start = [tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id]
    encoded = tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []
    tokens = [ids[:max_length] for ids in encoded]
    found = np.full(len(tokens), np.nan)
    order = sorted((place for place, ids in enumerate(tokens) if ids), key=lambda place: len(tokens[place]))
    for first in range(0, len(order), TOGETHER):
        places = order[first : first + TOGETHER]
        rows = [torch.tensor(start + tokens[place]) for place in places]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(model.device)
        lengths = torch.tensor([len(row) for row in rows], device=model.device)
        known = torch.arange(ids.shape[1], device=model.device) < lengths[:, None]
        logits = model(input_ids=ids, attention_mask=known.long()).logits[:, :-1]
        # text by text: the whole batch in float32 would be its largest tensor
        total = torch.stack([row.float().logsumexp(-1) for row in logits])
        taken = torch.gather(logits, 2, ids[:, 1:, None])[..., 0].float() - total
        sums = (taken * known[:, 1:]).sum(1) / (lengths - 1)
        found[places] = sums.cpu().numpy()
    release_after(len(order))
    return found
