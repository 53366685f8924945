"""Prompts that are read in pieces leave the keys and values of prompts that are read whole."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from empathy_lib.models import decoding

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


@pytest.fixture
def prompts():
    """Five rows of up to 23 tokens, padded on the left, one there twice."""
    torch.manual_seed(1)
    ids, mask = torch.randint(3, 50, (5, 23)), torch.ones(5, 23, dtype=torch.long)
    for row, padding in enumerate((0, 4, 19, 22)):
        mask[row, :padding] = 0
    ids[4], mask[4] = ids[1], mask[1]
    return ids * mask, mask


@pytest.fixture
def model():
    torch.manual_seed(2)
    return LlamaForCausalLM(LlamaConfig(vocab_size=50, num_key_value_heads=2, **SIZES)).eval()


@pytest.fixture
def passes(model):
    """Rows and tokens of each pass."""
    seen = []
    model.register_forward_pre_hook(
        lambda _, args, how: seen.append(tuple(how["input_ids"].shape)), with_kwargs=True
    )
    return seen


@pytest.mark.parametrize("at_once", [1, 20, 21, 91, 92])  # widths of 1, 5, 5, 22 and 23 tokens
def test_prompts_read_in_pieces_are_those_read_whole(model, prompts, passes, monkeypatch, at_once):
    ids, mask = prompts
    with torch.no_grad():
        whole = decoding.read_prompts(model, ids, mask)
        assert passes == [(4, 22)]
        monkeypatch.setattr(decoding, "TOKENS_AT_ONCE", at_once)
        pieces = decoding.read_prompts(model, ids, mask)
    assert max(rows * width for rows, width in passes[1:]) <= max(at_once, 4)
    assert sum(width for _, width in passes[1:]) == 22
    shown = mask[:, :-1].bool()
    for one, other in zip(whole.layers, pieces.layers, strict=True):
        for kind in ("keys", "values"):
            first, second = (getattr(layer, kind).transpose(1, 2)[shown] for layer in (one, other))
            torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-6)


def test_with_a_gradient_prompts_are_read_whole(model, prompts, passes, monkeypatch):
    monkeypatch.setattr(decoding, "TOKENS_AT_ONCE", 1)
    decoding.read_prompts(model, *prompts)
    assert passes == [(4, 22)]
