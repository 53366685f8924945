"""Grouped attention computes what the stock implementation does."""

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from empathy_lib.models import attention


def test_same_logits_and_gradients_as_eager_with_padding(hub_folder):
    tokenizer = AutoTokenizer.from_pretrained(hub_folder, padding_side="left")
    batch = tokenizer(["最近总是失眠，我很焦虑。", "你好"], return_tensors="pt", padding=True)
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    results = []
    for name in ("eager", attention.NAME):
        model = AutoModelForCausalLM.from_pretrained(
            hub_folder, dtype=torch.float32, attn_implementation=name
        )
        logits = model(**inputs).logits
        logits[:, -1].square().sum().backward()
        generated = model.generate(
            **inputs, max_new_tokens=5, do_sample=False, pad_token_id=tokenizer.pad_token_id
        )
        results.append((logits[:, -1], model.model.layers[0].self_attn.k_proj.weight.grad, generated))
    for stock, grouped in zip(*results, strict=True):
        assert torch.allclose(stock, grouped, atol=1e-5)


def test_softcap_and_several_groups():
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 4, 3, 8), torch.randn(2, 2, 5, 8), torch.randn(2, 2, 5, 8)
    output, weights = attention.grouped_attention(
        torch.nn.Identity().eval(), query, key, value, None, scaling=0.5, softcap=2.0
    )
    repeated_key, repeated_value = key.repeat_interleave(2, dim=1), value.repeat_interleave(2, dim=1)
    scores = torch.tanh(query @ repeated_key.transpose(2, 3) * 0.5 / 2) * 2
    assert torch.allclose(weights, scores.softmax(-1), atol=1e-6)
    assert torch.allclose(output, (scores.softmax(-1) @ repeated_value).transpose(1, 2), atol=1e-6)
