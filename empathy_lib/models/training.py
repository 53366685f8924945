"""What SFT, reward model and GRPO share: the optimizer, LoRA, checkpoints, logs.

Knows: how bf16 weights are trained without losing small updates (float32 ones need no such care), how a
killed trainer resumes. Does not know: any loss.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import time
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import SafetensorError, safe_open
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint

from empathy_lib.core.config import GenerationConfig, LoraSettings
from empathy_lib.core.errors import UserError
from empathy_lib.models import processes
from empathy_lib.models.base import device, generate, working_dtype
from empathy_lib.models.compiling import compile_parts
from empathy_lib.models.quantized import merged
from empathy_lib.models.sharding import gathered, sharded
from empathy_lib.models.wheel import copy_licence

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

BETAS = (0.9, 0.99)  # of every AdamW here
# Its name in transformers 5.23; the version that vLLM needs has the older one only (requirements-vllm.lock).
_CHECKPOINTING = next(
    f"{what}_checkpointing"
    for what in ("activation", "gradient")
    if f"{what}_checkpointing" in TrainingArguments.__dataclass_fields__
)


class MasterAdamW(torch.optim.Optimizer):
    """Fused AdamW on fp32 master copies of bf16 parameters.

    A bf16 weight has 8 significant bits, so an update of 1e-6 times its size would be rounded away; the
    master keeps it. ``param_groups`` are the masters' (the learning-rate schedule acts there); gradients are
    read from, and weights written to, the parameters handed in. ``parameters`` may be groups with a rate of
    their own, ``{"params": […], "lr": …}``. Adam divides a step by √v + ``eps``: where ``eps`` is far above
    √v it is SGD with momentum at the rate ``lr / eps``.
    """

    def __init__(
        self,
        parameters: Iterable[torch.Tensor] | list[dict[str, Any]],
        lr: float,
        weight_decay: float = 0.0,
        eps: float = 1e-8,
    ):
        groups = _trained(parameters)
        self.parameters = [p for group in groups for p in group["params"]]
        self.masters = [p.detach().to(torch.float32, copy=True).requires_grad_() for p in self.parameters]
        unused = iter(self.masters)
        groups = [
            {**group, "params": list(itertools.islice(unused, len(group["params"])))} for group in groups
        ]
        self.inner = torch.optim.AdamW(
            groups, lr=lr, betas=BETAS, eps=eps, weight_decay=weight_decay, fused=True
        )
        super().__init__(self.masters, {"lr": lr})
        self.param_groups = self.inner.param_groups

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> None:
        """One update; masters are rounded into the parameters afterwards."""
        for master, parameter in zip(self.masters, self.parameters, strict=True):
            master.grad = None if parameter.grad is None else parameter.grad.to(torch.float32)
        self.inner.step()
        for master, parameter in zip(self.masters, self.parameters, strict=True):
            master.grad = None
            parameter.copy_(master)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the parameters' gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Moments, steps and masters; what a checkpoint needs to go on exactly."""
        return {**self.inner.state_dict(), "masters": [m.detach() for m in self.masters]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Counterpart of :meth:`state_dict`."""
        with torch.no_grad():
            for master, saved in zip(self.masters, state_dict["masters"], strict=True):
                master.copy_(saved)
        self.inner.load_state_dict({k: v for k, v in state_dict.items() if k != "masters"})
        self.param_groups = self.inner.param_groups


def adamw(
    parameters: Iterable[torch.Tensor] | list[dict[str, Any]], lr: float, eps: float = 1e-8
) -> torch.optim.Optimizer:
    """AdamW for weights of this type: :class:`MasterAdamW` where any lies in bfloat16; float32 ones are their
    own masters.

    Raises:
        UserError: bfloat16 weights where arithmetic is float16, whose scaled gradients they do not take; a
            sharded training, whose optimizer the trainer makes itself.
    """
    if processes.is_sharded():
        raise UserError("sharding=fsdp2: this training's optimizer cannot be sharded; set sharding=none")
    given = list(parameters)
    every = (p for each in given for p in (each["params"] if isinstance(each, dict) else [each]))
    if any(p.dtype == torch.bfloat16 for p in every):
        if float16_arithmetic():
            raise UserError("bfloat16 weights: this card multiplies none; leave base_model.dtype at auto")
        return MasterAdamW(given, lr=lr, eps=eps)
    return torch.optim.AdamW(_trained(given), lr=lr, betas=BETAS, eps=eps, weight_decay=0.0, fused=True)


def _trained(parameters: Iterable[torch.Tensor] | list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Groups of parameters, those that are frozen left out."""
    given = list(parameters)
    groups = given if isinstance(given[0], dict) else [{"params": given}]
    return [{**group, "params": [p for p in group["params"] if p.requires_grad]} for group in groups]


def optimizers(model: PreTrainedModel, lr: float, eps: float = 1e-8) -> tuple[Any, None]:
    """What a trainer takes as ``optimizers``: :func:`adamw`, or nothing where it shards and makes its own."""
    return (None if processes.is_sharded() else adamw(model.parameters(), lr, eps), None)


def float16_arithmetic() -> bool:
    """Whether training runs in float16 over float32 weights: on cards without bfloat16 (T4, V100)."""
    return device().type == "cuda" and working_dtype() == torch.float32


def with_lora(model: PreTrainedModel, settings: LoraSettings, seed: int = 1) -> PreTrainedModel:
    """Freeze ``model`` and add LoRA adapters (arXiv 2106.09685) to all its linear layers, the same for
    the same ``seed``, whatever the process has drawn before.

    Raises:
        UserError: a sharded training.
    """
    if processes.is_sharded():
        raise UserError("tuning=lora: adapters are not sharded; set sharding=none, or tuning=full")
    set_seed(seed)
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def save_policy(model: PreTrainedModel, tokenizer, start: Path, folder: Path) -> None:
    """Save a policy whole, in the hub's layout; LoRA adapters are merged into the weights of ``start`` so
    that every reader needs one loader only."""
    whole = merged(model, start) if isinstance(model, PeftModel) else model
    whole.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


class JsonlLog(TrainerCallback):
    """Append each log record of a trainer to a JSONL file, with its step; records after a resumed step are
    dropped."""

    def __init__(self, path: Path):
        self.path = path

    def on_train_begin(self, args, state, control, **kwargs):
        """Cut what a killed run logged after its last checkpoint."""
        if not processes.is_first():
            return
        kept = (
            [r for r in read_log(self.path) if r["step"] <= state.global_step]
            if self.path.exists() and state.global_step
            else []
        )
        self.path.write_text("".join(json.dumps(r) + "\n" for r in kept), encoding="utf-8")

    def on_log(self, args, state, control, logs=None, **kwargs):
        """Write one record."""
        self.write(state.global_step, logs or {})

    def write(self, step: int, record: dict[str, Any]) -> None:
        """Append ``record`` with its step, once for all processes."""
        if not processes.is_first():
            return
        with self.path.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps({"step": step, **record}) + "\n")


class ItemLog(JsonlLog):
    """What whoever holds it writes at a step, such as the validation loss of every pair; cut as the log is
    where a run resumes."""

    def on_log(self, args, state, control, logs=None, **kwargs):
        """What the trainer logs is kept elsewhere."""


class SampleLog(ItemLog):
    """Answer the same prompts at every checkpoint, greedily (which draws nothing from the run's random
    numbers), into a JSONL file."""

    def __init__(
        self, path: Path, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], config: GenerationConfig
    ):
        super().__init__(path)
        self.tokenizer, self.prompts, self.config = tokenizer, list(prompts), config

    def on_save(self, args, state, control, model=None, **kwargs):
        """Write one record; a sharded model is asked by all processes."""
        if not processes.is_first() and not processes.is_sharded():
            return
        training = model.training
        completions = generate(model, self.tokenizer, self.prompts, self.config, seed=0, greedy=True)
        model.train(training)
        self.write(state.global_step, {"completions": completions})


def read_log(path: Path) -> list[dict[str, Any]]:
    """Records of a :class:`JsonlLog` file; a half-written last line is left out."""
    records = []
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        if line.endswith("}"):
            records.append(json.loads(line))
    return records


def last_checkpoint(folder: Path) -> str | None:
    """The newest whole checkpoint below ``folder``, or None; a half-written or truncated one is removed, by
    the first process alone."""
    return processes.of_first(_last_checkpoint(folder) if processes.is_first() else None)


def _last_checkpoint(folder: Path) -> str | None:
    told = folder / "processes"  # how many wrote the checkpoints here
    wrote, found = int(told.read_text()) if told.is_file() else processes.count(), None
    while folder.is_dir() and (path := get_last_checkpoint(str(folder))):
        # the trainer writes that file last
        if (Path(path) / "trainer_state.json").is_file() and _is_whole(Path(path), wrote):
            found = path
            break
        shutil.rmtree(path)
    if found and (Path(found) / "pytorch_model_fsdp.bin").is_file() != processes.is_sharded():
        raise UserError(f"{found} was written with another sharding; set that, or remove {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    told.write_text(str(processes.count()))
    return found


def _is_whole(checkpoint: Path, wrote: int) -> bool:
    """Whether every file of weights, of optimizer state and of random numbers has the length that its own
    header or index tells, and each of the ``wrote`` processes has left its random numbers: the first does not
    wait for the others'."""
    try:
        for path in checkpoint.rglob("*.safetensors"):
            with safe_open(path, "pt"):
                pass
    except SafetensorError:
        return False
    if wrote > 1 and not all((checkpoint / f"rng_state_{rank}.pth").is_file() for rank in range(wrote)):
        return False
    return all(zipfile.is_zipfile(path) for end in ("pt*", "bin") for path in checkpoint.rglob(f"*.{end}"))


class SaveByTime(TrainerCallback):
    """Ask for a checkpoint where the last one is older than ``minutes``, however few steps that were."""

    def __init__(self, minutes: float = 10):
        self.seconds, self.saved = 60 * minutes, time.monotonic()

    def on_step_end(self, args, state, control, **kwargs):
        """Look at the clock."""
        # processes whose clocks differ would wait for each other's checkpoints
        if processes.of_first(time.monotonic() - self.saved >= self.seconds):
            control.should_save = True

    def on_save(self, args, state, control, **kwargs):
        """Any checkpoint counts."""
        self.saved = time.monotonic()


class CompileParts(TrainerCallback):
    """Compile the trained model and, beside it, ``others`` (or None) where the planned steps make that pay,
    resumed or not."""

    def __init__(self, *others: torch.nn.Module | None):
        self.others = others

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        """The trainer has just planned its steps."""
        for each in (model, *filter(None, self.others)):
            compile_parts(each, state.max_steps * args.gradient_accumulation_steps)


def planned_steps(examples: int, batch: int, accumulation: int, epochs: float, max_steps: int) -> int:
    """Optimizer steps that a trainer plans for so many examples; ``max_steps`` -1: as ``epochs`` ask for."""
    if max_steps > 0:
        return max_steps
    return math.ceil(epochs * math.ceil(math.ceil(examples / batch) / accumulation))


def warmup_steps(planned: int, ratio: float, steps: int) -> int:
    """Steps in which the learning rate rises: a share of those planned, at least ``steps``, at most a
    quarter."""
    return min(max(math.ceil(ratio * planned), steps), planned // 4)


def looks_at_validation(planned: int, steps: int) -> int:
    """Steps between two looks at the validation loss: ``steps``, or fewer, so that there are five and early
    stopping can see the first rise."""
    return max(1, min(steps, planned // 5))


def trainer_arguments(
    folder: Path, seed: int, tracking: Sequence[str] = (), *, checkpointed: bool = True
) -> dict[str, Any]:
    """Arguments that every trainer of this project shares.

    Args:
        folder: for checkpoints, which go when training ends.
        checkpointed: whether activations are made anew on the way back, on a card.
        tracking: trackers to report to, as the profile's ``tracking``; TensorBoard's events lie beside
            ``folder`` and stay.
    """
    if "tensorboard" in tracking:
        # the integration takes it from nowhere else
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder.parent / "tensorboard")
    arguments = {
        "output_dir": str(folder),
        "run_name": "/".join(folder.resolve().parts[-3:-1]),
        "seed": seed,
        "data_seed": seed,
        "report_to": list(tracking) or "none",
        "disable_tqdm": True,
        "save_total_limit": 2,
        "save_strategy": "steps",
        "logging_strategy": "steps",
        "lr_scheduler_type": "cosine",
        "max_grad_norm": 1.0,
        "use_cpu": not torch.cuda.is_available() and not torch.backends.mps.is_available(),
        "dataloader_pin_memory": torch.cuda.is_available(),
        _CHECKPOINTING: checkpointed and torch.cuda.is_available(),
        # no autocast but this: the weights have the arithmetic's type, see working_dtype and MasterAdamW
        "bf16": False,
        "fp16": float16_arithmetic(),
    }
    return sharded(arguments, BETAS, _CHECKPOINTING) if processes.is_sharded() else arguments


def finish_policy(
    model, tokenizer: PreTrainedTokenizerBase, start: Path, folder: Path, name: str = "policy"
) -> None:
    """:func:`finish` for a policy, which may be sharded."""
    model = gathered(model) if processes.is_sharded() else model
    finish(lambda target: save_policy(model, tokenizer, start, target), start, folder, name)


def finish(save: Callable[[Path], None], start: Path, folder: Path, name: str) -> None:
    """``save`` what was trained from ``start`` into ``folder/name`` and mark it whole; the checkpoints, no
    longer needed, go. Of several processes the first does it, and the others wait."""
    if processes.is_first():
        save(folder / name)
        copy_licence(start, folder / name)
        (folder / name / "done").touch()
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    processes.wait()
