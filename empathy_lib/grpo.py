"""GRPO from the SFT policy, over TRL's GRPOTrainer, with the paper's ``r_total = r_format + r_answer``.

Knows: the two rewards, the guard against copied answers, how TRL is configured.
Does not know: how the reward model was trained, what the metrics are.

GRPO is arXiv 2402.03300. Group size, learning rate, KL weight and the guard are our choices; the paper gives none.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, PrinterCallback
from trl import GRPOConfig

from empathy_lib.artefacts import generator
from empathy_lib.base_models import attention_name, load_policy
from empathy_lib.coe import answer_of, is_well_formed
from empathy_lib.config import GenerationConfig, GRPOStageConfig
from empathy_lib.copying import copy_rate, mask_copied_spans
from empathy_lib.decoding import compile_steps
from empathy_lib.empathy_qa.schema import Item
from empathy_lib.grpo_trainer import SharedPromptGRPOTrainer
from empathy_lib.prompts import coe_prompt
from empathy_lib.reward_model import RewardModel
from empathy_lib.sft import finish_policy
from empathy_lib.training import (
    CompileParts,
    JsonlLog,
    MasterAdamW,
    SampleLog,
    SaveByTime,
    last_checkpoint,
    read_log,
    trainer_arguments,
    with_lora,
)


def r_format(completions: list[str], **_) -> list[float]:
    """1 where the completion follows the CoE grammar, else 0 (paper: binary, all tags there)."""
    return [float(is_well_formed(text)) for text in completions]


@dataclass
class AnswerReward:
    """``r_answer``: cosine of post and answer, against the reward model's threshold.

    ``threshold``: 1 if the cosine reaches the threshold, else 0 (paper). ``smooth``: the cosine itself (an option).
    With ``mask_copied_spans`` the answer is scored without what it copies from the post; from ``copy_guard`` on it earns 0.
    """

    model: RewardModel
    kind: str = "threshold"
    copy_guard: float = 1.0
    mask_copied_spans: bool = False

    @classmethod
    def from_config(cls, model: RewardModel, config: GRPOStageConfig) -> AnswerReward:
        """The reward as the profile asks for it."""
        return cls(model, config.reward, config.copy_guard, config.mask_copied_spans)

    def cosines(self, questions: list[str], answers: list[str]) -> np.ndarray:
        """The cosines that are rewarded, shape ``(n,)``."""
        scored = [mask_copied_spans(a, q) for q, a in zip(questions, answers, strict=True)] if self.mask_copied_spans else answers
        return self.model.score(questions, scored)

    def rate(self, questions: list[str], answers: list[str]) -> np.ndarray:
        """``r_answer`` of plain answers (no tags), shape ``(n,)``."""
        cosines = self.cosines(questions, answers)
        reward = (cosines >= self.model.threshold).astype(float) if self.kind == "threshold" else cosines
        return np.where(self.is_guarded(questions, answers), 0.0, reward)

    def is_guarded(self, questions: list[str], answers: list[str]) -> np.ndarray:
        """Whether each answer copies so much that it earns nothing, shape ``(n,)``."""
        if self.copy_guard >= 1:
            return np.zeros(len(answers), dtype=bool)
        return np.array([copy_rate(a, q) for q, a in zip(questions, answers, strict=True)], dtype=float) >= self.copy_guard

    def as_function(self) -> Callable[..., list[float]]:
        """The reward in TRL's signature: completions of a batch and the dataset's ``question`` column."""

        def r_answer(completions: list[str], question: list[str], **_) -> list[float]:
            return self.rate(question, [answer_of(text) for text in completions]).tolist()

        return r_answer


def comparison(config: GRPOStageConfig, name: str) -> GRPOStageConfig:
    """The configuration of one of ``grpo.comparisons``: ours but for the one thing that its name says (``no_sft`` changes the start)."""
    return config.model_copy(update={"no_sft": {}, "smooth": {"reward": "smooth"}, "decoupled": {"aggregation": "decoupled"}}[name])


def train_grpo(
    policy: Path,
    items: list[Item],
    reward: AnswerReward,
    folder: Path,
    config: GRPOStageConfig,
    generation: GenerationConfig,
    seed: int,
    tracking: Sequence[str] = (),
    shown: Sequence[str] = (),
) -> list[dict]:
    """Optimise ``policy`` with GRPO; resumes from a checkpoint in ``folder``.

    Args:
        policy: folder of the SFT policy; it is also the reference of the KL.
        items: training items; only their posts are used.
        folder: gets ``policy/`` and ``log.jsonl``; while training also ``checkpoints/``.
        tracking: further trackers, as the profile's ``tracking``.
        shown: posts that are answered greedily at every checkpoint, into ``folder/samples.jsonl``.

    Returns:
        The log records: ``rewards/r_format/mean``, ``rewards/r_answer/mean``, ``kl`` (nats a token),
        ``completions/mean_length`` (tokens), ``frac_reward_zero_std`` (share of groups that teach nothing), …
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.jsonl"
    if (folder / "policy" / "done").is_file():
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        return read_log(log)
    model, tokenizer = load_policy(policy)
    dataset = prompts_of(items, tokenizer, config.max_steps * config.prompts_per_step, seed)
    longest = max(len(ids) for ids in tokenizer(list(dataset["prompt"]))["input_ids"])
    compile_steps(model, config.prompts_per_step * config.num_generations, longest + generation.max_new_tokens)
    model.train()
    if config.tuning == "lora":
        model = with_lora(model, config.lora)
        model.enable_input_require_grads()
    prompts = [coe_prompt(tokenizer, post) for post in shown]
    micro = min(config.micro_batch, config.prompts_per_step * config.num_generations)
    arguments = GRPOConfig(
        **trainer_arguments(folder / "checkpoints", seed, tracking),
        max_steps=config.max_steps,
        shuffle_dataset=False,  # shuffled already: TRL's sampler forgets its order when a run of several epochs resumes
        learning_rate=config.learning_rate,
        warmup_steps=0.1,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=config.prompts_per_step * config.num_generations // micro,
        num_generations=config.num_generations,
        max_completion_length=generation.max_new_tokens,
        temperature=generation.temperature or 1.0,  # greedy groups would be all alike
        top_p=1.0,  # the sampled distribution must be the one the log-probabilities describe
        beta=config.beta,
        loss_type="dapo",  # token-level mean (arXiv 2503.14476), TRL's default and our choice; the paper does not say
        scale_rewards="group",
        multi_objective_aggregation="normalize_then_sum" if config.aggregation == "decoupled" else "sum_then_normalize",
        mask_truncated_completions=False,
        logging_steps=1,
        save_steps=config.checkpoint_steps,
        model_init_kwargs=None,
    )
    trainer = SharedPromptGRPOTrainer(
        model=model,
        reward_funcs=[r_format, reward.as_function()],
        args=arguments,
        train_dataset=dataset,
        processing_class=tokenizer,
        optimizers=(MasterAdamW(model.parameters(), lr=config.learning_rate, eps=config.adam_epsilon), None),
        callbacks=[JsonlLog(log), SaveByTime()]
        + ([SampleLog(folder / "samples.jsonl", tokenizer, prompts, generation)] if prompts else []),
    )
    if trainer.ref_model is not None:
        trainer.ref_model.to(model.dtype).set_attn_implementation(attention_name())
    trainer.add_callback(CompileParts(trainer.ref_model))
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=last_checkpoint(folder / "checkpoints"))
    finish_policy(trainer.model, tokenizer, policy, folder)
    return read_log(log)


def prompts_of(items: list[Item], tokenizer: PreTrainedTokenizerBase, count: int, seed: int) -> Dataset:
    """``count`` posts as GRPO's dataset, columns ``prompt`` and ``question``: every post once, shuffled, before any twice."""
    rng, order = generator(seed, "grpo prompts"), []
    while len(order) < count:
        order += rng.permutation(len(items)).tolist()
    drawn = [items[index] for index in order[:count]]
    return Dataset.from_list([{"prompt": coe_prompt(tokenizer, i.question), "question": i.question} for i in drawn])


def group_advantages(rewards: np.ndarray) -> np.ndarray:
    """GRPO's advantages: rewards of shape ``(groups, completions)`` minus the group's mean, over its standard deviation.

    A group whose completions all earn the same has zero advantage everywhere: it teaches nothing.
    """
    centred = rewards - rewards.mean(axis=1, keepdims=True)
    return centred / (rewards.std(axis=1, ddof=1, keepdims=True) + 1e-4)
