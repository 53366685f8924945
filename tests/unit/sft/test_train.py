"""SFT on a tiny random model: loss, steps, passes, early stopping, and what is refused."""

import json
import weakref

import numpy as np
import pytest
import torch
from datasets import Dataset
from stages import MODEL, weights
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from empathy_lib.core.config import BaseModelConfig, SFTStageConfig
from empathy_lib.core.errors import UserError
from empathy_lib.models import base as base_models
from empathy_lib.sft import train as sft
from empathy_lib.sft import validation_losses


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_sft_trains_and_saves_a_whole_policy(base, pairs, tmp_path, tuning):
    config = SFTStageConfig(tuning=tuning, batch_size=4, max_steps=6, learning_rate=1e-2, checkpoint_steps=3)
    log = sft.train_sft(base, pairs, pairs[:2], tmp_path, config, MODEL, seed=1)
    losses = [r["eval_loss"] for r in log if "eval_loss" in r]
    assert losses[-1] < losses[0]
    before, after = weights(base), weights(tmp_path / "policy")
    assert before.keys() == after.keys()  # LoRA is merged
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert not (tmp_path / "checkpoints").exists()
    assert list((tmp_path / "policy").glob("*.safetensors"))


def test_sft_loss_is_on_the_completion_only(base, pairs, tmp_path):
    """With a learning rate of nearly 0 the logged loss is the mean NLL of completion tokens, end token
    included."""
    config = SFTStageConfig(batch_size=1, max_steps=1, learning_rate=1e-12, allow_worse_than_base=True)
    log = sft.train_sft(
        base, pairs[:1], pairs[:1], tmp_path, config, BaseModelConfig(max_length=400, dtype="float32"), seed=1
    )
    model, tokenizer = base_models.load_policy(base, dtype="float32")
    prompt = tokenizer(pairs[0]["prompt"])["input_ids"]
    whole = tokenizer(pairs[0]["prompt"] + pairs[0]["completion"] + tokenizer.eos_token, return_tensors="pt")[
        "input_ids"
    ]
    with torch.no_grad():
        picked = model(whole).logits.log_softmax(-1)[0, :-1].gather(1, whole[0, 1:, None])[:, 0]
    loss = next(record["loss"] for record in log if "loss" in record)
    assert loss == pytest.approx(-picked[len(prompt) - 1 :].mean().item(), rel=1e-3)


def test_sft_takes_the_steps_of_a_stock_trainer(base, pairs, tmp_path, compiled):
    """Our trainer with its optimizer and attention against TRL's own, same batch and rate, in float32: same
    losses, same weights."""
    config = SFTStageConfig(batch_size=4, max_steps=6, learning_rate=1e-3, checkpoint_steps=1)
    ours = sft.train_sft(
        base,
        pairs[:4],
        pairs[:2],
        tmp_path / "ours",
        config,
        BaseModelConfig(max_length=400, dtype="float32"),
        seed=1,
    )
    arguments = SFTConfig(
        str(tmp_path / "stock"),
        max_steps=6,
        per_device_train_batch_size=4,
        learning_rate=1e-3,
        lr_scheduler_type="cosine",
        warmup_steps=0.05,
        adam_beta2=0.99,
        bf16=False,
        use_cpu=True,
        report_to="none",
        max_length=None,
        logging_steps=5,
        logging_first_step=True,
        eval_strategy="steps",
        eval_steps=1,
        eval_on_start=True,
        per_device_eval_batch_size=4,
        seed=1,
        completion_only_loss=True,
    )
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    columns = [{key: pair[key] for key in ("prompt", "completion")} for pair in pairs]
    rows = {"train_dataset": Dataset.from_list(columns[:4]), "eval_dataset": Dataset.from_list(columns[:2])}
    stock = SFTTrainer(
        model=model, args=arguments, processing_class=AutoTokenizer.from_pretrained(base), **rows
    )
    stock.train()
    for name in ("loss", "eval_loss"):
        one, other = (
            [record[name] for record in log if name in record] for log in (ours, stock.state.log_history)
        )
        assert len(one) >= 2 and one[: len(other)] == pytest.approx(other, rel=1e-4), name
    trained = weights(tmp_path / "ours/policy")  # saved as bfloat16: eight significant bits
    assert all(
        torch.allclose(trained[name], p.detach(), rtol=1e-2, atol=1e-4)
        for name, p in stock.model.named_parameters()
    )


def test_sft_stops_when_the_validation_loss_no_longer_falls_and_keeps_the_best_policy(base, pairs, tmp_path):
    """At a rate far too high the loss soon rises: training ends ``patience`` evaluations after the best,
    whose weights are those kept."""
    config = SFTStageConfig(
        batch_size=2,
        max_steps=30,
        learning_rate=0.03,
        warmup_ratio=0,
        warmup_steps=0,
        checkpoint_steps=2,
        patience=2,
    )
    log = sft.train_sft(base, pairs[2:4], pairs[:2], tmp_path / "high", config, MODEL, seed=1)
    losses = {record["step"]: record["eval_loss"] for record in log if "eval_loss" in record}
    best = min(losses, key=losses.get)
    assert max(losses) == best + 4 < 30
    again = sft.train_sft(
        tmp_path / "high/policy",
        pairs,
        pairs[:2],
        tmp_path / "look",
        SFTStageConfig(batch_size=2, max_steps=1, learning_rate=1e-12, allow_worse_than_base=True),
        MODEL,
        seed=1,
    )
    assert next(record["eval_loss"] for record in again if "eval_loss" in record) == pytest.approx(
        losses[best], rel=1e-3
    )


def test_too_long_items_are_left_out_said_and_recorded(base, pairs, tmp_path, capsys):
    long = {**pairs[0], "prompt": pairs[0]["prompt"] * 20}
    config = SFTStageConfig(batch_size=2, max_steps=2, learning_rate=1e-2)
    sft.train_sft(base, [*pairs[:3], long], pairs[:2], tmp_path, config, MODEL, seed=1)
    assert "training: 1 of 4 pairs (25.0%) are left out: longer than 400 tokens" in capsys.readouterr().out
    record = json.loads((tmp_path / "lengths.json").read_text())
    assert record["training"]["left_out"] == 1 and record["validation"]["left_out"] == 0
    with pytest.raises(UserError, match=r"no pair has room: 1 of 1 pairs .* longer than 32 tokens"):
        short = BaseModelConfig(max_length=32)
        sft.train_sft(base, [long], [long], tmp_path / "none", SFTStageConfig(), short, seed=1)


def test_the_first_look_at_the_validation_loss_is_the_bases_own(base, pairs, tmp_path):
    """Summed over all completion tokens of all pairs, whatever batch they are in."""
    config = SFTStageConfig(batch_size=4, max_steps=4, learning_rate=1e-2)
    exact = BaseModelConfig(max_length=400, dtype="float32")
    log = sft.train_sft(base, pairs, pairs[:3], tmp_path, config, exact, seed=1)
    model, tokenizer = base_models.load_policy(base, dtype="float32")
    nll, tokens = [], []
    for pair in pairs[:3]:
        prompt = len(tokenizer(pair["prompt"])["input_ids"])
        whole = tokenizer(
            pair["prompt"] + pair["completion"] + tokenizer.eos_token, return_tensors="pt"
        ).input_ids
        with torch.no_grad():
            picked = model(whole).logits.log_softmax(-1)[0, :-1].gather(1, whole[0, 1:, None])[prompt - 1 :]
        nll.append(-picked.sum().item())
        tokens.append(len(picked))
    first = next(record for record in log if "eval_loss" in record)
    assert first["step"] == 0 and first["eval_loss"] == pytest.approx(sum(nll) / sum(tokens), rel=1e-4)
    record = json.loads((tmp_path / "validation.jsonl").read_text().splitlines()[0])
    assert record["step"] == 0 and record["tokens"] == tokens
    assert record["nll"] == pytest.approx(nll, rel=1e-4)
    assert [r["step"] for r in log if "eval_loss" in r] == [0, 1, 2, 3, 4]
    found = validation_losses(tmp_path, resamples=50, rng=np.random.default_rng(0))
    assert found.base.value == pytest.approx(first["eval_loss"]) and found.base.n == 3
    assert found.base.low <= found.base.value <= found.base.high
    assert found.policy.value == pytest.approx(min(r["eval_loss"] for r in log if "eval_loss" in r))
    assert found.difference.value == pytest.approx(found.policy.value - found.base.value) and found.step > 0


@pytest.mark.parametrize("budget", [64, 150, 10_000])
def test_passes_of_a_batch_change_neither_losses_nor_weights(base, pairs, tmp_path, budget):
    exact = BaseModelConfig(max_length=400, dtype="float32")
    made = []
    for name, tokens in (("whole", 0), ("parts", budget)):
        config = SFTStageConfig(batch_size=4, max_steps=4, learning_rate=1e-3, tokens_per_pass=tokens)
        log = sft.train_sft(base, pairs, pairs[:3], tmp_path / name, config, exact, seed=1)
        losses = [r[key] for r in log for key in ("loss", "eval_loss", "grad_norm") if key in r]
        made.append((losses, weights(tmp_path / name / "policy")))
    (whole, before), (parts, after) = made
    assert len(whole) > 5 and parts == pytest.approx(whole, rel=1e-4)
    assert all(torch.allclose(before[name], after[name], rtol=1e-2, atol=1e-4) for name in before)


def test_a_policy_no_better_than_the_base_is_refused_and_not_lost(base, pairs, tmp_path, capsys):
    """A rate far too high, from the first step on."""
    config = SFTStageConfig(batch_size=2, max_steps=4, learning_rate=5.0, warmup_ratio=0, warmup_steps=0)
    start = base, pairs[2:6], pairs[:2], tmp_path / "coe"
    says = r"sft, coe: the best validation loss, .* at step \d, is not below the base's own, .*; lower "
    says += (
        r"sft.learning_rate \(5\), raise sft.max_items or sft.warmup_steps; the policy lies in (\S*refused)"
    )
    with pytest.raises(UserError, match=says) as error:
        sft.train_sft(*start, config, MODEL, seed=1)
    assert "\n" not in str(error.value) and not (tmp_path / "coe/policy").exists()
    trained = weights(tmp_path / "coe/policy_refused")
    with pytest.raises(UserError, match=says):  # asked for again: without another training
        sft.train_sft(*start, config.model_copy(update={"max_steps": 10**9}), MODEL, seed=1)
    log = sft.train_sft(*start, config.model_copy(update={"allow_worse_than_base": True}), MODEL, seed=1)
    assert "warning: sft, coe: the best validation loss" in capsys.readouterr().out
    kept = weights(tmp_path / "coe/policy")
    assert all(torch.equal(kept[name], trained[name]) for name in kept)
    assert min(r["eval_loss"] for r in log if r.get("eval_loss") and r["step"]) >= log[0]["eval_loss"]


def test_a_training_leaves_nothing_in_memory(base, pairs, tmp_path, monkeypatch):
    held = []

    class Watched(sft.PassesTrainer):
        def __init__(self, *given, **named):
            super().__init__(*given, **named)
            held.extend(map(weakref.ref, (self, self.model, named["optimizers"][0])))

    monkeypatch.setattr(sft, "PassesTrainer", Watched)
    config = SFTStageConfig(batch_size=2, max_steps=2, learning_rate=1e-2)
    sft.train_sft(base, pairs, pairs[:2], tmp_path, config, MODEL, seed=1)
    assert len(held) == 3 and [reference() for reference in held] == [None] * 3
