"""SFT, reward model and GRPO on a tiny random model: a few steps of each, in full and with LoRA, killed and resumed."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback, TrainerControl
from trl import SFTConfig, SFTTrainer

from empathy_lib import base_models, coe, grpo, reward_model, sft, training, triplets
from empathy_lib.config import BaseModelConfig, GenerationConfig, GRPOStageConfig, RewardConfig, SFTStageConfig
from empathy_lib.empathy_qa.schema import Answer
from empathy_lib.errors import UserError

MODEL = BaseModelConfig(max_length=400)


@pytest.fixture(scope="module")
def tokenizer(base):
    return AutoTokenizer.from_pretrained(base)


@pytest.fixture(scope="module")
def pairs(items, tokenizer):
    return sft.sft_pairs(items, tokenizer, 8, np.random.default_rng(0), coe=True)


def weights(folder):
    return {name: p.detach().float() for name, p in base_models.load_policy(folder)[0].named_parameters()}


def test_pairs_take_every_question_before_any_twice(items, tokenizer, rng):
    drawn = sft.sft_pairs(items, tokenizer, 8, rng, coe=True)
    assert {p["id"] for p in drawn[: len(items)]} == {i.id for i in items}
    assert all(coe.is_well_formed(p["completion"]) for p in drawn)


def test_both_policies_learn_from_the_same_answers(items, tokenizer):
    with_chain, without = (sft.sft_pairs(items, tokenizer, 8, np.random.default_rng(3), coe=c) for c in (True, False))
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
    """With a learning rate of nearly 0 the logged loss is the mean NLL of completion tokens, end token included."""
    config = SFTStageConfig(batch_size=1, max_steps=1, learning_rate=1e-12, checkpoint_steps=1)
    log = sft.train_sft(base, pairs[:1], pairs[:1], tmp_path, config, BaseModelConfig(max_length=400, dtype="float32"), seed=1)
    model, tokenizer = base_models.load_policy(base, dtype="float32")
    prompt = tokenizer(pairs[0]["prompt"])["input_ids"]
    whole = tokenizer(pairs[0]["prompt"] + pairs[0]["completion"] + tokenizer.eos_token, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        picked = model(whole).logits.log_softmax(-1)[0, :-1].gather(1, whole[0, 1:, None])[:, 0]
    assert log[0]["loss"] == pytest.approx(-picked[len(prompt) - 1 :].mean().item(), rel=1e-3)


def test_sft_takes_the_steps_of_a_stock_trainer(base, pairs, tmp_path, compiled):
    """Our trainer with its optimizer and attention against TRL's own, same batch and rate, in float32: same losses, same weights."""
    config = SFTStageConfig(batch_size=4, max_steps=6, learning_rate=1e-3, checkpoint_steps=1)
    ours = sft.train_sft(base, pairs[:4], pairs[:2], tmp_path / "ours", config, BaseModelConfig(max_length=400, dtype="float32"), seed=1)
    arguments = SFTConfig(
        str(tmp_path / "stock"), max_steps=6, per_device_train_batch_size=4, learning_rate=1e-3, lr_scheduler_type="cosine",
        warmup_steps=0.05, adam_beta2=0.99, bf16=False,
        use_cpu=True, report_to="none", max_length=None, logging_steps=5, logging_first_step=True,
        eval_strategy="steps", eval_steps=1, per_device_eval_batch_size=4, seed=1, completion_only_loss=True,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    columns = [{key: pair[key] for key in ("prompt", "completion")} for pair in pairs]
    rows = {"train_dataset": Dataset.from_list(columns[:4]), "eval_dataset": Dataset.from_list(columns[:2])}
    stock = SFTTrainer(model=model, args=arguments, processing_class=AutoTokenizer.from_pretrained(base), **rows)
    stock.train()
    for name in ("loss", "eval_loss"):
        one, other = ([record[name] for record in log if name in record] for log in (ours, stock.state.log_history))
        assert len(one) >= 2 and one[: len(other)] == pytest.approx(other, rel=1e-4), name
    trained = weights(tmp_path / "ours/policy")  # saved as bfloat16: eight significant bits
    assert all(torch.allclose(trained[name], p.detach(), rtol=1e-2, atol=1e-4) for name, p in stock.model.named_parameters())


def test_sft_stops_when_the_validation_loss_no_longer_falls_and_keeps_the_best_policy(base, pairs, tmp_path):
    """At a rate far too high the loss soon rises: training ends ``patience`` evaluations after the best, whose weights are those kept."""
    config = SFTStageConfig(batch_size=2, max_steps=30, learning_rate=0.03, warmup_ratio=0, checkpoint_steps=2, patience=2)
    log = sft.train_sft(base, pairs[2:4], pairs[:2], tmp_path / "high", config, MODEL, seed=1)
    losses = {record["step"]: record["eval_loss"] for record in log if "eval_loss" in record}
    best = min(losses, key=losses.get)
    assert max(losses) == best + 4 < 30
    again = sft.train_sft(tmp_path / "high/policy", pairs, pairs[:2], tmp_path / "look", SFTStageConfig(
        batch_size=2, max_steps=1, learning_rate=1e-12, checkpoint_steps=1), MODEL, seed=1)  # fmt: skip
    assert next(record["eval_loss"] for record in again if "eval_loss" in record) == pytest.approx(losses[best], rel=1e-3)


def test_too_long_items_are_dropped_and_none_left_is_an_error(base, pairs, tokenizer, tmp_path):
    assert sft.fits(pairs, tokenizer, 10_000) == pairs and sft.fits(pairs, tokenizer, 10) == []
    long = [{**pairs[0], "prompt": pairs[0]["prompt"] * 20}]
    with pytest.raises(UserError, match="max_length=32"):
        sft.train_sft(base, long, long, tmp_path, SFTStageConfig(), BaseModelConfig(max_length=32), seed=1)


class Kill(TrainerCallback):
    """Stops a trainer as a kill would: by an exception after some step, nothing saved beyond the last checkpoint."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 5:
            raise KeyboardInterrupt


def run_sft(base, items, pairs, folder):
    config = SFTStageConfig(batch_size=2, max_steps=7, learning_rate=1e-3, checkpoint_steps=2)
    return sft.train_sft(base, pairs, pairs[:2], folder, config, MODEL, seed=1)


def run_reward(base, items, pairs, folder):
    config = RewardConfig(max_triplets=12, batch_size=4, max_steps=7, learning_rate=1e-3, checkpoint_steps=2)
    drawn = triplets.build_triplets(items, config, np.random.default_rng(0))
    return reward_model.train_reward(base, drawn, drawn[:4], folder, config, seed=1)


def run_grpo(base, items, pairs, folder):
    config = GRPOStageConfig(max_steps=7, prompts_per_step=2, num_generations=2, micro_batch=2, learning_rate=1e-3, checkpoint_steps=2)
    reward = grpo.AnswerReward(FakeJudge(), "smooth")
    return grpo.train_grpo(base, items, reward, folder, config, GenerationConfig(max_new_tokens=8), seed=1)


@pytest.mark.parametrize(
    ("stage", "run", "result"), [(sft, run_sft, "policy"), (reward_model, run_reward, "encoder"), (grpo, run_grpo, "policy")]
)
def test_killed_training_resumes_to_the_same_weights(base, items, pairs, tmp_path, monkeypatch, compiled, stage, run, result):
    run(base, items, pairs, tmp_path / "whole")

    class Killed(training.JsonlLog, Kill):
        pass

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(stage, "JsonlLog", Killed)
        run(base, items, pairs, tmp_path / "killed")
    assert training.last_checkpoint(tmp_path / "killed/checkpoints").endswith("checkpoint-4")
    log = run(base, items, pairs, tmp_path / "killed")
    files = sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole" / result).rglob("*.safetensors"))
    assert files
    for name in files:
        first, second = load_file(tmp_path / "whole" / name), load_file(tmp_path / "killed" / name)
        assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
    steps = [r["step"] for r in log if "loss" in r]
    assert steps == sorted(set(steps))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_stage_trains_in_either_arithmetic_and_saves_bfloat16(base, items, pairs, tmp_path, monkeypatch, dtype):
    for module in (base_models, reward_model):
        monkeypatch.setattr(module, "working_dtype", lambda wanted="auto": dtype)
    for run, result in ((run_sft, "policy"), (run_reward, "encoder"), (run_grpo, "policy")):
        log = run(base, items, pairs, tmp_path / run.__name__)
        assert np.isfinite([record["loss"] for record in log if "loss" in record]).all()
        files = list((tmp_path / run.__name__ / result).rglob("*.safetensors"))
        assert files and {tensor.dtype for file in files for tensor in load_file(file).values()} == {torch.bfloat16}


@pytest.mark.parametrize("file", ["trainer_state.json", "model.safetensors", "optimizer.pt"])
def test_half_written_checkpoint_is_passed_over(tmp_path, file):
    for step in (2, 4):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        save_file({"weight": torch.ones(64)}, folder / "model.safetensors")
        torch.save({"state": torch.ones(64)}, folder / "optimizer.pt")
        (folder / "trainer_state.json").write_text("{}")
    broken = tmp_path / "checkpoint-4" / file
    broken.write_bytes(broken.read_bytes()[:-40]) if file != "trainer_state.json" else broken.unlink()
    assert training.last_checkpoint(tmp_path).endswith("checkpoint-2")
    assert training.last_checkpoint(tmp_path / "nowhere") is None


def test_a_checkpoint_is_asked_for_when_the_last_is_old():
    saver, control = training.SaveByTime(minutes=0), TrainerControl()
    saver.on_step_end(None, None, control)
    assert control.should_save
    later, fresh = training.SaveByTime(minutes=60), TrainerControl()
    later.on_step_end(None, None, fresh)
    assert not fresh.should_save


def test_grpo_answers_the_same_posts_at_every_checkpoint(base, items, tmp_path, monkeypatch):
    """Sampling them draws nothing from the run's random numbers, and a resumed run ends with the same records."""
    config = GRPOStageConfig(max_steps=7, prompts_per_step=2, num_generations=2, micro_batch=2, learning_rate=1e-3, checkpoint_steps=2)
    reward = grpo.AnswerReward(FakeJudge(), "smooth")
    settings = {"reward": reward, "config": config, "generation": GenerationConfig(max_new_tokens=8), "seed": 1}
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


def test_groups_of_parameters_have_their_own_rate():
    slow, fast = (torch.nn.Parameter(torch.zeros(4, dtype=torch.bfloat16)) for _ in range(2))
    optimizer = training.MasterAdamW([{"params": [slow]}, {"params": [fast], "lr": 1e-2}], lr=1e-3)
    for weight in (slow, fast):
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert slow[0].item() == pytest.approx(-1e-3, rel=1e-2) and fast[0].item() == pytest.approx(-1e-2, rel=1e-2)


def test_a_large_epsilon_makes_steps_follow_the_gradient_in_size():
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([1e-4, 1e-6])
    training.MasterAdamW([weight], lr=1e-3, eps=1.0).step()
    assert (weight[0] / weight[1]).item() == pytest.approx(100, rel=1e-2)  # plain Adam: 1
    assert weight[0].item() == pytest.approx(-1e-7, rel=1e-2)


def test_master_weights_keep_updates_that_bf16_would_round_away():
    weight = torch.nn.Parameter(torch.ones(8, dtype=torch.bfloat16))
    optimizer = training.MasterAdamW([weight], lr=1e-4)
    for _ in range(60):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        optimizer.zero_grad()
    assert optimizer.masters[0][0].item() == pytest.approx(1 - 60e-4, abs=1e-5)
    assert weight[0].item() < 1  # 1 - 1e-4 alone rounds back to 1 in bf16
    other = training.MasterAdamW([torch.nn.Parameter(torch.zeros(8, dtype=torch.bfloat16))], lr=1e-4)
    other.load_state_dict(optimizer.state_dict())
    assert torch.equal(other.masters[0], optimizer.masters[0])


def test_reward_model_learns_and_marks_the_sides(base, items, tmp_path, rng):
    config = RewardConfig(max_triplets=8, batch_size=4, max_steps=6, learning_rate=3e-3, checkpoint_steps=3)
    drawn = triplets.build_triplets(items, config, rng)
    log = reward_model.train_reward(base, drawn, drawn[:4], tmp_path, config, seed=1)
    losses = [r["eval_loss"] for r in log if "eval_loss" in r]
    assert losses[-1] < losses[0]
    judge = reward_model.RewardModel(reward_model.load_encoder(tmp_path / "encoder", config.max_length), 0.5)
    post = items[0].question
    copied, empty = judge.score([post, post], [post, " "])
    assert copied < 0.99  # a copy is not its own best answer: answers pass a layer of their own
    assert empty == -1
    table = reward_model.ranking_summary(reward_model.score_pairs(judge, triplets.evaluation_pairs(items, items, rng)))
    assert set(table.index) == {*triplets.NEGATIVE_KINDS, "all"}


def test_threshold_rules():
    import pandas as pd

    scores = pd.DataFrame({"id": list("abcd"), "kind": "random", "positive": [0.9, 0.8, 0.7, 0.6], "negative": [0.1, 0.2, 0.3, 0.65]})
    assert reward_model.choose_threshold(scores, "quantile", 0.5) == pytest.approx(0.75)
    assert reward_model.choose_threshold(scores, "youden", 0.5) == pytest.approx(0.7)


def test_copies_are_copies(rng):
    post = "我很累。我们吵架了！怎么办？"
    assert triplets.copy_of(post, "copy_whole", rng) == post
    assert triplets.copy_of(post, "copy_partial", rng) in post
    rephrased = [triplets.copy_of(post, "copy_rephrased", rng) for _ in range(20)]
    assert all("我很累" not in text and "我们吵" not in text for text in rephrased)


class FakeJudge:
    """Scores an answer by its share of the character 好."""

    threshold = 0.5

    def score(self, questions, answers):
        return np.array([a.count("好") / len(a) if a else -1.0 for a in answers])


@pytest.mark.parametrize(
    ("kind", "guard", "mask", "answer", "expected"),
    [
        ("threshold", 1.0, False, "好好好", 1.0),
        ("threshold", 1.0, False, "好坏坏", 0.0),
        ("smooth", 1.0, False, "好坏", 0.5),
        ("threshold", 0.1, False, "好" * 9, 0.0),  # copied, guarded
        ("threshold", 1.0, True, "好" * 9, 0.0),  # copied, masked: nothing is left to score
        ("threshold", 1.0, False, "好" * 9, 1.0),
    ],
)
def test_answer_reward(kind, guard, mask, answer, expected):
    reward = grpo.AnswerReward(FakeJudge(), kind, guard, mask)
    assert reward.rate(["好" * 12], [answer])[0] == pytest.approx(expected)


def test_rewards_in_trl_signature():
    reward = grpo.AnswerReward(FakeJudge()).as_function()
    chain = coe.ChainOfEmpathy(L1="a", L2="b", L3="c", L4="d")
    texts = [coe.render(chain, "好好"), "坏"]
    assert reward.__name__ == "r_answer"
    assert reward(completions=texts, question=["q", "q"], prompts=None) == [1.0, 0.0]
    assert grpo.r_format(texts, prompts=None) == [1.0, 0.0]


def test_a_comparison_changes_one_thing():
    config, changed = GRPOStageConfig(beta=0.3), {}
    for name in ("no_sft", "smooth", "decoupled"):
        made = grpo.comparison(config, name)
        changed[name] = {key: value for key, value in vars(made).items() if value != getattr(config, key)}
    assert changed == {"no_sft": {}, "smooth": {"reward": "smooth"}, "decoupled": {"aggregation": "decoupled"}}


def test_the_stage_of_the_sum_is_asked_for_as_before_there_was_another_aggregation():
    assert "aggregation" not in GRPOStageConfig().model_dump()
    assert GRPOStageConfig(aggregation="decoupled").model_dump()["aggregation"] == "decoupled"


def test_group_advantages():
    advantages = grpo.group_advantages(np.array([[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]))
    assert advantages[0] == pytest.approx([0.866, 0.866, -0.866, -0.866], abs=1e-3)
    assert (advantages[1] == 0).all()


@pytest.mark.parametrize(("tuning", "aggregation"), [("full", "sum"), ("full", "decoupled"), ("lora", "sum")])
def test_grpo_runs_from_the_sft_policy(base, items, tmp_path, tuning, aggregation):
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
    reward = grpo.AnswerReward(FakeJudge(), "smooth")
    log = grpo.train_grpo(base, items, reward, tmp_path, config, GenerationConfig(max_new_tokens=8), seed=1)
    record = next(r for r in log if "reward" in r)
    assert {"rewards/r_format/mean", "rewards/r_answer/mean", "kl", "frac_reward_zero_std", "completions/mean_length"} <= record.keys()
    assert weights(base).keys() == weights(tmp_path / "policy").keys()
