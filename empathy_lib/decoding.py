"""Sampling in which a prompt that several rows share is read once and, on a CPU, the step that adds a token is compiled.

Knows: transformers' caches and ``generate``. Does not know: any model, any prompt.

A step of decoding on a CPU is mostly small operations and copies of the cache. In a static cache no key or value ever moves, and with
the shapes fixed ``torch.compile`` fuses what lies between the matrix products. That costs half a minute for each shape, so it is done
where it is asked for (GRPO samples batches of one shape for many steps) and model and batch are large enough. What a process has seen so
far never decides it: a resumed run must sample as an unbroken one does.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import CompileConfig, PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache, StaticLayer

from empathy_lib.compiling import MIN_PARAMETERS, can_compile

MIN_ROWS = 16  # from where on a compiled step pays


def read_prompts(model: PreTrainedModel, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> DynamicCache:
    """Keys and values of all tokens of the prompts but the last, each different prompt read once; differentiable.

    Args:
        input_ids, attention_mask: shape ``(rows, length)``, padded on the left.

    Returns:
        A cache of ``rows`` rows, in their order.
    """
    rows, place = torch.unique(torch.cat([attention_mask, input_ids], dim=1), dim=0, return_inverse=True)
    mask, prompts = rows[:, : input_ids.shape[1] - 1], rows[:, input_ids.shape[1] : -1]
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    model(input_ids=prompts, attention_mask=mask, position_ids=positions(mask), past_key_values=cache, use_cache=True, logits_to_keep=1)
    cache.batch_select_indices(place)
    return cache


def positions(attention_mask: torch.Tensor) -> torch.Tensor:
    """Position of every token in its own text, whatever padding stands before it; shape as the mask's."""
    return (attention_mask.cumsum(dim=1) - 1).clamp(min=0)


def use_quick_generate(model: PreTrainedModel) -> PreTrainedModel:
    """Make ``model.generate`` the quick one, for whoever calls it: it samples as before, in less time."""
    model.generate = _QuickGenerate(model)
    return model


def compile_steps(model: PreTrainedModel, rows: int, length: int) -> None:
    """Compile the decoding of batches of ``rows`` prompts that take up to ``length`` tokens with their completions, where that pays.

    ``model`` is one of :func:`use_quick_generate`, or wraps one.
    """
    if rows >= MIN_ROWS and model.num_parameters() >= MIN_PARAMETERS and can_compile(model.device.type):
        model.generate.rows, model.generate.length = rows, length


class _QuickGenerate:
    def __init__(self, model: PreTrainedModel) -> None:
        self.model, self.stock = model, model.generate
        self.rows = self.length = 0  # of the batches that are decoded by a compiled step

    @torch.no_grad()
    def __call__(self, *, input_ids: torch.Tensor, attention_mask: torch.Tensor, **how: Any) -> torch.Tensor:
        rows, length = input_ids.shape
        if length < 2:
            return self.stock(input_ids=input_ids, attention_mask=attention_mask, **how)
        cache: Cache = read_prompts(self.model, input_ids, attention_mask)
        new = how.get("max_new_tokens") or getattr(how.get("generation_config"), "max_new_tokens", None)
        if new and rows == self.rows and length + new <= self.length and _is_whole(cache):
            cache, compiled = _static(cache, self.length), CompileConfig(fullgraph=False, dynamic=False, mode=None)
            compiled._compile_all_devices = True  # transformers' own switch for compiling on a CPU
            how |= {"compile_config": compiled, "disable_compile": False}
        return self.stock(input_ids=input_ids, attention_mask=attention_mask, past_key_values=cache, **how)


def _is_whole(cache: DynamicCache) -> bool:
    """Whether no sliding window has dropped tokens, so that their places in the cache are those in the text."""
    return all(layer.keys.shape[-2] == cache.get_seq_length() for layer in cache.layers)


def _static(cache: DynamicCache, length: int) -> Cache:
    """The same cache with room for ``length`` tokens."""
    layers = [StaticLayer(max_cache_len=length) for _ in cache.layers]
    for new, old in zip(layers, cache.layers, strict=True):
        new.update(old.keys, old.values)
    return Cache(layers=layers)
