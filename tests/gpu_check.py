"""Does a card do what the profile ``gpu`` asks of it? For whoever has one: three steps of each stage, five
minutes at most, nothing downloaded, nothing kept.

    make gpu-check                                        (a card)
    .venv/bin/python tests/gpu_check.py --shape tiny      (any machine: the same calls at the size of a toy)

Weights are random, in the shape of Qwen3-0.6B, so no figure says anything about quality. SFT, reward model
and GRPO run with the profile's own settings but for their number of steps and, to stay quick, of new tokens:
in bfloat16 where the card multiplies it, and in float16 as on a card that does not. GRPO's rollouts run in a
colocated vLLM too where that is installed, SFT on two cards where there are two. The last line is JSON; a
stage that fails is named in it with its error, the others still run, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from empathy_lib.core.config import BaseModelConfig, DatasetConfig, Profile, load_profile
from empathy_lib.core.run import generator
from empathy_lib.core.schema import Item
from empathy_lib.dataset.build import with_chains
from empathy_lib.dataset.generate import generate
from empathy_lib.grpo import train as grpo
from empathy_lib.models.base import prepare_base
from empathy_lib.models.e5 import prepare_e5
from empathy_lib.models.plan import config_of
from empathy_lib.models.processes import launch
from empathy_lib.models.prompts import training_texts
from empathy_lib.reward.train import train_reward
from empathy_lib.reward.triplets import build_triplets
from empathy_lib.sft import sft_pairs
from empathy_lib.sft import train as sft

STEPS, POSTS, NEW_TOKENS = 3, 60, 256
TINY = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "vocab_size": 4096,
}
FEWER = {  # of the toy: what a processor does in seconds
    "sft.batch_size": 2,
    "sft.gradient_accumulation": 1,
    "reward.batch_size": 4,
    "reward.tokens_per_pass": 1024,
    "grpo.prompts_per_step": 2,
    "grpo.num_generations": 2,
    "grpo.micro_batch": 2,
    "generation.max_new_tokens": 8,
}


def random_base(folder: Path, items: list[Item], shape: str) -> Path:
    """A decoder with random weights in the hub's layout; its tokenizer is trained on the posts, its
    vocabulary as large as the real one."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    learnt = trainers.BpeTrainer(
        vocab_size=4000,
        special_tokens=["<|endoftext|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(training_texts(items), learnt)
    real = config_of("Qwen/Qwen3-0.6B-Base").to_diff_dict()
    sizes = {**real, **TINY} if shape == "tiny" else real
    config = Qwen3Config(**{**sizes, "eos_token_id": 0, "layer_types": None})
    torch.manual_seed(0)
    Qwen3ForCausalLM(config).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|endoftext|>", pad_token="<|endoftext|>"
    ).save_pretrained(folder)
    return folder


def variety(completions: list[str], **_: Any) -> list[float]:
    """A reward that differs within a group, which random weights never earn by ``r_answer``."""
    return [len(set(text)) / max(1, len(text)) for text in completions]


class Stages:
    """The trainings, each ``STEPS`` steps from the one random base into a folder of its own."""

    def __init__(self, profile: Profile, items: list[Item], base: Path, folder: Path):
        self.profile, self.items, self.base, self.folder = profile, items, base, folder

    def sft(self, name: str, processes: int = 1) -> list[dict]:
        """Supervised fine-tuning, in one process or with one on each card."""
        tokenizer = AutoTokenizer.from_pretrained(self.base)
        pairs = sft_pairs(self.items, tokenizer, 120, generator(1, "gpu check"), coe=True)
        given = (self.base, pairs, pairs[:8], self.folder / name, self.profile.sft, self.profile.base_model)
        return launch(sft.train_sft, *given, 1, processes=processes)

    def reward(self, name: str) -> list[dict]:
        """The reward model, from the multilingual-e5-small that the profile names."""
        config = self.profile.reward
        triplets = build_triplets(self.items, config, generator(1, "gpu check"))
        return train_reward(prepare_e5(), triplets, triplets[:8], self.folder / name, config, 1)

    def grpo(self, name: str, rollouts: str = "local") -> list[dict]:
        """GRPO from the random base: what is checked is that it runs."""
        config = self.profile.grpo.model_copy(update={"rollouts": rollouts})
        folder = self.folder / name
        return grpo.train_grpo(self.base, self.items, variety, folder, config, self.profile.generation, 1)


def told(stage: Callable[..., list[dict]], *given: Any) -> dict[str, Any]:
    """What one training did: seconds, peak GiB on the card, its losses and gradient norms and whether
    they are numbers; or its error."""
    card = torch.cuda.is_available()
    if card:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    try:
        log = stage(*given)
    except Exception as error:  # whatever a card can do wrong is what is asked for here
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {str(error)[:300]}"}
    losses, norms = ([step[key] for step in log if key in step] for key in ("loss", "grad_norm"))
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2) if card else None,
        "losses": losses,
        "gradient_norms": norms,
        "finite": bool(losses) and all(math.isfinite(number) for number in losses + norms),
    }


def check(shape: str, folder: Path) -> dict[str, Any]:
    """All stages, in every arithmetic that the card has."""
    changed = {"sft.max_steps": STEPS, "reward.max_steps": STEPS, "grpo.max_steps": STEPS}
    # so few steps are to run, not to teach
    changed |= {"sft.allow_worse_than_base": True, "generation.max_new_tokens": NEW_TOKENS} | (
        FEWER if shape == "tiny" else {}
    )
    profile = load_profile("gpu", changed)
    settings = DatasetConfig(questions=POSTS, answer_length="long", annotator="rules")
    items = list(with_chains(generate(settings, 1), settings)[0])
    hub = random_base(folder / "hub", items, shape)
    untrimmed = BaseModelConfig(source=str(hub), trim_vocabulary=False)
    base = prepare_base(untrimmed, training_texts(items), cache=folder / "cache")
    card = torch.cuda.is_available()
    found: dict[str, Any] = {
        "card": torch.cuda.get_device_name() if card else None,
        "cards": torch.cuda.device_count(),
        "torch": torch.__version__,
        "shape": shape,
    }
    native = card and torch.cuda.is_bf16_supported(including_emulation=False)
    kinds = ["bfloat16", "float16"] if native else ["float16"] if card else ["as here"]
    for kind in kinds:
        stages = Stages(profile, items, base, folder / kind)
        # a card without bfloat16 is played by one that has it
        with mock.patch.object(torch.cuda, "is_bf16_supported", lambda **_: kind == "bfloat16"):  # noqa: B023
            found[kind] = {name: told(getattr(stages, name), name) for name in ("sft", "reward", "grpo")}
    stages = Stages(profile, items, base, folder / "more")
    found["vllm"] = (
        told(stages.grpo, "grpo", "vllm_colocate") if card and find_spec("vllm") else "not installed"
    )
    found["nccl"] = told(stages.sft, "sft", 2) if torch.cuda.device_count() > 1 else "one card or none"
    return found


def main() -> int:
    """Print the JSON line; 1 if a stage failed, 2 without a card."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--shape", choices=["0.6b", "tiny"], default="0.6b")
    shape = parser.parse_args().shape
    if shape == "0.6b" and not torch.cuda.is_available():
        print(
            "error: no card that torch can use; --shape tiny makes the same calls anywhere", file=sys.stderr
        )
        return 2
    with tempfile.TemporaryDirectory(prefix="empathy-") as folder:
        found = check(shape, Path(folder))
    print(json.dumps(found))
    parts = [part for value in found.values() if isinstance(value, dict) for part in (value, *value.values())]
    return int(
        any("error" in part or part.get("finite") is False for part in parts if isinstance(part, dict))
    )


if __name__ == "__main__":
    sys.exit(main())
