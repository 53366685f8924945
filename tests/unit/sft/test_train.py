"""Pairs, and SFT on a tiny random model: loss, steps, early stopping."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from stages import MODEL, weights
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from empathy_lib.core import coe
from empathy_lib.core.config import BaseModelConfig, SFTStageConfig
from empathy_lib.core.errors import UserError
from empathy_lib.core.schema import Answer
from empathy_lib.models import base as base_models
from empathy_lib.sft import train as sft


def test_pairs_take_every_question_before_any_twice(items, tokenizer, rng):
    drawn = sft.sft_pairs(items, tokenizer, 8, rng, coe=True)
    assert {p["id"] for p in drawn[: len(items)]} == {i.id for i in items}
    assert all(coe.is_well_formed(p["completion"]) for p in drawn)


def test_both_policies_learn_from_the_same_answers(items, tokenizer):
    with_chain, without = (
        sft.sft_pairs(items, tokenizer, 8, np.random.default_rng(3), coe=c) for c in (True, False)
    )
    assert [coe.parse(p["completion"]).answer for p in with_chain] == [p["completion"] for p in without]


def test_answer_without_chain_is_named(items, tokenizer, rng):
    bare = items[0].model_copy(update={"answers": [Answer(text="只有回复")]})
    with pytest.raises(UserError, match=r"item 't0'.*annotator=rules"):
        sft.sft_pairs([bare], tokenizer, 1, rng, coe=True)


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
    config = SFTStageConfig(batch_size=1, max_steps=1, learning_rate=1e-12, checkpoint_steps=1)
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
    assert log[0]["loss"] == pytest.approx(-picked[len(prompt) - 1 :].mean().item(), rel=1e-3)


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
        batch_size=2, max_steps=30, learning_rate=0.03, warmup_ratio=0, checkpoint_steps=2, patience=2
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
        SFTStageConfig(batch_size=2, max_steps=1, learning_rate=1e-12, checkpoint_steps=1),
        MODEL,
        seed=1,
    )
    assert next(record["eval_loss"] for record in again if "eval_loss" in record) == pytest.approx(
        losses[best], rel=1e-3
    )


def test_too_long_items_are_dropped_and_none_left_is_an_error(base, pairs, tokenizer, tmp_path):
    assert sft.fits(pairs, tokenizer, 10_000) == pairs and sft.fits(pairs, tokenizer, 10) == []
    long = [{**pairs[0], "prompt": pairs[0]["prompt"] * 20}]
    with pytest.raises(UserError, match="max_length=32"):
        sft.train_sft(base, long, long, tmp_path, SFTStageConfig(), BaseModelConfig(max_length=32), seed=1)
