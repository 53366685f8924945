"""GRPO on a tiny random model: what is shown, compared and learnt."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from stages import FakeJudge, Kill, run_grpo, weights

from empathy_lib.core.coe import render
from empathy_lib.core.config import GenerationConfig, GRPOStageConfig
from empathy_lib.core.errors import UserError
from empathy_lib.core.identity import digest
from empathy_lib.grpo import figures
from empathy_lib.grpo import train as grpo
from empathy_lib.models import training
from empathy_lib.models.base import load_policy
from empathy_lib.models.passes import rows_per_pass
from empathy_lib.models.prompts import plain_prompt
from empathy_lib.reward import paid
from empathy_lib.reward.chain import ChainReward


def test_grpo_answers_the_same_posts_at_every_checkpoint(base, items, tmp_path, monkeypatch):
    """Sampling them draws nothing from the run's random numbers, and a resumed run ends with the same
    records."""
    config = GRPOStageConfig(
        max_steps=7,
        prompts_per_step=2,
        num_generations=2,
        micro_batch=2,
        learning_rate=1e-3,
        checkpoint_steps=2,
    )
    reward = paid.AnswerReward(FakeJudge(), "smooth")
    settings = {
        "reward": reward,
        "config": config,
        "generation": GenerationConfig(max_new_tokens=8),
        "seed": 1,
    }
    grpo.train_grpo(base, items, folder=tmp_path / "whole", shown=[items[0].question], **settings)

    class Killed(training.JsonlLog, Kill):
        pass

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(grpo, "JsonlLog", Killed)
        grpo.train_grpo(base, items, folder=tmp_path / "killed", shown=[items[0].question], **settings)
    grpo.train_grpo(base, items, folder=tmp_path / "killed", shown=[items[0].question], **settings)
    records = [training.read_log(tmp_path / name / "samples.jsonl") for name in ("whole", "killed")]
    assert records[0] == records[1] and [r["step"] for r in records[0]] == [2, 4, 6, 7]
    assert all(len(r["completions"]) == 1 for r in records[0])
    run_grpo(base, items, None, tmp_path / "unwatched")
    one, other = (load_file(tmp_path / name / "policy/model.safetensors") for name in ("whole", "unwatched"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_comparison_changes_one_thing():
    config, changed = GRPOStageConfig(beta=0.3), {}
    for name in ("no_sft", "no_coe", "smooth", "decoupled", "chain"):
        made = grpo.comparison(config, name)
        changed[name] = {key: value for key, value in vars(made).items() if value != getattr(config, key)}
    assert changed == {
        "no_sft": {},
        "no_coe": {},
        "smooth": {"reward": "smooth"},
        "decoupled": {"aggregation": "decoupled"},
        "chain": {"chain_reward": True},
    }
    with pytest.raises(UserError, match=r"grpo\.chain_reward is true"):
        grpo.comparison(GRPOStageConfig(chain_reward=True), "chain")


def test_a_request_changes_when_true_chains_are_paid_for_and_not_before():
    """A run without it asks for what it asked for when there was no such field."""
    plain, paid_too = (GRPOStageConfig(chain_reward=on).model_dump() for on in (False, True))
    assert "chain_reward" not in plain and paid_too == plain | {"chain_reward": True}
    assert GRPOStageConfig(**paid_too).chain_reward and digest(plain) != digest(paid_too)


def test_true_chains_are_paid_by_the_labels_of_the_posts_in_training(items):
    reward = paid.AnswerReward(FakeJudge())
    functions = {
        on: grpo.rewards_of(reward, items, GRPOStageConfig(chain_reward=on), chain=True) for on in (0, 1)
    }
    names = [[function.__name__ for function in each] for each in functions.values()]
    assert names == [["r_format", "r_answer"], ["r_format", "r_answer", "r_chain"]]
    texts = [render(items[0].answers[0].coe, "好好"), "好好"]
    paid_each = [f(completions=texts, question=[items[0].question] * 2) for f in functions[1]]
    assert paid_each == [[1, 0], [1, 0], [0.75, 0]]  # the chain names no bias
    plain = grpo.rewards_of(reward, items, GRPOStageConfig(chain_reward=True), chain=False)
    assert [function.__name__ for function in plain] == ["r_answer"]


@pytest.mark.parametrize("killed", [False, True])
def test_training_logs_what_it_pays_for_true_chains_and_resumes(base, items, tmp_path, monkeypatch, killed):
    config = GRPOStageConfig(
        chain_reward=True,
        max_steps=6,
        prompts_per_step=1,
        num_generations=2,
        micro_batch=2,
        checkpoint_steps=1,
    )
    chains = iter(range(10**6))

    def shares(self, posts, completions):  # what a random model writes is no chain
        return np.array([next(chains) % 2 for _ in posts], dtype=float)

    monkeypatch.setattr(ChainReward, "rate", shares)
    settings = (
        paid.AnswerReward(FakeJudge(), "smooth"),
        tmp_path,
        config,
        GenerationConfig(max_new_tokens=8),
        1,
    )
    if killed:

        class Killed(training.JsonlLog, Kill):
            pass

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(grpo, "JsonlLog", Killed)
            grpo.train_grpo(base, items, *settings)
    log = [record for record in grpo.train_grpo(base, items, *settings) if "reward" in record]
    assert [record["step"] for record in log] == [1, 2, 3, 4, 5, 6]
    for record in log:
        parts = [record[f"rewards/{name}/mean"] for name in ("r_format", "r_answer", "r_chain")]
        assert parts[2] == 0.5 and record["reward"] == pytest.approx(sum(parts), abs=1e-4)
    titles = lambda logs: [axes.get_title() for axes in figures.grpo_curves(logs, "x").axes]  # noqa: E731
    plain = [{key: value for key, value in record.items() if "r_chain" not in key} for record in log]
    assert "mean r_chain" in titles([log]) and "mean r_chain" not in titles([plain])


def test_group_advantages():
    advantages = grpo.group_advantages(np.array([[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]))
    assert advantages[0] == pytest.approx([0.866, 0.866, -0.866, -0.866], abs=1e-3)
    assert (advantages[1] == 0).all()


@pytest.mark.parametrize(("tuning", "aggregation"), [("full", "sum"), ("full", "decoupled"), ("lora", "sum")])
def test_grpo_runs_from_the_sft_policy(base, items, tmp_path, monkeypatch, tuning, aggregation):
    config = GRPOStageConfig(
        tuning=tuning,
        aggregation=aggregation,
        max_steps=2,
        prompts_per_step=1,
        num_generations=4,
        micro_batch=2,
        learning_rate=1e-3,
        checkpoint_steps=1,
    )
    reward = paid.AnswerReward(FakeJudge(), "smooth")
    rates = []
    real = grpo.SharedPromptGRPOTrainer.train

    def watched(trainer, **named):
        layers = [m for m in trainer.model.modules() if isinstance(m, torch.nn.Dropout)]
        assert bool(layers) == (tuning == "lora")  # adapters have dropout in SFT; here it must be off
        rates.extend(layer.p for layer in layers)
        return real(trainer, **named)

    monkeypatch.setattr(grpo.SharedPromptGRPOTrainer, "train", watched)
    log = grpo.train_grpo(base, items, reward, tmp_path, config, GenerationConfig(max_new_tokens=8), seed=1)
    assert not any(rates)
    record = next(r for r in log if "reward" in r)
    assert {
        "rewards/r_format/mean",
        "rewards/r_answer/mean",
        "kl",
        "frac_reward_zero_std",
        "completions/mean_length",
    } <= record.keys()
    assert weights(base).keys() == weights(tmp_path / "policy").keys()


def test_grpo_without_the_chain_is_asked_plainly_and_paid_for_the_whole_text(base, items, tmp_path):
    config = GRPOStageConfig(max_steps=1, prompts_per_step=1, num_generations=4, micro_batch=4)
    reward = paid.AnswerReward(FakeJudge(), "smooth")
    short = GenerationConfig(max_new_tokens_cap=8)  # auto, which the items' answers would make longer
    log = grpo.train_grpo(base, items, reward, tmp_path, config, short, seed=1, chain=False)
    record = next(r for r in log if "reward" in r)
    assert record["completions/max_length"] == 8
    room = json.loads((tmp_path / "lengths.json").read_text())["completions"]
    assert (room["tokens"], room["source"]) == (8, "cap") and room["longest"] > 8
    assert "rewards/r_answer/mean" in record and "rewards/r_format/mean" not in record
    assert record["reward"] == pytest.approx(record["rewards/r_answer/mean"])
    tokenizer = load_policy(base)[1]
    asked = grpo.prompts_of(items, tokenizer, 2, 1, plain_prompt)
    assert asked["prompt"][0] == plain_prompt(tokenizer, asked["question"][0])


def test_a_pass_takes_as_many_completions_as_the_budget_holds_and_divides_a_step():
    config = GRPOStageConfig(prompts_per_step=4, num_generations=8, micro_batch=8)
    assert rows_per_pass(config, 32, 200, 288) == 8
    found = {
        budget: rows_per_pass(config.model_copy(update={"tokens_per_pass": budget}), 32, 200, 288)
        for budget in (100, 800, 1100, 1351, 1352, 9999)
    }
    assert found == {100: 1, 800: 2, 1100: 2, 1351: 2, 1352: 4, 9999: 8}
    odd = GRPOStageConfig(prompts_per_step=1, num_generations=6, micro_batch=6, tokens_per_pass=500)
    assert rows_per_pass(odd, 6, 0, 100) == 3
