"""Sampling in which a prompt that several rows share is read once and, on a CPU, the step that adds a token is compiled.

Knows: transformers' caches and ``generate``. Does not know: any model, any prompt.

A step of decoding on a CPU is mostly small operations and copies of the cache. In a static cache no key or value ever moves, and with
the shapes fixed ``torch.compile`` fuses what lies between the matrix products. That costs half a minute for each shape in its first
process, so it is done only where a model and a batch are large enough to earn it back.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from transformers import CompileConfig, PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache, StaticLayer

MIN_ROWS, MIN_PARAMETERS = 16, 50_000_000  # from where on a compiled step pays
ROOM = 128  # static caches are a multiple of this long, so that batches of like length share a compiled step


def read_prompts(model: PreTrainedModel, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> DynamicCache:
    """Keys and values of all tokens of the prompts but the last, each different prompt read once; differentiable.

    Args:
        input_ids, attention_mask: shape ``(rows, length)``, padded on the left.

    Returns:
        A cache of ``rows`` rows, in their order.
    """
    rows, place = torch.unique(torch.cat([attention_mask, input_ids], dim=1), dim=0, return_inverse=True)
    mask, prompts = rows[:, : input_ids.shape[1] - 1], rows[:, input_ids.shape[1] : -1]
    cache = model(
        input_ids=prompts, attention_mask=mask, position_ids=positions(mask), past_key_values=DynamicCache(config=_text_config(model)),
        use_cache=True, logits_to_keep=1,
    ).past_key_values  # fmt: skip
    cache.batch_select_indices(place)
    return cache


def positions(attention_mask: torch.Tensor) -> torch.Tensor:
    """Position of every token in its own text, whatever padding stands before it; shape as the mask's."""
    return (attention_mask.cumsum(dim=1) - 1).clamp(min=0)


def _text_config(model: PreTrainedModel):
    return model.config.get_text_config(decoder=True)


def use_quick_generate(model: PreTrainedModel) -> PreTrainedModel:
    """Make ``model.generate`` the quick one, for whoever calls it: it samples as before, in less time."""
    model.generate = functools.partial(_generate, model, model.generate)
    return model


@torch.no_grad()
def _generate(model: PreTrainedModel, stock, *, input_ids: torch.Tensor, attention_mask: torch.Tensor, **how: Any) -> torch.Tensor:
    if input_ids.shape[1] < 2:
        return stock(input_ids=input_ids, attention_mask=attention_mask, **how)
    cache: Cache = read_prompts(model, input_ids, attention_mask)
    longest = how.get("max_new_tokens") or getattr(how.get("generation_config"), "max_new_tokens", None)
    if longest and len(input_ids) >= MIN_ROWS and model.num_parameters() >= MIN_PARAMETERS and can_compile(model.device.type):
        static = _static(cache, input_ids.shape[1] + longest)
        if static is not None:
            cache, compiled = static, CompileConfig(fullgraph=False, dynamic=False, mode=None)
            compiled._compile_all_devices = True  # transformers' own switch for compiling on a CPU
            how |= {"compile_config": compiled, "disable_compile": False}
    return stock(input_ids=input_ids, attention_mask=attention_mask, past_key_values=cache, **how)


def _static(cache: DynamicCache, length: int) -> Cache | None:
    """The cache with room for ``length`` tokens; None where a sliding window has dropped some, so that places no longer match."""
    if any(layer.keys.shape[-2] < cache.get_seq_length() for layer in cache.layers):
        return None
    layers = [StaticLayer(max_cache_len=-(-length // ROOM) * ROOM) for _ in cache.layers]
    for new, old in zip(layers, cache.layers, strict=True):
        new.update(old.keys, old.values)
    return Cache(layers=layers)


@functools.cache
def can_compile(device: str) -> bool:
    """Whether to compile on this device: on a CPU with a working C++ compiler; a line says so where there is none."""
    if device != "cpu":
        return False
    try:
        torch.compile(lambda x: x * 2 + 1)(torch.ones(64))
    except Exception as error:  # whatever a missing or broken tool chain raises
        print(f"no working C++ compiler ({type(error).__name__}): sampling is not compiled and takes about twice as long; install g++")
        return False
    return True
