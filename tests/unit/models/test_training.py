"""What every training shares: checkpoints, kills and resumes of all stages, arithmetic, the optimizer."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from stages import Kill, run_grpo, run_reward, run_sft
from transformers import TrainerControl

from empathy_lib.core.config import LoraSettings
from empathy_lib.core.errors import UserError
from empathy_lib.grpo import train as grpo
from empathy_lib.models import base as base_models
from empathy_lib.models import training
from empathy_lib.reward import train as reward_model
from empathy_lib.sft import train as sft


@pytest.mark.parametrize(
    ("stage", "run", "result"),
    [(sft, run_sft, "policy"), (reward_model, run_reward, "encoder"), (grpo, run_grpo, "policy")],
)
def test_killed_training_resumes_to_the_same_weights(
    base, items, pairs, tmp_path, monkeypatch, compiled, stage, run, result
):
    run(base, items, pairs, tmp_path / "whole")

    class Killed(training.JsonlLog, Kill):
        pass

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(stage, "JsonlLog", Killed)
        run(base, items, pairs, tmp_path / "killed")
    assert training.last_checkpoint(tmp_path / "killed/checkpoints").endswith("checkpoint-4")
    log = run(base, items, pairs, tmp_path / "killed")
    files = sorted(
        path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole" / result).rglob("*.safetensors")
    )
    assert files
    for name in files:
        first, second = load_file(tmp_path / "whole" / name), load_file(tmp_path / "killed" / name)
        assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
    for kind in ("loss", "eval_loss"):  # nothing twice, the base's own loss neither
        steps = [r["step"] for r in log if kind in r]
        assert steps == sorted(set(steps))
    if run is run_sft:
        kept = [json.loads(line) for line in (tmp_path / "killed/validation.jsonl").read_text().splitlines()]
        whole = [json.loads(line) for line in (tmp_path / "whole/validation.jsonl").read_text().splitlines()]
        assert kept == whole and kept[0]["step"] == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_stage_trains_in_either_arithmetic_and_saves_bfloat16(
    base, items, pairs, tmp_path, monkeypatch, dtype
):
    for module in (base_models, reward_model):
        monkeypatch.setattr(module, "working_dtype", lambda wanted="auto": dtype)
    for run, result in ((run_sft, "policy"), (run_reward, "encoder"), (run_grpo, "policy")):
        log = run(base, items, pairs, tmp_path / run.__name__)
        assert np.isfinite([record["loss"] for record in log if "loss" in record]).all()
        files = list((tmp_path / run.__name__ / result).rglob("*.safetensors"))
        assert files and {tensor.dtype for file in files for tensor in load_file(file).values()} == {
            torch.bfloat16
        }


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


@pytest.mark.parametrize(
    ("planned", "ratio", "steps", "warm"),
    [(150, 0.05, 20, 20), (1000, 0.05, 20, 50), (60, 0.05, 20, 15), (3, 0.05, 20, 0), (150, 0, 0, 0)],
)
def test_warm_up_is_a_share_at_least_some_steps_and_at_most_a_quarter(planned, ratio, steps, warm):
    assert training.warmup_steps(planned, ratio, steps) == warm


@pytest.mark.parametrize(
    ("planned", "steps", "between"), [(150, 50, 30), (1000, 50, 50), (9, 50, 1), (3, 50, 1)]
)
def test_there_are_five_looks_at_the_validation_loss_where_there_are_as_many_steps(planned, steps, between):
    assert training.looks_at_validation(planned, steps) == between


@pytest.mark.parametrize(
    ("examples", "batch", "accumulation", "epochs", "most", "planned"),
    [(1200, 8, 1, 1.0, -1, 150), (1201, 8, 1, 1.0, -1, 151), (17, 4, 2, 2.0, -1, 6), (1200, 8, 1, 1.0, 3, 3)],
)
def test_planned_steps_are_the_trainers(examples, batch, accumulation, epochs, most, planned):
    assert training.planned_steps(examples, batch, accumulation, epochs, most) == planned


def test_groups_of_parameters_have_their_own_rate():
    slow, fast = (torch.nn.Parameter(torch.zeros(4, dtype=torch.bfloat16)) for _ in range(2))
    optimizer = training.MasterAdamW([{"params": [slow]}, {"params": [fast], "lr": 1e-2}], lr=1e-3)
    for weight in (slow, fast):
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert slow[0].item() == pytest.approx(-1e-3, rel=1e-2) and fast[0].item() == pytest.approx(
        -1e-2, rel=1e-2
    )


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


@pytest.fixture
def t4(monkeypatch):
    """A card that multiplies no bfloat16."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)


def test_float32_weights_are_their_own_masters_and_move_as_the_masters_would():
    weights = [torch.nn.Parameter(torch.ones(4)) for _ in range(2)]
    frozen = torch.nn.Parameter(torch.ones(4), requires_grad=False)
    plain, master = training.adamw([weights[0], frozen], 1e-3), training.MasterAdamW([weights[1]], lr=1e-3)
    assert type(plain) is torch.optim.AdamW
    for _ in range(3):
        for weight, optimizer in zip(weights, (plain, master), strict=True):
            weight.grad = torch.arange(4.0)
            optimizer.step()
    assert torch.equal(*weights) and weights[0][3] < 1
    assert [p is weights[0] for group in plain.param_groups for p in group["params"]] == [True]


def test_bfloat16_weights_get_masters_and_groups_keep_their_rates():
    slow, fast = (torch.nn.Parameter(torch.zeros(4, dtype=torch.bfloat16)) for _ in range(2))
    optimizer = training.adamw([{"params": [slow]}, {"params": [fast], "lr": 1e-2}], 1e-3)
    assert isinstance(optimizer, training.MasterAdamW)
    assert [group["lr"] for group in optimizer.param_groups] == [1e-3, 1e-2]
    slow, fast = (torch.nn.Parameter(torch.zeros(4)) for _ in range(2))
    plain = training.adamw([{"params": [slow]}, {"params": [fast], "lr": 1e-2}], 1e-3)
    assert [group["lr"] for group in plain.param_groups] == [1e-3, 1e-2]


def test_float16_arithmetic_never_meets_bfloat16_weights(t4, tmp_path):
    assert training.trainer_arguments(tmp_path / "run" / "checkpoints", 1)["fp16"]
    assert type(training.adamw([torch.nn.Parameter(torch.ones(4))], 1e-3)) is torch.optim.AdamW
    with pytest.raises(UserError, match=r"leave .* at auto"):
        training.adamw([torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))], 1e-3)


def test_without_such_a_card_nothing_runs_in_float16(tmp_path):
    assert not training.trainer_arguments(tmp_path / "run" / "checkpoints", 1)["fp16"]


def test_adapters_begin_alike_whatever_was_drawn_before(base):
    begun = []
    for _ in range(2):
        model = training.with_lora(base_models.load_policy(base)[0], LoraSettings(r=2), seed=3)
        begun.append({name: p.clone() for name, p in model.named_parameters() if "lora_A" in name})
        torch.rand(7)
    assert begun[0] and all(torch.equal(begun[0][name], begun[1][name]) for name in begun[0])
