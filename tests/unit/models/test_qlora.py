"""QLoRA on a CPU: trains over 4 bits, comes out whole. Needs the extra [qlora], without which it says so."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from stages import FakeJudge, Kill, tiny_gemma
from transformers import AutoModelForCausalLM

from empathy_lib.core.config import (
    BaseModelConfig,
    GenerationConfig,
    GRPOStageConfig,
    LoraSettings,
    SFTStageConfig,
)
from empathy_lib.core.errors import UserError
from empathy_lib.grpo.train import train_grpo
from empathy_lib.models import plan, quantized
from empathy_lib.models.base import prepare_base
from empathy_lib.models.prompts import training_texts
from empathy_lib.reward import paid
from empathy_lib.sft import train as sft


@pytest.fixture(scope="module")
def wide(full_tokenizer, items, tmp_path_factory):
    """A tiny model as wide as a block of quantization, 64."""
    sizes = {"hidden_size": 64, "intermediate_size": 128, "head_dim": 32}
    folder = tiny_gemma(tmp_path_factory.mktemp("hub"), full_tokenizer, **sizes)
    settings = BaseModelConfig(source=str(folder), trim_min_count=1)
    return prepare_base(settings, training_texts(items), cache=tmp_path_factory.mktemp("cache"))


needs_bitsandbytes = pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="the extra [qlora]")
CONFIG = SFTStageConfig(
    tuning="qlora",
    batch_size=2,
    max_steps=6,
    learning_rate=1e-2,
    checkpoint_steps=2,
    allow_worse_than_base=True,
    lora=LoraSettings(r=2, alpha=4),
)
MODEL = BaseModelConfig(max_length=400)


def test_without_bitsandbytes_the_remedy_is_named(wide, pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(quantized, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[qlora\]'"):
        sft.train_sft(wide, pairs, pairs[:2], tmp_path, CONFIG, MODEL, 1)


def test_memory_of_four_bits():
    shape = plan.shape_of(plan.config_of("Qwen/Qwen2.5-7B"))
    whole, four = (plan.weight_bytes(shape, tuning, 2) / 2**30 for tuning in ("lora", "qlora"))
    assert whole == pytest.approx(14.2, abs=0.1)  # 7.6 B parameters of two bytes
    assert 5 < four < 6  # of which 1.1 B are embeddings and head, and stay as they are


@needs_bitsandbytes
def test_sft_over_four_bits_learns_and_its_policy_is_whole(wide, pairs, tmp_path):
    log = sft.train_sft(wide, pairs, pairs[:2], tmp_path, CONFIG, MODEL, 1)
    looks = [record["eval_loss"] for record in log if "eval_loss" in record]
    assert np.isfinite(looks).all() and min(looks) < looks[0]
    before, after = (
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict()
        for folder in (wide, tmp_path / "policy")
    )
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if "_proj" in name}  # embeddings and norms as they were
    # what quantization loses is not in the policy, only what adapters of rank 2 learnt
    for name in changed:
        learnt = torch.linalg.svdvals(after[name] - before[name])
        assert learnt[2] < 0.1 * learnt[0]


@needs_bitsandbytes
def test_a_killed_training_goes_on(wide, pairs, tmp_path):
    whole = sft.train_sft(wide, pairs, pairs[:2], tmp_path / "whole", CONFIG, MODEL, 1)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(sft, "SaveByTime", Kill)
        sft.train_sft(wide, pairs, pairs[:2], tmp_path / "killed", CONFIG, MODEL, 1)
    resumed = sft.train_sft(wide, pairs, pairs[:2], tmp_path / "killed", CONFIG, MODEL, 1)
    looks = [[r["eval_loss"] for r in log if "eval_loss" in r] for log in (whole, resumed)]
    assert looks[0] == looks[1]
    policies = [
        (tmp_path / name / "policy" / "model.safetensors").read_bytes() for name in ("whole", "killed")
    ]
    assert policies[0] == policies[1]


@needs_bitsandbytes
def test_grpo_over_four_bits(wide, items, tmp_path):
    config = GRPOStageConfig(
        tuning="qlora",
        max_steps=2,
        prompts_per_step=2,
        num_generations=2,
        micro_batch=2,
        learning_rate=1e-2,
        beta=0.02,
    )
    reward = paid.AnswerReward(FakeJudge(), "smooth")
    log = train_grpo(wide, items, reward, tmp_path, config, GenerationConfig(max_new_tokens=8), 1)
    steps = [record for record in log if "kl" in record]
    assert [record["step"] for record in steps] == [1, 2] and steps[0]["kl"] == pytest.approx(0, abs=1e-3)
    assert (tmp_path / "policy" / "done").is_file()
