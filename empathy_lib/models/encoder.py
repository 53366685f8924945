"""A language model as a text encoder: one vector a text, and one vector a token, for embedding cosine and
BERTScore.

Knows: local folders and hub ids in the hub's layout, pooling, centring. Does not know: what is compared. Why
not torchmetrics' or bert-score's BERTScore: with a Gemma base the first gives NaN and the second cannot
tokenise (tried: 1.9.0 and 0.3.13), and both encode every reference anew for every system. On a BERT, which
has the special tokens they expect, ours equals torchmetrics' to four digits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from huggingface_hub.errors import HFValidationError
from transformers import (
    AutoModel,
    AutoTokenizer,
    BatchEncoding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from empathy_lib.core.config import E5, local_path
from empathy_lib.core.errors import UserError
from empathy_lib.models.base import device
from empathy_lib.models.e5 import prepare_e5
from empathy_lib.models.memory import release_after

BATCH = 32
MAX_TOKENS = 512
KEPT_TEXTS = (
    4096  # token vectors kept, so that references are encoded once for all systems: about 0.15 MB a text
)


class Encoder:
    """Last hidden layer of a model, without a gradient.

    Args:
        model: without a language-model head.
        tokenizer: its tokenizer.
        centre: texts whose mean vectors are taken off. A decoder's vectors all point one way, so that any two
            texts seem alike; an encoder that was trained for similarity needs none.
        prefix: stands before every text that is encoded, since the encoder was trained so; its tokens count
            in a text's mean, and are not among the text's tokens.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        centre: Sequence[str] = (),
        prefix: str = "",
    ) -> None:
        self.model, self.tokenizer, self.prefix = model, tokenizer, prefix
        self.tokenizer.padding_side = "right"
        self._kept: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._centre, self._token_centre = np.float32(0), np.float32(0)
        if centre:
            pooled, tokens = zip(*self._encode(list(centre)), strict=True)
            self._centre, self._token_centre = (
                np.mean(pooled, axis=0),
                np.concatenate(tokens).mean(axis=0, dtype=np.float32),
            )
            self._kept.clear()

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Mean of a text's token vectors, at unit length; shape (n, d)."""
        return _unit(np.stack([pooled for pooled, _ in self._encode(texts)]) - self._centre)

    def tokens(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Vectors of a text's tokens, special ones left out, at unit length; one array of shape (tokens, d) a
        text."""
        return [_unit(tokens.astype(np.float32) - self._token_centre) for _, tokens in self._encode(texts)]

    def _encode(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        made: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for some in _alike(text for text in texts if text not in self._kept):
            made.update(zip(some, self._forward(some), strict=True))
        release_after(len(made))
        found = [made[text] if text in made else self._kept[text] for text in texts]
        self._kept |= made
        while len(self._kept) > KEPT_TEXTS:
            del self._kept[next(iter(self._kept))]
        return found

    @torch.inference_mode()
    def layer_means(self, texts: Sequence[str], layers: Sequence[int]) -> np.ndarray:
        """Mean token vectors of these hidden layers, side by side, not centred and not at unit length; shape
        (n, layers × d), float64. Unlike :meth:`embed` it keeps no text."""
        made: dict[str, np.ndarray] = {}
        for some in _alike(texts):
            batch, _ = self._tokenised(some)
            hidden = self.model(**batch, output_hidden_states=True).hidden_states
            means = torch.cat([_mean(hidden[layer], batch) for layer in layers], dim=1)
            made.update(zip(some, means.cpu().double().numpy(), strict=True))
        return np.stack([made[text] for text in texts])

    def _tokenised(self, texts: list[str]) -> tuple[BatchEncoding, torch.Tensor]:
        """A batch on the model's device, and which of its tokens are not the text's own."""
        filled = [self.prefix + (text or "。") for text in texts]
        batch = self.tokenizer(
            filled,
            return_tensors="pt",
            padding=True,
            truncation=True,
            max_length=MAX_TOKENS,
            return_special_tokens_mask=True,
            return_offsets_mapping=bool(self.prefix),
        )
        special = batch.pop("special_tokens_mask").bool()
        if self.prefix:
            special |= batch.pop("offset_mapping")[..., 1] <= len(self.prefix)
        batch.pop("token_type_ids", None)
        return batch.to(self.model.device), special

    @torch.inference_mode()
    def _forward(self, texts: list[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        batch, special = self._tokenised(texts)
        hidden = self.model(**batch).last_hidden_state.float()
        pooled = _mean(hidden, batch).cpu().numpy()
        shown = batch["attention_mask"].bool().cpu() & ~special
        rows = hidden.half().cpu()
        return [
            (pooled[n], rows[n][shown[n]].numpy() if text else rows[n][:0].numpy())
            for n, text in enumerate(texts)
        ]


def _alike(texts: Iterable[str]) -> Iterator[list[str]]:
    """Batches of texts alike in length, each text once."""
    ordered = sorted(set(texts), key=lambda text: (len(text), text))
    for start in range(0, len(ordered), BATCH):
        yield ordered[start : start + BATCH]


def _mean(hidden: torch.Tensor, batch: BatchEncoding) -> torch.Tensor:
    """Mean of each text's token vectors, padding left out; shape (texts, d)."""
    mask = batch["attention_mask"][..., None].float()
    return (hidden * mask).sum(1) / mask.sum(1)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True).clip(1e-9)


def load_encoder(source: str) -> Encoder:
    """The encoder in a local folder or under a hub id (safetensors, no remote code), or ``e5`` of the pinned
    wheel; in float32 and not centred. A folder whose configuration names prefixes has that of a query put
    before each text, as e5 wants it where both sides are alike.

    Raises:
        UserError: no such folder, id or wheel, or no model in it.
    """
    local = prepare_e5() if source == E5 else local_path(source)
    if local and not (local / "config.json").is_file():
        raise UserError(
            f"--encoder {source}: no config.json there; give a folder in the hub's layout or a hub id"
        )
    where = str(local or source)
    try:
        safe = {"trust_remote_code": False}  # said, or transformers would ask
        tokenizer = AutoTokenizer.from_pretrained(where, **safe)
        model = AutoModel.from_pretrained(where, dtype=torch.float32, use_safetensors=True, **safe)
    except (OSError, HFValidationError, ValueError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise UserError(
            f"--encoder {source}: cannot be loaded ({reason}); check the id or folder and the network"
        ) from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    prefixes = getattr(model.config, "prefixes", None) or {}
    return Encoder(model.to(device()).eval(), tokenizer, prefix=prefixes.get("query", ""))
