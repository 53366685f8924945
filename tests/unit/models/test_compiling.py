"""Compiled parts compute what the plain model computes, and are compiled only where that pays."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from empathy_lib.models import attention, compiling

POSTS = ["最近总是失眠，我很焦虑。", "孩子不听话，我每天都很累，也不知道该找谁说。"]


def load(folder):
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation=attention.NAME
    )


def is_compiled(model):
    return model.config._attn_implementation == attention.COMPILED


def losses_and_gradient(model, tokenizer):
    """Losses of three steps on a fixed batch, and the first step's gradient."""
    batch = tokenizer(POSTS, return_tensors="pt", padding=True, return_token_type_ids=False)
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    optimizer, losses, gradient = torch.optim.SGD(model.parameters(), lr=0.1), [], None
    for _ in range(3):
        loss = model(**batch, labels=labels, use_cache=False).loss
        loss.backward()
        gradient = gradient or [parameter.grad.clone() for parameter in model.parameters()]
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses, gradient


def test_losses_and_gradients_are_those_of_the_plain_model(hub_folder, compiled):
    tokenizer, model = AutoTokenizer.from_pretrained(hub_folder), load(hub_folder)
    plain, expected = losses_and_gradient(load(hub_folder), tokenizer)
    compiling.compile_parts(model, 1)
    assert is_compiled(model) == compiled
    losses, gradient = losses_and_gradient(model, tokenizer)
    assert losses == pytest.approx(plain, rel=1e-5) and plain[2] < plain[0]
    for one, other in zip(gradient, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("passes", "parameters"), [(compiling.MIN_PASSES - 1, 1), (compiling.MIN_PASSES, 10**9)]
)
def test_few_passes_or_a_small_model_are_not_worth_it(hub_folder, monkeypatch, passes, parameters):
    monkeypatch.setattr(compiling, "MIN_PARAMETERS", parameters)
    model = load(hub_folder)
    compiling.compile_parts(model, passes)
    assert not is_compiled(model)


def test_without_a_compiler_a_line_says_so(hub_folder, monkeypatch, capsys):
    def missing(function):
        raise RuntimeError("no g++")

    monkeypatch.setattr(torch, "compile", missing)
    monkeypatch.setattr(compiling, "MIN_PARAMETERS", 1)
    compiling.can_compile.cache_clear()
    model = load(hub_folder)
    compiling.compile_parts(model, compiling.MIN_PASSES)
    compiling.can_compile.cache_clear()
    assert not is_compiled(model)
    assert "nothing can be compiled here (RuntimeError)" in capsys.readouterr().out
