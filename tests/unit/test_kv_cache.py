"""The growing cache holds what transformers' own holds, step by step, and changes no completion."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, cache_utils
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from empathy_lib import kv_cache


@pytest.mark.parametrize("window", [None, 4, 300])
def test_every_step_equals_the_stock_layer(window, monkeypatch):
    monkeypatch.setattr(kv_cache, "ROOM", 3)
    stock = DynamicSlidingWindowLayer(window) if window else DynamicLayer()
    ours = kv_cache.GrowingSlidingWindowLayer(window) if window else kv_cache.GrowingLayer()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for step, tokens in enumerate([5, 1, 1, 1, 2, 1, 1, 1, 1, 7, 1, 1]):
            new = [torch.randn(3, 2, tokens, 4, generator=generator) for _ in range(2)]
            sizes = [layer.get_mask_sizes(tokens) for layer in (stock, ours)]
            assert sizes[0] == sizes[1]
            for one, other in zip(stock.update(*new), ours.update(*new), strict=True):
                assert torch.equal(one, other)
            assert torch.equal(stock.keys, ours.keys) and stock.get_seq_length() == ours.get_seq_length()
            if step == 6:  # rows that are taken out of the batch are gone from the next step
                for layer in (stock, ours):
                    layer.batch_select_indices(torch.tensor([2, 0, 1]))


def test_a_step_with_gradients_spoils_no_graph():
    layer = kv_cache.GrowingLayer()
    first = torch.randn(1, 1, 2, 4, requires_grad=True)
    keys, _ = layer.update(first, first)
    layer.update(first[:, :, :1], first[:, :, :1])
    keys.square().sum().backward()
    assert torch.allclose(first.grad, 2 * first)


def test_completions_are_those_of_the_stock_cache(hub_folder, monkeypatch):
    monkeypatch.setattr(cache_utils, "DYNAMIC_LAYER_TYPE_MAPPING", dict(cache_utils.DYNAMIC_LAYER_TYPE_MAPPING))
    tokenizer = AutoTokenizer.from_pretrained(hub_folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(hub_folder, dtype=torch.float32)
    batch = tokenizer(["最近总是失眠，我很焦虑。", "你好"], return_tensors="pt", padding=True)
    made = []
    for layers in ((DynamicLayer, DynamicSlidingWindowLayer), (kv_cache.GrowingLayer, kv_cache.GrowingSlidingWindowLayer)):
        mapping = dict(zip(("full_attention", "sliding_attention"), layers, strict=True))
        cache_utils.DYNAMIC_LAYER_TYPE_MAPPING.update(mapping)
        made.append(
            model.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                max_new_tokens=40,
                min_new_tokens=40,
                do_sample=False,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
    assert torch.equal(*made)
