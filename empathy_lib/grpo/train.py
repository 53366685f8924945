"""GRPO from the SFT policy, over TRL's GRPOTrainer, with the paper's ``r_total = r_format + r_answer``, or
with our ``r_chain`` added where ``grpo.chain_reward`` asks for it.

Knows: the rewards that are added up, how TRL is configured.
Does not know: how the reward model was trained, what the metrics are.

GRPO is arXiv 2402.03300. Group size, learning rate, KL weight and the guard are our choices; the paper gives
none.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from empathy_lib.core.config import GenerationConfig, GRPOStageConfig
from empathy_lib.core.errors import UserError
from empathy_lib.core.files import write_json
from empathy_lib.core.run import generator
from empathy_lib.core.schema import Item
from empathy_lib.grpo.trainer import SharedPromptGRPOTrainer
from empathy_lib.models import processes, vllm
from empathy_lib.models.base import attention_of
from empathy_lib.models.decoding import compile_steps
from empathy_lib.models.lengths import completion_length
from empathy_lib.models.memory import releases_memory
from empathy_lib.models.passes import rows_per_pass
from empathy_lib.models.prompts import coe_prompt, plain_prompt
from empathy_lib.models.quantized import exact_adapters
from empathy_lib.models.sharding import AssertSharded, computing_in, load_to_train
from empathy_lib.models.training import (
    CompileParts,
    JsonlLog,
    SampleLog,
    SaveByTime,
    finish_policy,
    last_checkpoint,
    optimizers,
    read_log,
    trainer_arguments,
    warmup_steps,
    with_lora,
)
from empathy_lib.reward.chain import ChainReward
from empathy_lib.reward.paid import AnswerReward, r_format


def comparison(config: GRPOStageConfig, name: str) -> GRPOStageConfig:
    """The configuration of one of ``grpo.comparisons``: ours but for the one thing that its name says
    (``no_sft`` and ``no_coe`` change the start).

    Raises:
        UserError: ``chain`` beside a run that pays ``r_chain`` already.
    """
    if name == "chain" and config.chain_reward:
        raise UserError(
            "grpo.comparisons: 'chain' sets r_chain beside a run without it, but grpo.chain_reward is true; "
            "set one of the two"
        )
    changes = {
        "smooth": {"reward": "smooth"},
        "decoupled": {"aggregation": "decoupled"},
        "chain": {"chain_reward": True},
    }
    return config.model_copy(update=changes.get(name, {}))


@releases_memory
def train_grpo(
    policy: Path,
    items: list[Item],
    reward: AnswerReward | Callable[..., list[float]],
    folder: Path,
    config: GRPOStageConfig,
    generation: GenerationConfig,
    seed: int,
    tracking: Sequence[str] = (),
    shown: Sequence[str] = (),
    *,
    chain: bool = True,
) -> list[dict]:
    """Optimise ``policy`` with GRPO; resumes from a checkpoint in ``folder``.

    Args:
        policy: folder of the SFT policy; it is also the reference of the KL.
        items: training items; only their posts are used, and for ``r_chain`` their gold labels.
        reward: what is paid beside ``r_format``: an :class:`AnswerReward`, or a function of one's own in
            TRL's signature, ``f(completions, question, **_) -> list[float]``; the log calls it ``r_answer``.
        folder: gets ``policy/`` and ``log.jsonl``; while training also ``checkpoints/``.
        generation: sampling; ``max_new_tokens`` is the longest completion, ``auto`` as the items' answers
            ask for.
        tracking: further trackers, as the profile's ``tracking``.
        shown: posts that are answered greedily at every checkpoint, into ``folder/samples.jsonl``.
        chain: whether the policy writes a chain. Without, it is asked by ``plain_prompt``, its whole
            completion is the answer, and only ``r_answer`` is paid, whatever ``config.chain_reward`` says.

    Raises:
        UserError: ``config.rollouts`` asks for vLLM, which is not installed, or for a server that is not up;
            nothing has been loaded then.

    Returns:
        The log records: ``rewards/r_format/mean``, ``rewards/r_answer/mean``, ``kl`` (nats a token),
        ``completions/mean_length`` (tokens), ``frac_reward_zero_std`` (share of groups that teach nothing),
        ``rewards/r_chain/mean`` where that is paid, …
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.jsonl"
    # A policy that was finished is kept, whatever came after it.
    if (folder / "policy" / "done").is_file():
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        return read_log(log)
    vllm.check(config)
    # Policy and posts; the room that the longest prompt and completion take decides the compiled cache.
    model, tokenizer = load_to_train(policy, tuning=config.tuning)
    room = completion_length(generation, items, tokenizer)
    generation = generation.model_copy(update={"max_new_tokens": room.tokens})
    if processes.is_first():
        write_json(folder / "lengths.json", {"completions": room.record()})
    count, prompt = config.max_steps * config.prompts_per_step, coe_prompt if chain else plain_prompt
    dataset = prompts_of(items, tokenizer, count, seed, prompt)
    longest = max(len(ids) for ids in tokenizer(list(dataset["prompt"]))["input_ids"])
    rollouts = _own_rollouts(config)
    compile_steps(model, rollouts, longest + generation.max_new_tokens)
    fitting = rows_per_pass(config, rollouts, longest, generation.max_new_tokens)
    settings = vllm.settled(config.vllm, longest + generation.max_new_tokens)
    config = config.model_copy(update={"micro_batch": fitting, "vllm": settings})
    model.train()
    if config.tuning != "full":
        model = with_lora(model, config.lora, seed)
        model.enable_input_require_grads()
    # The trainer: the rewards, whose sum (or whose advantages' sum) is optimised.
    callbacks = [AssertSharded(), JsonlLog(log), SaveByTime()]
    if shown:
        prompts = [prompt(tokenizer, post) for post in shown]
        callbacks.append(SampleLog(folder / "samples.jsonl", tokenizer, prompts, generation))
    # a prompt that is read apart passes the wrapper by which shards are gathered
    trainer_class = GRPOTrainer if processes.is_sharded() else SharedPromptGRPOTrainer
    trainer = trainer_class(
        model=model,
        reward_funcs=rewards_of(reward, items, config, chain=chain),
        args=computing_in(grpo_arguments(folder, config, generation, seed, tracking)),
        train_dataset=dataset,
        processing_class=tokenizer,
        optimizers=optimizers(model, config.learning_rate, config.adam_epsilon),
        callbacks=callbacks,
    )
    # The reference policy of the KL runs as the policy does.
    if trainer.ref_model is not None and not processes.is_sharded():
        trainer.ref_model.to(model.dtype).set_attn_implementation(attention_of(policy))
    trainer.add_callback(CompileParts(trainer.ref_model))
    exact_adapters(trainer.model)
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=last_checkpoint(folder / "checkpoints"))
    finish_policy(trainer.model, tokenizer, policy, folder)
    return read_log(log)


def grpo_arguments(
    folder: Path,
    config: GRPOStageConfig,
    generation: GenerationConfig,
    seed: int,
    tracking: Sequence[str] = (),
) -> GRPOConfig:
    """What TRL is told: the profile's ``grpo`` section, its sampling, and our variant of GRPO."""
    rollouts = _own_rollouts(config)
    micro = min(config.micro_batch, rollouts)
    decoupled = config.aggregation == "decoupled"
    return GRPOConfig(
        **trainer_arguments(folder / "checkpoints", seed, tracking),
        max_steps=config.max_steps,
        # shuffled already: TRL's sampler forgets its order when a run of several epochs resumes
        shuffle_dataset=False,
        learning_rate=config.learning_rate,
        adam_epsilon=config.adam_epsilon,
        warmup_steps=warmup_steps(config.max_steps, config.warmup_ratio, config.warmup_steps),
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=rollouts // micro,
        num_generations=config.num_generations,
        max_completion_length=generation.max_new_tokens,
        temperature=generation.temperature or 1.0,  # greedy groups would be all alike
        top_p=1.0,  # the sampled distribution must be the one the log-probabilities describe
        beta=config.beta,
        # the KL's estimate weighed by the ratio, so that its gradient is that of the KL (arXiv 2512.02556)
        use_bias_correction_kl=True,
        # token-level mean (arXiv 2503.14476), TRL's default and our choice; the paper does not say
        loss_type="dapo",
        scale_rewards="group",
        # LoRA's: rollouts and loss must be of one policy
        disable_dropout=True,
        multi_objective_aggregation="normalize_then_sum" if decoupled else "sum_then_normalize",
        mask_truncated_completions=False,
        **vllm.arguments(config),
        logging_steps=1,
        save_steps=config.checkpoint_steps,
        model_init_kwargs=None,
    )


def _own_rollouts(config: GRPOStageConfig) -> int:
    """A step's completions, one process' part of them."""
    batch = config.prompts_per_step * config.num_generations
    return processes.share(batch, "grpo.prompts_per_step × grpo.num_generations")


def rewards_of(
    reward: AnswerReward | Callable[..., list[float]],
    items: list[Item],
    config: GRPOStageConfig,
    *,
    chain: bool,
) -> list[Callable[..., list[float]]]:
    """What a completion is paid for, each in TRL's signature and named as the log names it: ``r_format``,
    ``r_answer``, and ``r_chain``, which knows the labels of ``items`` alone."""
    if not chain:
        return [_as_function(reward, chain)]
    further = [ChainReward.of(items).as_function()] if config.chain_reward else []
    return [r_format, _as_function(reward, chain), *further]


def _as_function(
    reward: AnswerReward | Callable[..., list[float]], chain: bool
) -> Callable[..., list[float]]:
    if isinstance(reward, AnswerReward):
        return reward.as_function(tagged=chain)

    @functools.wraps(reward)
    def r_answer(*args, **columns):
        return reward(*args, **columns)

    r_answer.__name__ = "r_answer"  # TRL names the log's columns after it
    return r_answer


def prompts_of(
    items: list[Item],
    tokenizer: PreTrainedTokenizerBase,
    count: int,
    seed: int,
    prompt: Callable[[PreTrainedTokenizerBase, str], str] = coe_prompt,
) -> Dataset:
    """``count`` posts as GRPO's dataset, columns ``prompt`` and ``question``: every post once, shuffled,
    before any twice."""
    rng, order = generator(seed, "grpo prompts"), []
    while len(order) < count:
        order += rng.permutation(len(items)).tolist()
    drawn = [items[index] for index in order[:count]]
    return Dataset.from_list(
        [{"prompt": prompt(tokenizer, i.question), "question": i.question} for i in drawn]
    )


def group_advantages(rewards: np.ndarray) -> np.ndarray:
    """GRPO's advantages: rewards of shape ``(groups, completions)`` minus the group's mean, over its standard
    deviation.

    A group whose completions all earn the same has zero advantage everywhere: it teaches nothing.
    """
    centred = rewards - rewards.mean(axis=1, keepdims=True)
    return centred / (rewards.std(axis=1, ddof=1, keepdims=True) + 1e-4)
