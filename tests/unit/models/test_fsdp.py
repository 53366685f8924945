"""Sharded weights (FSDP2) on two CPU processes: losses, policy and resumption are those of whole weights.

accelerate leaves FSDP out on CPUs, so all but the refusals run with the shim of ``fsdp_shim``.
"""

import os
import re
import sys
from unittest import mock

import cloudpickle
import pytest
import torch
from fsdp_shim import fsdp_on_cpus
from stages import lengths_paid, second_process_dies
from torch import distributed
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from transformers import AutoModelForCausalLM
from trl import GRPOTrainer

from empathy_lib.core.config import (
    BaseModelConfig,
    GenerationConfig,
    GRPOStageConfig,
    LoraSettings,
    SFTStageConfig,
    load_profile,
)
from empathy_lib.core.errors import UserError
from empathy_lib.grpo import train as grpo
from empathy_lib.models import processes, sharding, training
from empathy_lib.models.base import load_policy
from empathy_lib.models.processes import launch
from empathy_lib.sft import train as sft

# a test's module cannot be imported elsewhere, so what it defines travels whole
cloudpickle.register_pickle_by_value(sys.modules[__name__])

EXACT = BaseModelConfig(max_length=400, dtype="float32")
COARSE = BaseModelConfig(max_length=400, dtype="bfloat16")
SFT = SFTStageConfig(
    batch_size=1, gradient_accumulation=4, max_steps=6, learning_rate=1e-3, checkpoint_steps=2
)
GRPO = GRPOStageConfig(
    max_steps=3,
    prompts_per_step=2,
    num_generations=4,
    micro_batch=2,
    learning_rate=1e-3,
    beta=0.04,
    checkpoint_steps=2,
)
PROMPT = torch.tensor([[2, 41, 7, 99, 12, 64, 30]])
KILLED, SAVED = 5, 4  # the step in which a process dies, and the checkpoint before it


def looks(module, seen: dict):
    """Have ``module.finish_policy`` look at the trained model in every process first."""
    finish = module.finish_policy

    @torch.no_grad()
    def told(model, *rest, **named):
        model.eval()
        for module in model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()  # after a forward pass the embeddings lie whole until the next backward one
        kinds = [isinstance(p, DTensor) for p in model.parameters()]
        length = 3 + 5 * distributed.get_rank()  # another in each process
        local = sum(p.to_local().numel() if isinstance(p, DTensor) else p.numel() for p in model.parameters())
        weights = {
            name: p.full_tensor() if isinstance(p, DTensor) else p for name, p in model.named_parameters()
        }
        own = {
            "sharded": kinds,
            "share": local / sum(p.numel() for p in weights.values()),
            "weights": {
                name.replace("_checkpoint_wrapped_module.", ""): p.to(torch.bfloat16).clone()
                for name, p in weights.items()
            },
            "logits": model(PROMPT).logits.clone(),
            "drawn": model.generate(PROMPT, max_new_tokens=length, min_new_tokens=length).shape[1],
        }
        every = [None] * processes.count()
        distributed.all_gather_object(every, own)
        seen["processes"] = every
        finish(model, *rest, **named)

    return mock.patch.object(module, "finish_policy", told)


def sharded_and_whole(base, pairs, items, folder):
    """In each process: SFT as CPUs have it, SFT and GRPO with shards, then the same GRPO with whole
    weights."""
    made = {name: {} for name in ("sft", "coarse", "grpo", "whole")}
    given, settings = (base, pairs, pairs[:2]), (base, items, lengths_paid)
    rest = GRPO, GenerationConfig(max_new_tokens=8), 1
    with pytest.raises(UserError) as refusal:
        sft.train_sft(*given, folder / "refused", SFT, EXACT, 1)
    made["refused"] = str(refusal.value)
    exact = mock.patch.object(sharding, "working_dtype", lambda wanted="auto": torch.float32)
    with fsdp_on_cpus(), exact, looks(sft, made["sft"]), looks(grpo, made["grpo"]):
        made["sft"]["log"] = sft.train_sft(*given, folder / "sft", SFT, EXACT, 1)
        shown = {"shown": [items[0].question]}
        made["grpo"]["log"] = grpo.train_grpo(*settings, folder / "grpo", *rest, **shown)
    with fsdp_on_cpus():
        made["coarse"]["log"] = sft.train_sft(*given, folder / "coarse", SFT, COARSE, 1)

    def as_stock(path, tuning):
        model, tokenizer = load_policy(path, dtype="float32")
        del model.generate
        return model, tokenizer

    for name in processes.FSDP2:
        os.environ.pop(name)
    with (
        mock.patch.object(grpo, "SharedPromptGRPOTrainer", GRPOTrainer),
        mock.patch.object(grpo, "load_to_train", as_stock),
        looks(grpo, made["whole"]),
    ):
        made["whole"]["log"] = grpo.train_grpo(*settings, folder / "whole", *rest)
    return made


def sharded_sft(*given):
    with fsdp_on_cpus():
        return sft.train_sft(*given)


def dies_sharded(*given):
    """Sharded SFT of which the second process is killed after a checkpoint."""
    with second_process_dies(sft, KILLED):
        return sharded_sft(*given)


def goes_on_sharded(*given):
    """Sharded SFT that begins after a checkpoint."""

    class Late(sft.SaveByTime):
        def on_step_end(self, args, state, control, **kwargs):
            super().on_step_end(args, state, control, **kwargs)
            assert state.global_step > SAVED

    with mock.patch.object(sft, "SaveByTime", Late):
        return sharded_sft(*given)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shards")


@pytest.fixture(scope="module")
def made(base, pairs, items, folder):
    return launch(sharded_and_whole, base, pairs, items, folder, processes=2, sharding="fsdp2")


def values(log: list[dict], key: str) -> list[float]:
    return [record[key] for record in log if key in record]


def test_every_parameter_is_sharded_and_a_process_holds_half(made):
    for stage in ("sft", "grpo"):
        for seen in made[stage]["processes"]:
            assert seen["sharded"] and all(seen["sharded"])
            assert seen["share"] == pytest.approx(0.5, abs=0.02)
    assert not any(made["whole"]["processes"][0]["sharded"])


def test_sft_losses_are_those_of_one_process(base, pairs, made, tmp_path):
    alone = sft.train_sft(base, pairs, pairs[:2], tmp_path, SFT, EXACT, 1)
    for key in ("loss", "eval_loss"):
        assert values(made["sft"]["log"], key) == pytest.approx(values(alone, key), abs=1e-4)
    assert values(made["sft"]["log"], "grad_norm") == pytest.approx(values(alone, "grad_norm"), rel=1e-3)


def test_float32_shards_in_bfloat16_arithmetic_are_their_own_masters(base, pairs, made, tmp_path):
    alone = sft.train_sft(base, pairs, pairs[:2], tmp_path, SFT, COARSE, 1)
    for key in ("loss", "eval_loss"):
        assert values(made["coarse"]["log"], key) == pytest.approx(values(alone, key), rel=0.005)
        assert values(made["coarse"]["log"], key) != values(made["sft"]["log"], key)


@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_the_saved_policy_is_the_gathered_one_in_plain_transformers(made, folder, stage):
    plain = AutoModelForCausalLM.from_pretrained(folder / stage / "policy").eval()
    seen = made[stage]["processes"][0]
    for name, weight in plain.named_parameters():
        assert weight.dtype == torch.bfloat16 and torch.equal(weight, seen["weights"][name]), name
    with torch.no_grad():
        found = plain.float()(PROMPT).logits
    assert (found - seen["logits"]).abs().max() < 0.02  # what rounding to bfloat16 takes
    assert not list((folder / stage).rglob("*.bin")) and not (folder / stage / "checkpoints").exists()


def test_grpo_with_shards_takes_the_steps_of_whole_weights(made, folder):
    for key, near in (("loss", {"abs": 1e-4}), ("grad_norm", {"rel": 0.01}), ("kl", {"abs": 1e-4})):
        found = values(made["grpo"]["log"], key)
        assert len(found) == GRPO.max_steps
        assert found == pytest.approx(values(made["whole"]["log"], key), **near), key
    drawn = [seen["drawn"] for seen in made["grpo"]["processes"]]
    assert drawn == [PROMPT.shape[1] + 3, PROMPT.shape[1] + 8]  # nobody waited for ever
    samples = training.read_log(folder / "grpo" / "samples.jsonl")
    assert [record["step"] for record in samples] == [2, 3] and all(samples[0]["completions"])


def test_a_sharded_training_resumes_after_a_kill(base, pairs, made, folder):
    given = base, pairs, pairs[:2], folder / "killed", SFT, EXACT, 1
    with pytest.raises(UserError, match="2 processes ended with code"):
        launch(dies_sharded, *given, processes=2, sharding="fsdp2")
    assert (folder / "killed" / "checkpoints" / f"checkpoint-{SAVED}" / "optimizer.bin").is_file()
    with pytest.raises(UserError, match="another sharding"):
        sft.train_sft(*given)
    launch(goes_on_sharded, *given, processes=2, sharding="fsdp2")
    policies = [folder / name / "policy" / "model.safetensors" for name in ("sft", "killed")]
    assert policies[0].read_bytes() == policies[1].read_bytes()


def test_cpus_without_the_shim_are_refused_and_named(made, folder):
    assert re.search(r"made MULTI_CPU of it: (\d+) of \1 parameters are whole", made["refused"])
    assert not (folder / "refused" / "policy").exists()


def test_one_process_has_nobody_to_share_with():
    with pytest.raises(UserError, match="but processes=1"):
        launch(print, "never", sharding="fsdp2")
    with pytest.raises(UserError, match="but processes=1"):
        load_profile("smoke", {"sharding": "fsdp2"})
    both = {"sharding": "fsdp2", "processes": 2}
    assert load_profile("smoke", both).spread == both
    with pytest.raises(UserError, match=r"adapters are not sharded; set grpo\.tuning=full"):
        load_profile("paper", {**both, "sft.tuning": "full"})


def test_what_cannot_be_sharded_is_refused(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(UserError, match="optimizer cannot be sharded"):
        training.adamw([torch.nn.Parameter(torch.ones(2, dtype=torch.bfloat16))], 1e-3)
    with pytest.raises(UserError, match="adapters are not sharded"):
        training.with_lora(torch.nn.Linear(2, 2), LoraSettings())
    with pytest.raises(UserError, match="do not multiply bfloat16"):
        sharding.sharded({"fp16": True}, (0.9, 0.99), "gradient_checkpointing")
