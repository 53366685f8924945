"""Sampling in which a prompt that several rows share is read once and, on a CPU, the step that adds a token
is compiled.

Knows: transformers' caches and ``generate``. Does not know: any model, any prompt.

A step of decoding on a CPU is mostly small operations and copies of the cache. In a static cache no key or
value ever moves, and with the shapes fixed ``torch.compile`` fuses what lies between the matrix products.
That costs half a minute for each shape, so it is done where it is asked for (GRPO samples batches of one
shape for many steps) and model and batch are large enough. What a process has seen so far never decides it: a
resumed run must sample as an unbroken one does.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    CompileConfig,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
)
from transformers.cache_utils import Cache, DynamicCache, StaticLayer

from empathy_lib.models.compiling import is_worth_compiling

MIN_ROWS = 16  # from where on a compiled step pays
TOKENS_AT_ONCE = 16_384  # of all prompts of a batch: what is computed of them is large, what is kept small
STRETCH = 32  # tokens after which rows that are at their end leave the batch
_WHOLE = (
    "max_time",
    "min_length",
    "min_new_tokens",
    "output_scores",
    "return_dict_in_generate",
    "stop_strings",
    "stopping_criteria",
    "streamer",
)


def read_prompts(
    model: PreTrainedModel, input_ids: torch.Tensor, attention_mask: torch.Tensor
) -> DynamicCache:
    """Keys and values of all tokens of the prompts but the last, each different prompt read once;
    differentiable.

    Args:
        input_ids, attention_mask: shape ``(rows, length)``, padded on the left.

    Returns:
        A cache of ``rows`` rows, in their order.
    """
    rows, place = torch.unique(torch.cat([attention_mask, input_ids], dim=1), dim=0, return_inverse=True)
    mask, prompts = rows[:, : input_ids.shape[1] - 1], rows[:, input_ids.shape[1] : -1]
    cache, places = DynamicCache(config=model.config.get_text_config(decoder=True)), positions(mask)
    # with a gradient all is kept anyhow
    width = prompts.shape[1] if torch.is_grad_enabled() else TOKENS_AT_ONCE // len(prompts)
    width = max(1, width)
    for first in range(0, prompts.shape[1], width):
        part = slice(first, first + width)
        model(
            input_ids=prompts[:, part],
            attention_mask=mask[:, : first + width],
            position_ids=places[:, part],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
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
    """Compile the decoding of batches of ``rows`` prompts that take up to ``length`` tokens with their
    completions, where that pays.

    ``model`` is one of :func:`use_quick_generate`, or wraps one.
    """
    if rows >= MIN_ROWS and is_worth_compiling(model):
        model.generate.rows, model.generate.length = rows, length


class _QuickGenerate:
    def __init__(self, model: PreTrainedModel) -> None:
        self.model, self.stock = model, model.generate
        self.rows = self.length = 0  # of the batches that are decoded by a compiled step

    @torch.no_grad()
    def __call__(self, *, input_ids: torch.Tensor, attention_mask: torch.Tensor, **how: Any) -> torch.Tensor:
        rows, length = input_ids.shape
        config = how.get("generation_config")
        copies = (_told(name, how, config) or 1 for name in ("num_beams", "num_return_sequences"))
        if length < 2 or max(copies) > 1:  # rows that generate would copy; a cache of ours it would not
            return self.stock(input_ids=input_ids, attention_mask=attention_mask, **how)
        cache: Cache = read_prompts(self.model, input_ids, attention_mask)
        new = _told("max_new_tokens", how, config)
        compiles = bool(new) and rows == self.rows and length + new <= self.length and _is_whole(cache)
        if compiles:
            cache, compiled = (
                _static(cache, self.length),
                CompileConfig(fullgraph=False, dynamic=False, mode=None),
            )
            compiled._compile_all_devices = True  # transformers' own switch for compiling on a CPU
            how |= {"compile_config": compiled, "disable_compile": False}
        if _is_plain_sampling(config, self.model.generation_config):
            draw = Draw(config.temperature)
            how |= {
                "do_sample": False,
                "logits_processor": LogitsProcessorList([*(how.get("logits_processor") or ()), draw]),
            }
        if new and not compiles and not _looks_at_the_whole(how, config):
            return self._in_stretches(input_ids, attention_mask, cache, new, how)
        return self.stock(input_ids=input_ids, attention_mask=attention_mask, past_key_values=cache, **how)

    def _in_stretches(
        self, ids: torch.Tensor, mask: torch.Tensor, cache: Cache, new: int, how: dict[str, Any]
    ) -> torch.Tensor:
        """As ``generate``, but every few tokens the rows that have come to their end leave the batch."""
        configs = (how.get("generation_config"), self.model.generation_config)
        ends, pad = (_told(name, how, *configs) for name in ("eos_token_id", "pad_token_id"))
        ends = ids.new_tensor([] if ends is None else ends).view(-1)
        prompt, rows = ids.shape[1], torch.arange(len(ids), device=ids.device)
        whole = ids.new_full((len(ids), prompt + new), ends[0] if pad is None else pad)
        whole[:, :prompt] = ids
        for done in range(prompt, prompt + new, STRETCH):
            more = {**how, "max_new_tokens": min(STRETCH, prompt + new - done)}
            ids = self.stock(input_ids=ids, attention_mask=mask, past_key_values=cache, **more)
            whole[rows, done : ids.shape[1]] = ids[:, done:]
            unended = ~torch.isin(ids[:, done:], ends).any(dim=1)
            if not unended.any():
                break
            rows, ids, mask = rows[unended], ids[unended], mask[unended]
            mask = torch.nn.functional.pad(mask, (0, ids.shape[1] - mask.shape[1]), value=1)
            cache.batch_select_indices(unended.nonzero()[:, 0])
        return whole[:, : ids.shape[1]]


class Draw(LogitsProcessor):
    """Samples the next token by inverse transform and leaves it as the only one, for a greedy search to take.

    The same distribution as ``torch.multinomial``, which draws an exponential variate for every token of the
    vocabulary, one after another: a ninth of a compiled step on a CPU. Here it is one uniform variate a row.
    """

    def __init__(self, temperature: float | None = 1.0):
        self.temperature = temperature or 1.0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores of shape ``(rows, vocabulary)``: zero for the drawn token, minus infinity for the others."""
        wide = widest(scores.device)
        mass = (scores.float() / self.temperature).softmax(dim=-1).cumsum(dim=-1, dtype=wide)
        place = torch.rand_like(mass[:, -1:]) * mass[:, -1:]
        token = torch.searchsorted(mass, place, right=True).clamp(max=scores.shape[-1] - 1)
        return torch.full_like(scores, -torch.inf).scatter(1, token, 0.0)


def widest(device: torch.device) -> torch.dtype:
    """What probabilities of a whole vocabulary are added up in: float64, which Apple's device does not
    know."""
    return torch.float32 if device.type == "mps" else torch.float64


def _told(name: str, how: dict[str, Any], *configs: GenerationConfig | None) -> Any:
    """A setting of ``generate``: the call's own, or the first that a configuration has."""
    found = (how.get(name), *(getattr(config, name, None) for config in configs))
    return next((value for value in found if value is not None), None)


def _looks_at_the_whole(how: dict[str, Any], config: GenerationConfig | None) -> bool:
    """Whether something is asked for that a part of the completion, or of the batch, could not give."""
    return any(_told(name, how, config) for name in _WHOLE)


def _is_plain_sampling(config: GenerationConfig | None, default: GenerationConfig) -> bool:
    """Whether tokens are drawn from the whole distribution, which only the temperature shapes, as GRPO's
    rollouts are.

    What ``config`` leaves open, ``default`` (the model's own) or transformers may fill, so top-p and top-k
    must be switched off outright.
    """
    if config is None or not config.do_sample or config.top_p != 1.0 or config.top_k != 0:
        return False
    neutral = {"typical_p": 1.0, "min_p": 0.0, "epsilon_cutoff": 0.0, "eta_cutoff": 0.0, "top_h": None}
    return all(
        getattr(each, key, None) in (None, value)
        for each in (config, default)
        for key, value in neutral.items()
    )


def _is_whole(cache: DynamicCache) -> bool:
    """Whether no sliding window has dropped tokens, so that their places in the cache are those in the
    text."""
    return all(layer.keys.shape[-2] == cache.get_seq_length() for layer in cache.layers)


def _static(cache: DynamicCache, length: int) -> Cache:
    """The same cache with room for ``length`` tokens."""
    layers = [StaticLayer(max_cache_len=length) for _ in cache.layers]
    for new, old in zip(layers, cache.layers, strict=True):
        new.update(old.keys, old.values)
    return Cache(layers=layers)
