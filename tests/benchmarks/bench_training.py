"""How much quicker are our SFT, reward model and GRPO than their libraries as they come, on the same machine,
the same posts and seeds, in one run?

    .venv/bin/python tests/benchmarks/bench_training.py [repeats]             (3 repeats: 26 minutes, 2 cores)
    .venv/bin/python tests/benchmarks/bench_training.py sizes [figure.png]    (10 minutes: does cost grow
    with tokens, at four sizes?)

``stock``: TRL's trainers with the whole base and the library's defaults. ``trimmed``: the same with the
trimmed base. ``ours``: what notebooks 02 to 04 run. For the reward model ``stock`` is sentence-transformers'
trainer and loss on the same encoder (e5) and triplets; there is nothing to trim. The variants take turns in
every repeat, each in a process of its own. The first steps of each are the warm-up: they are printed and not
counted. What is compared is a second's tokens: prompt and completion for SFT, sampled tokens for a GRPO step
and for its rollout; for the reward model a second's triplets. ``gemm_share`` is the time that the matrix
products of one of our SFT steps take when run bare, over the time of a step.

The last line is JSON: ``sft_step_ratio``, ``reward_step_ratio``, ``grpo_step_ratio``, ``generation_ratio``
(ours over stock, medians over repeats), ``gemm_share``, each with its lowest and highest value over the
repeats, and the same for the trimmed base.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from unittest import mock

import matplotlib.pyplot as plt
import numpy as np
import torch
import transformers.trainer
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from empathy_lib.core.config import BaseModelConfig, DatasetConfig, load_profile
from empathy_lib.core.run import generator
from empathy_lib.dataset.generate import generate
from empathy_lib.grpo import train as grpo
from empathy_lib.models import compiling
from empathy_lib.models.base import prepare_base
from empathy_lib.models.e5 import prepare_e5
from empathy_lib.models.prompts import training_texts
from empathy_lib.reward.train import SIDES, train_reward
from empathy_lib.reward.triplets import build_triplets
from empathy_lib.sft import sft_pairs
from empathy_lib.sft import train as sft

BOTH = ("trimmed", "ours")
VARIANTS = {"sft": ("stock", *BOTH), "reward": ("stock", "ours"), "grpo": ("stock", *BOTH)}
PER_STEP = {"sft": 8, "reward": 5, "grpo": 4}  # pairs (TRL's default), triplets and posts (laptop's)
SIZES = {"sft": (2, 4, 8, 16), "grpo": (1, 2, 4, 8)}  # pairs and posts of a step
SEED, NEW_TOKENS = 1, 128  # short rollouts, as stock takes a minute for eight of them
STEPS = {"stock": 2, "trimmed": 3, "ours": 7}
REWARD_STEPS = 12  # of each variant: they are short
# steps at the start that are not counted: ours are compiled, for some shapes in the second
WARM_UP = {"stock": 1, "trimmed": 1, "ours": 2}
PRODUCTS = [getattr(torch.ops.aten, name).default for name in ("mm", "addmm", "addmm_", "bmm", "baddbmm")]


class Products(TorchDispatchMode):
    """Counts the matrix products that are made while it is on, by operation and operands."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[tuple, int] = defaultdict(int)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in PRODUCTS:
            operands = args[-2:]
            self.seen[tuple((tuple(t.shape), tuple(t.stride()), t.dtype) for t in operands)] += 1
        return func(*args, **(kwargs or {}))

    def bare_seconds(self, repeats: int = 5) -> float:
        """Time of all of them on fresh operands of the same shape, layout and type: each timed ``repeats``
        times, the median taken."""
        total = 0.0
        for operands, count in self.seen.items():
            made = [
                torch.randn(shape).to(dtype).as_strided(shape, stride)
                for shape, stride, dtype in operands
                if _fits(shape, stride)
            ]
            made = made if len(made) == 2 else [torch.randn(shape).to(dtype) for shape, _, dtype in operands]
            times = []
            for _ in range(repeats):
                started = time.perf_counter()
                torch.matmul(*made)
                times.append(time.perf_counter() - started)
            total += statistics.median(times) * count
        return total


def _fits(shape: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    """Whether a freshly made tensor of this shape has room for this layout."""
    return 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True)) <= int(np.prod(shape))


class Clock(TrainerCallback):
    """Seconds and trained tokens of every step of whatever trainer runs."""

    steps: list[dict[str, float]]
    products: Products | None
    watches = False  # whether the last step's products are counted, which makes it a slow one

    def __init__(self) -> None:
        Clock.steps, Clock.products, self.tokens, self.mode = [], None, 0, None

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        """Count the tokens of every forward pass that is trained on."""

        def count(module, positional, keywords) -> None:
            mask = keywords.get("attention_mask")
            if torch.is_grad_enabled() and isinstance(mask, torch.Tensor):
                self.tokens += int(mask.sum())

        model.register_forward_pre_hook(count, with_kwargs=True)

    def on_step_begin(self, args, state, control, **kwargs):
        """Our last SFT step is watched for its products (and not counted), the others are timed."""
        self.tokens, self.started = 0, time.perf_counter()
        if self.watches and state.global_step == args.max_steps - 1:
            self.mode = Clock.products = Products()
            self.mode.__enter__()

    def on_step_end(self, args, state, control, **kwargs):
        """Keep the step."""
        seconds = time.perf_counter() - self.started
        watched = self.mode is not None
        if watched:
            self.mode.__exit__(None, None, None)
            self.mode = None
        Clock.steps.append({"seconds": seconds, "tokens": self.tokens, "watched": watched})


def reward_of(completions: list[str], **_) -> list[float]:
    """Any reward that differs within a group serves to time a step."""
    return [float(len(text) % 3) for text in completions]


def base_of(variant: str, texts: list[str]) -> Path:
    """The whole or the trimmed base."""
    return prepare_base(BaseModelConfig(trim_vocabulary=variant != "stock"), texts)


def time_sft(variant: str, items: list, base: Path, folder: Path, size: int) -> dict[str, float]:
    """Tokens a second of SFT with ``size`` pairs a step, and for ours the share of bare matrix products."""
    profile = load_profile("laptop")
    pairs = sft_pairs(
        items, AutoTokenizer.from_pretrained(base), size * STEPS[variant], generator(SEED, "bench"), coe=True
    )
    if variant == "ours":
        Clock.watches = True
        config = profile.sft.model_copy(
            update={
                "max_steps": STEPS[variant],
                "checkpoint_steps": 1000,
                "batch_size": size,
                "allow_worse_than_base": True,  # so few steps are to be timed, not to teach
            }
        )
        sft.train_sft(base, pairs, pairs[:1], folder, config, profile.base_model, SEED)
    else:
        arguments = SFTConfig(output_dir=str(folder), max_steps=STEPS[variant], seed=SEED, **quiet())
        rows = Dataset.from_list([{key: pair[key] for key in ("prompt", "completion")} for pair in pairs])
        SFTTrainer(model=str(base), args=arguments, train_dataset=rows).train()
    counted = [step for step in Clock.steps[WARM_UP[variant] :] if not step["watched"]]
    seconds = sum(step["seconds"] for step in counted)
    tokens = sum(step["tokens"] for step in counted)
    result = {"rate": tokens / seconds, "tokens": tokens / len(counted), "warm_up_seconds": warm_up(variant)}
    if Clock.products:
        watched = next(step for step in Clock.steps if step["watched"])
        per_token = Clock.products.bare_seconds() / watched["tokens"]
        result["gemm_share"] = per_token * result["rate"]
    return result


def time_reward(variant: str, items: list, base: Path, folder: Path, size: int) -> dict[str, float]:
    """Triplets a second of the reward model with ``size`` triplets a step, both variants from e5."""
    config = load_profile("laptop").reward.model_copy(
        update={
            "max_triplets": REWARD_STEPS * size,
            "max_steps": REWARD_STEPS,
            "checkpoint_steps": 1000,
            "batch_size": size,
        }
    )
    triplets = build_triplets(items, config, generator(SEED, "bench"))
    if variant == "ours":
        train_reward(prepare_e5(), triplets, triplets[:size], folder, config, SEED)
    else:
        rows = Dataset.from_list([{side: t[side] for side in SIDES} for t in triplets])
        arguments = SentenceTransformerTrainingArguments(
            output_dir=str(folder),
            max_steps=REWARD_STEPS,
            per_device_train_batch_size=size,
            seed=SEED,
            **quiet(),
        )
        model = SentenceTransformer(str(prepare_e5()), device="cuda" if torch.cuda.is_available() else "cpu")
        loss = MultipleNegativesRankingLoss(model)
        SentenceTransformerTrainer(model=model, args=arguments, train_dataset=rows, loss=loss).train()
    counted = Clock.steps[WARM_UP["ours"] :]
    rate = size * len(counted) / sum(step["seconds"] for step in counted)
    return {"rate": rate, "triplets": size, "warm_up_seconds": warm_up("ours")}


def time_grpo(variant: str, items: list, base: Path, folder: Path, size: int) -> dict[str, float]:
    """Sampled tokens a second of a whole GRPO step with ``size`` posts, and of its rollout alone."""
    profile, rollouts = load_profile("laptop"), []
    whole = GRPOTrainer._generate_single_turn

    def timed(self, *args, **kwargs):
        started = time.perf_counter()
        made = whole(self, *args, **kwargs)
        rollouts.append({"seconds": time.perf_counter() - started, "tokens": sum(map(len, made[0]))})
        return made

    with mock.patch.object(GRPOTrainer, "_generate_single_turn", timed):
        if variant == "ours":
            changes = {"max_steps": STEPS[variant] - 2, "checkpoint_steps": 1000, "prompts_per_step": size}
            config = profile.grpo.model_copy(update=changes)
            generation = profile.generation.model_copy(update={"max_new_tokens": NEW_TOKENS})
            grpo.train_grpo(base, items, reward_of, folder, config, generation, SEED)
        else:
            arguments = GRPOConfig(
                output_dir=str(folder),
                max_steps=STEPS[variant],
                seed=SEED,
                max_completion_length=NEW_TOKENS,
                **quiet(),
            )
            rows = grpo.prompts_of(items, AutoTokenizer.from_pretrained(base), STEPS[variant], SEED)
            GRPOTrainer(model=str(base), reward_funcs=reward_of, args=arguments, train_dataset=rows).train()
    steps, rollouts = (made[WARM_UP[variant] :] for made in (Clock.steps, rollouts))
    tokens = sum(rollout["tokens"] for rollout in rollouts)
    return {
        "rate": tokens / sum(step["seconds"] for step in steps),
        "tokens": tokens / len(steps),
        "generation_rate": tokens / sum(rollout["seconds"] for rollout in rollouts),
        "warm_up_seconds": warm_up(variant),
    }


def warm_up(variant: str) -> float:
    """Seconds of the steps that are not counted."""
    return sum(step["seconds"] for step in Clock.steps[: WARM_UP[variant]])


def quiet() -> dict[str, object]:
    """No reports, no checkpoints; nothing that bears on speed."""
    return {
        "report_to": "none",
        "save_strategy": "no",
        "use_cpu": not torch.cuda.is_available(),
        "disable_tqdm": True,
    }


def measure(stage: str, variant: str, size: int) -> dict[str, float]:
    """One variant of one stage at one size, in this process."""
    transformers.trainer.DEFAULT_CALLBACKS.append(Clock)
    items = generate(DatasetConfig(questions=120), seed=SEED)
    items = [item for item in items if item.answers and all(answer.coe for answer in item.answers)]
    base = base_of(variant, training_texts(items))
    # as in a run of many steps
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(compiling, "MIN_PASSES", 0):
        timed = {"sft": time_sft, "reward": time_reward, "grpo": time_grpo}[stage]
        return timed(variant, items, base, Path(folder), size)


def in_own_process(stage: str, variant: str, size: int) -> dict[str, float]:
    """What :func:`measure` finds there."""
    words = [sys.executable, __file__, stage, variant, str(size)]
    made = subprocess.run(words, stdout=subprocess.PIPE, encoding="utf-8", check=True)
    found = json.loads(made.stdout.splitlines()[-1])
    print(f"{stage}, {variant}, {size}:", {key: round(value, 3) for key, value in found.items()}, flush=True)
    return found


def plot_sizes(figure_path: str) -> None:
    """Seconds of our steps over their tokens, four sizes each; the exponent is the slope of a straight line
    through the logarithms."""
    figure, grid = plt.subplots(1, 2, figsize=(8, 3.4))
    exponents = {}
    for axes, (stage, sizes) in zip(grid, SIZES.items(), strict=True):
        points = [in_own_process(stage, "ours", size) for size in sizes]
        tokens = np.array([point["tokens"] for point in points])
        seconds = tokens / np.array([point["rate"] for point in points])
        exponents[f"{stage}_exponent"] = round(float(np.polyfit(np.log(tokens), np.log(seconds), 1)[0]), 2)
        axes.plot(tokens, seconds, "o-", color="#0072B2")
        axes.plot(
            [0, tokens[-1]], [0, seconds[-1]], ":", color="#777777", label="in proportion to the largest"
        )
        axes.set(
            title=f"{stage.upper()} step, exponent {exponents[f'{stage}_exponent']}",
            ylabel="seconds",
            xlim=(0, None),
            ylim=(0, None),
        )
        axes.set_xlabel("tokens of prompt and completion" if stage == "sft" else "sampled tokens")
        axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(figure_path, dpi=110)
    print(json.dumps(exponents))


def main(repeats: int) -> None:
    """All variants in turn, ``repeats`` times."""
    seen: dict[str, list[float]] = defaultdict(list)
    for _ in range(repeats):
        for stage, variants in VARIANTS.items():
            rates = {}
            for variant in variants:
                rates[variant] = in_own_process(stage, variant, PER_STEP[stage])
            for variant in variants[1:]:
                mark = "" if variant == "ours" else f"_{variant}"
                seen[f"{stage}_step_ratio{mark}"].append(rates[variant]["rate"] / rates["stock"]["rate"])
                if stage == "grpo":
                    seen[f"generation_ratio{mark}"].append(
                        rates[variant]["generation_rate"] / rates["stock"]["generation_rate"]
                    )
            if "gemm_share" in rates["ours"]:
                seen["gemm_share"].append(rates["ours"]["gemm_share"])
    result: dict[str, object] = {}
    for key, values in seen.items():
        result |= {
            key: round(statistics.median(values), 2),
            f"{key}_spread": [round(min(values), 2), round(max(values), 2)],
        }
    print(json.dumps(result))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["sizes", *path]:
            plot_sizes(path[0] if path else str(Path(__file__).with_suffix(".png")))
        case [stage, variant, size]:
            print(json.dumps(measure(stage, variant, int(size))))
        case [repeats]:
            main(int(repeats))
        case _:
            main(3)
