"""Attention for grouped-query models on a CPU, without copying keys and values for every query head.

Knows: the one function, registered with transformers as ``"grouped"``. Does not know: any model.

The stock implementations repeat each key and value head until there is one per query head (Gemma 3 270M: four
copies). On a CPU these copies are most of a decoding step. Folding the query heads of a group into the query
length gives the same products without a copy.
"""

from __future__ import annotations

import functools

import torch
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

NAME, COMPILED = "grouped", "grouped_compiled"


def grouped_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    softcap: float | None = None,
    **_,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scaled dot-product attention in transformers' signature.

    Args:
        query: shape ``(batch, heads, length, size)``.
        key, value: shape ``(batch, groups, total, size)``; ``heads`` is a multiple of ``groups``.
        attention_mask: added to the scores, shape ``(batch, 1, length, total)``.

    Returns:
        Output of shape ``(batch, length, heads, size)`` and weights of shape ``(batch, heads, length,
        total)``.
    """
    batch, heads, length, size = query.shape
    groups, total = key.shape[1], key.shape[2]
    folded = query.reshape(batch, groups, heads // groups * length, size)
    scores = (folded @ key.transpose(2, 3)).view(batch, heads, length, total) * scaling
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if attention_mask is not None:
        scores = scores + attention_mask[:, :, :, :total]
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = torch.nn.functional.dropout(weights, p=dropout, training=module.training)
    output = (weights.view(batch, groups, heads // groups * length, total) @ value).view(
        batch, heads, length, size
    )
    return output.transpose(1, 2).contiguous(), weights


@functools.cache
def _compiled():
    return torch.compile(grouped_attention, dynamic=True)


def compiled_attention(module, query, key, value, attention_mask, scaling, dropout=0.0, softcap=None, **_):
    """:func:`grouped_attention`, compiled when first called; what it does not read is not handed on, as
    compilation would watch it."""
    # within a compiled step it is compiled already
    attend = grouped_attention if torch.compiler.is_compiling() else _compiled()
    return attend(module, query, key, value, attention_mask, scaling, dropout, softcap)


for _name, _function in ((NAME, grouped_attention), (COMPILED, compiled_attention)):
    ALL_ATTENTION_FUNCTIONS.register(_name, _function)
    ALL_MASK_ATTENTION_FUNCTIONS.register(_name, ALL_MASK_ATTENTION_FUNCTIONS["eager"])
