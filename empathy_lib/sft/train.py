"""CoE supervised fine-tuning: items in, policy out, over TRL's SFTTrainer.

Knows: how TRL's trainer is configured, which policy is kept, when none is. Does not know: how pairs are made
(``pairs``), the base's origin, metrics.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset
from transformers import EarlyStoppingCallback, PrinterCallback
from trl import SFTConfig

from empathy_lib.core.config import BaseModelConfig, SFTStageConfig
from empathy_lib.core.errors import UserError
from empathy_lib.core.files import write_json
from empathy_lib.models import processes
from empathy_lib.models.memory import releases_memory
from empathy_lib.models.passes import MULTIPLE
from empathy_lib.models.quantized import exact_adapters
from empathy_lib.models.sharding import AssertSharded, computing_in, load_to_train
from empathy_lib.models.training import (
    CompileParts,
    ItemLog,
    JsonlLog,
    SaveByTime,
    finish_policy,
    last_checkpoint,
    looks_at_validation,
    optimizers,
    planned_steps,
    read_log,
    trainer_arguments,
    warmup_steps,
    with_lora,
)
from empathy_lib.sft.pairs import fit
from empathy_lib.sft.trainer import PassesTrainer

REFUSED = "policy_refused"


@releases_memory
def train_sft(
    base: Path,
    train: list[dict],
    validation: list[dict],
    folder: Path,
    config: SFTStageConfig,
    model_config: BaseModelConfig,
    seed: int,
    tracking: Sequence[str] = (),
) -> list[dict]:
    """Fine-tune ``base`` on pairs, loss on the completion only; resumes from a checkpoint in ``folder``.

    The policy kept is that with the lowest validation loss; after ``config.patience`` evaluations without a
    lower one training stops. Step 0 of the log is the base's own loss.

    Args:
        base: folder of a prepared base.
        train: pairs of :func:`empathy_lib.sft.pairs.sft_pairs`; ``validation`` likewise.
        folder: gets ``policy/`` (safetensors), ``log.jsonl``, ``validation.jsonl`` (the loss of every
            validation pair) and ``lengths.json`` (which pairs there was room for); while training also
            ``checkpoints/``.
        tracking: further trackers, as the profile's ``tracking``.

    Returns:
        The log records (``step``, ``loss`` in nats per completion token, ``eval_loss``, …).

    Raises:
        UserError: no pair fits ``base_model.max_length``, or no policy is better than the base; see
            :func:`_keep`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.jsonl"
    # A policy that was finished is kept, whatever came after it.
    if (folder / "policy" / "done").is_file() or (folder / REFUSED / "done").is_file():
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        return _keep(folder, config)
    # Base and pairs: what is too long is left out, not cut.
    model, tokenizer = load_to_train(base, model_config.dtype, config.tuning)
    room = fit(train, tokenizer, model_config)
    kept = room.select(train)
    held_room = fit(validation, tokenizer, model_config)
    held = held_room.select(validation)
    for what, found in (("training", room), ("validation", held_room)):
        if found.left_out and processes.is_first():
            print(f"{what}: {found}")
    if processes.is_first():
        write_json(folder / "lengths.json", {"training": room.record(), "validation": held_room.record()})
    if config.tuning != "full":
        model = with_lora(model, config.lora, seed)
        model.enable_input_require_grads()
    # Training: the best policy so far is kept, a killed run goes on from its last checkpoint.
    checkpoint = last_checkpoint(folder / "checkpoints")
    arguments = sft_arguments(folder, config, seed, len(kept), tracking, resumed=checkpoint is not None)
    trainer = PassesTrainer(
        model=model,
        args=computing_in(arguments, model_config.dtype),
        train_dataset=_dataset(kept),
        eval_dataset=_dataset(held),
        processing_class=tokenizer,
        optimizers=optimizers(model, config.learning_rate),
        callbacks=[
            AssertSharded(),
            JsonlLog(log),
            SaveByTime(),
            CompileParts(),
            EarlyStoppingCallback(config.patience),
        ],
        tokens_per_pass=config.tokens_per_pass,
        losses=ItemLog(folder / "validation.jsonl"),
    )
    exact_adapters(trainer.model)
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=checkpoint)
    finish_policy(trainer.model, tokenizer, base, folder, name="policy" if _learnt(log) else REFUSED)
    return _keep(folder, config)


def _losses(log: Path) -> tuple[float, float, int]:
    """The base's validation loss, the best of the training, and at which step that was."""
    looks = {record["step"]: record["eval_loss"] for record in read_log(log) if "eval_loss" in record}
    best = min((step for step in looks if step > 0), key=looks.__getitem__)
    return looks.get(0, math.inf), looks[best], best


def _learnt(log: Path) -> bool:
    base, best, _ = _losses(log)
    return best < base


def _keep(folder: Path, config: SFTStageConfig) -> list[dict]:
    """Keep the trained policy, or refuse it: one that predicts held-out answers no better than the base has
    learnt nothing that lasts, and everything after it would be built on that.

    A refused policy stays in ``folder`` as ``policy_refused/``; asked for again with
    ``allow_worse_than_base`` it becomes the policy, without another training.

    Raises:
        UserError: refused.
    """
    log = folder / "log.jsonl"
    if not _learnt(log):
        base, best, step = _losses(log)
        found = (
            f"sft, {folder.name}: the best validation loss, {best:.3f} at step {step}, is not below the "
            f"base's own, {base:.3f}"
        )
        remedy = (
            f"lower sft.learning_rate ({config.learning_rate:g}), raise sft.max_items or sft.warmup_steps"
        )
        if not config.allow_worse_than_base:
            where = folder / (REFUSED if (folder / REFUSED).is_dir() else "policy")
            raise UserError(
                f"{found}; {remedy}; the policy lies in {where} until other settings are trained, "
                f"and sft.allow_worse_than_base=true keeps it"
            )
        print(f"warning: {found}; kept, as sft.allow_worse_than_base says; otherwise {remedy}")
        if processes.is_first() and (folder / REFUSED).is_dir():
            (folder / REFUSED).rename(folder / "policy")
    return read_log(log)


def sft_arguments(
    folder: Path,
    config: SFTStageConfig,
    seed: int,
    pairs: int,
    tracking: Sequence[str] = (),
    *,
    resumed: bool = False,
) -> SFTConfig:
    """What TRL is told: the profile's ``sft`` section, and what follows from training on completions only.

    Args:
        pairs: how many are trained on.
        resumed: whether a killed run goes on; the base has been evaluated then.
    """
    planned = planned_steps(
        pairs, config.batch_size, config.gradient_accumulation, config.epochs, config.max_steps
    )
    # dealt whole where its passes can be, else every pass is
    whole = config.gradient_accumulation % processes.count() == 0
    if not whole:
        processes.share(config.batch_size, "sft.batch_size")
    look = looks_at_validation(planned, config.checkpoint_steps)
    return SFTConfig(
        **trainer_arguments(folder / "checkpoints", seed, tracking),
        num_train_epochs=config.epochs,
        max_steps=config.max_steps,
        learning_rate=config.learning_rate,
        warmup_steps=warmup_steps(planned, config.warmup_ratio, config.warmup_steps),
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=config.batch_size,
        gradient_accumulation_steps=config.gradient_accumulation // (processes.count() if whole else 1),
        accelerator_config={"split_batches": not whole},
        train_sampling_strategy="group_by_length",
        logging_steps=5,
        logging_first_step=True,
        eval_on_start=not resumed,
        eval_strategy="steps",
        eval_steps=look,
        save_steps=look,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        restore_callback_states_from_checkpoint=True,  # how often the loss has not improved, too
        max_length=None,
        completion_only_loss=True,
        pad_to_multiple_of=MULTIPLE,
    )


def _dataset(pairs: list[dict]) -> Dataset:
    return Dataset.from_list([{key: pair[key] for key in ("prompt", "completion")} for pair in pairs])
