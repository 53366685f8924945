"""CoE supervised fine-tuning: items in, policy out, over TRL's SFTTrainer.

Knows: how an item becomes a (prompt, completion) pair with and without CoE. Does not know: the base's origin,
metrics.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from datasets import Dataset
from transformers import EarlyStoppingCallback, PreTrainedTokenizerBase, PrinterCallback, TrainerCallback
from trl import SFTConfig, SFTTrainer

from empathy_lib.core.coe import render
from empathy_lib.core.config import BaseModelConfig, SFTStageConfig
from empathy_lib.core.errors import UserError
from empathy_lib.core.schema import Item
from empathy_lib.models.base import load_policy
from empathy_lib.models.prompts import coe_prompt, plain_prompt
from empathy_lib.models.training import (
    CompileParts,
    JsonlLog,
    MasterAdamW,
    SaveByTime,
    finish_policy,
    last_checkpoint,
    read_log,
    trainer_arguments,
    with_lora,
)


def sft_pairs(
    items: list[Item], tokenizer: PreTrainedTokenizerBase, limit: int, rng: np.random.Generator, *, coe: bool
) -> list[dict]:
    """Turn items into ``{"id", "prompt", "completion"}``: every question once before any question twice.

    Args:
        items: annotated items.
        limit: the most pairs.
        rng: decides which answer of a question comes first, so both policies see the same answers given the
            same seed.
        coe: with the chain, or the answer alone (the ablation).
    """
    rounds: list[list[tuple[Item, int]]] = []
    for index in rng.permutation(len(items)):
        for turn, answer in enumerate(rng.permutation(len(items[index].answers))):
            while len(rounds) <= turn:
                rounds.append([])
            rounds[turn].append((items[index], int(answer)))
    pairs = []
    for item, number in [pair for turn in rounds for pair in turn][:limit]:
        answer = item.answers[number]
        if coe and answer.coe is None:
            raise UserError(
                f"item '{item.id}': an answer has no chain of empathy; set dataset.annotator=rules and run "
                f"notebook 01 again"
            )
        if coe:
            pairs.append(
                {
                    "id": item.id,
                    "prompt": coe_prompt(tokenizer, item.question),
                    "completion": render(answer.coe, answer.text),
                }
            )
        else:
            pairs.append(
                {"id": item.id, "prompt": plain_prompt(tokenizer, item.question), "completion": answer.text}
            )
    return pairs


def fits(pairs: list[dict], tokenizer: PreTrainedTokenizerBase, max_length: int) -> list[dict]:
    """Pairs of at most ``max_length`` tokens; a cut-off chain would teach the model to break the format."""
    lengths = (
        [len(ids) for ids in tokenizer([p["prompt"] + p["completion"] for p in pairs])["input_ids"]]
        if pairs
        else []
    )
    return [pair for pair, length in zip(pairs, lengths, strict=True) if length + 1 <= max_length]


class EvaluateLast(TrainerCallback):
    """The last step is evaluated like those at a multiple of ``eval_steps``: it may be the best."""

    def on_step_end(self, args, state, control, **kwargs):
        """Ask for it."""
        if state.global_step >= state.max_steps:
            control.should_evaluate = True


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
    lower one training stops.

    Args:
        base: folder of a prepared base.
        train: pairs of :func:`sft_pairs`; ``validation`` likewise.
        folder: gets ``policy/`` (safetensors) and ``log.jsonl``; while training also ``checkpoints/``.
        tracking: further trackers, as the profile's ``tracking``.

    Returns:
        The log records (``step``, ``loss`` in nats per completion token, ``eval_loss``, …).

    Raises:
        UserError: no pair fits ``base_model.max_length``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.jsonl"
    # A policy that was finished is kept, whatever came after it.
    if (folder / "policy" / "done").is_file():
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        return read_log(log)
    # Base and pairs: what is too long is left out, not cut.
    model, tokenizer = load_policy(base, dtype=model_config.dtype)
    kept, held = (fits(pairs, tokenizer, model_config.max_length) for pairs in (train, validation))
    if not kept or not held:
        raise UserError(
            f"no training item fits base_model.max_length={model_config.max_length} tokens; raise it with "
            f"--set"
        )
    if config.tuning == "lora":
        model = with_lora(model, config.lora)
        model.enable_input_require_grads()
    # Training: the best policy so far is kept, a killed run goes on from its last checkpoint.
    trainer = SFTTrainer(
        model=model,
        args=sft_arguments(folder, config, seed, tracking),
        train_dataset=_dataset(kept),
        eval_dataset=_dataset(held),
        processing_class=tokenizer,
        optimizers=(MasterAdamW(model.parameters(), lr=config.learning_rate), None),
        callbacks=[
            JsonlLog(log),
            SaveByTime(),
            CompileParts(),
            EvaluateLast(),
            EarlyStoppingCallback(config.patience),
        ],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=last_checkpoint(folder / "checkpoints"))
    finish_policy(trainer.model, tokenizer, base, folder)
    return read_log(log)


def sft_arguments(folder: Path, config: SFTStageConfig, seed: int, tracking: Sequence[str] = ()) -> SFTConfig:
    """What TRL is told: the profile's ``sft`` section, and what follows from training on completions only."""
    return SFTConfig(
        **trainer_arguments(folder / "checkpoints", seed, tracking),
        num_train_epochs=config.epochs,
        max_steps=config.max_steps,
        learning_rate=config.learning_rate,
        warmup_steps=config.warmup_ratio,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=config.batch_size,
        gradient_accumulation_steps=config.gradient_accumulation,
        train_sampling_strategy="group_by_length",
        logging_steps=5,
        logging_first_step=True,
        eval_strategy="steps",
        eval_steps=config.checkpoint_steps,
        save_steps=config.checkpoint_steps,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        restore_callback_states_from_checkpoint=True,  # how often the loss has not improved, too
        max_length=None,
        completion_only_loss=True,
        pad_to_multiple_of=8,
    )


def _dataset(pairs: list[dict]) -> Dataset:
    return Dataset.from_list([{key: pair[key] for key in ("prompt", "completion")} for pair in pairs])
