"""Keys and values of past tokens in buffers with room to grow.

Knows: transformers' cache layers, and how to put others in their place. Does not know: any model.

The stock dynamic cache joins all past keys and values with each new token's, a copy of the whole cache for every token sampled: on a
CPU about a fifth of a decoding step. Here a new token is written behind the last one, and only a full buffer is copied.
"""

from __future__ import annotations

import torch
from transformers.cache_utils import DYNAMIC_LAYER_TYPE_MAPPING, DynamicLayer, DynamicSlidingWindowLayer

ROOM = 128  # tokens that fit behind a copy, at the least


class _Buffer:
    """A tensor of shape ``(batch, heads, tokens, size)`` with spare tokens; ``held`` is the view of those in use."""

    def __init__(self) -> None:
        self.tensor: torch.Tensor | None = None
        self.start, self.held = 0, None

    def extend(self, held: torch.Tensor | None, new: torch.Tensor) -> torch.Tensor:
        """``held`` and ``new`` joined; a copy only where there is no room, or where ``held`` is not what was kept last."""
        length = 0 if held is None or held.numel() == 0 else held.shape[-2]
        total = length + new.shape[-2]
        if self.tensor is None or held is not self.held or self.start + total > self.tensor.shape[-2]:
            self.tensor, self.start = new.new_empty((*new.shape[:2], total + max(ROOM, total), new.shape[-1])), 0
            if length:
                self.tensor[:, :, :length] = held
        self.tensor[:, :, self.start + length : self.start + total] = new
        return self.tensor[:, :, self.start : self.start + total]

    def keep(self, joined: torch.Tensor, most: int | None = None) -> torch.Tensor:
        """What is held from now on: all of ``joined``, or its last ``most`` tokens."""
        dropped = 0 if most is None else max(0, joined.shape[-2] - most)
        self.start += dropped
        self.held = joined[:, :, dropped:]
        return self.held


class GrowingLayer(DynamicLayer):
    """:class:`DynamicLayer` without a copy for every token."""

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Start empty."""
        super().lazy_initialization(key_states, value_states)
        self._buffers = _Buffer(), _Buffer()

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args, **kwargs) -> tuple[torch.Tensor, torch.Tensor]:
        """Append keys and values of shape ``(batch, heads, tokens, size)`` and return all."""
        if torch.is_grad_enabled():  # writing in place would spoil the graph
            return super().update(key_states, value_states, *args, **kwargs)
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        keys, values = self._buffers
        self.keys = keys.keep(keys.extend(self.keys, key_states))
        self.values = values.keep(values.extend(self.values, value_states))
        return self.keys, self.values


class GrowingSlidingWindowLayer(DynamicSlidingWindowLayer):
    """:class:`DynamicSlidingWindowLayer` without a copy for every token."""

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Start empty."""
        super().lazy_initialization(key_states, value_states)
        self._buffers = _Buffer(), _Buffer()

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args, **kwargs) -> tuple[torch.Tensor, torch.Tensor]:
        """Append keys and values; return them behind those of the window."""
        if torch.is_grad_enabled() or self.record_past:
            return super().update(key_states, value_states, *args, **kwargs)
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.cumulative_length += key_states.shape[-2]
        keys, values = self._buffers
        all_keys, all_values = keys.extend(self.keys, key_states), values.extend(self.values, value_states)
        self.keys, self.values = keys.keep(all_keys, self.sliding_window - 1), values.keep(all_values, self.sliding_window - 1)
        return all_keys, all_values


def use_growing_cache() -> None:
    """Every dynamic cache made from now on has growing layers."""
    DYNAMIC_LAYER_TYPE_MAPPING["full_attention"] = GrowingLayer
    DYNAMIC_LAYER_TYPE_MAPPING["sliding_attention"] = GrowingSlidingWindowLayer
