"""A few steps of each training stage on the tiny model, and what their tests share."""

import os
import signal
from contextlib import contextmanager
from unittest import mock

import numpy as np
import torch
from torch import distributed
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, TrainerCallback

from empathy_lib.core.config import (
    BaseModelConfig,
    GenerationConfig,
    GRPOStageConfig,
    RewardConfig,
    SFTStageConfig,
)
from empathy_lib.grpo import train as grpo
from empathy_lib.models import base as base_models
from empathy_lib.reward import paid, triplets
from empathy_lib.reward import train as reward_model
from empathy_lib.sft import train as sft

MODEL = BaseModelConfig(max_length=400)


def weights(folder):
    return {name: p.detach().float() for name, p in base_models.load_policy(folder)[0].named_parameters()}


class Kill(TrainerCallback):
    """Stops a trainer as a kill would: by an exception after some step, nothing saved beyond the last
    checkpoint."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 5:
            raise KeyboardInterrupt


@contextmanager
def second_process_dies(stage, step):
    """Trainings of ``stage`` in which the second process is killed at the end of this step."""

    class Killed(stage.SaveByTime):
        def on_step_end(self, args, state, control, **kwargs):
            super().on_step_end(args, state, control, **kwargs)
            if distributed.get_rank() == 1 and state.global_step == step:
                os.kill(os.getpid(), signal.SIGKILL)

    with mock.patch.object(stage, "SaveByTime", Killed):
        yield


def tiny_gemma(folder, tokenizer, **sizes):
    """A random Gemma 3 of two layers in the hub's layout: config.json, safetensors, tokenizer.json."""
    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=len(tokenizer),
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **sizes,
    )
    Gemma3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def lengths_paid(completions, **_):
    """A reward that varies within a group."""
    return [float(len(text) % 7) for text in completions]


class FakeJudge:
    """Scores an answer by its share of the character 好."""

    threshold = 0.5

    def score(self, questions, answers):
        return np.array([a.count("好") / len(a) if a else -1.0 for a in answers])


def run_sft(base, items, pairs, folder):
    config = SFTStageConfig(batch_size=2, max_steps=7, learning_rate=1e-3, checkpoint_steps=2)
    return sft.train_sft(base, pairs, pairs[:2], folder, config, MODEL, seed=1)


def run_reward(base, items, pairs, folder):
    config = RewardConfig(max_triplets=12, batch_size=4, max_steps=7, learning_rate=1e-3, checkpoint_steps=2)
    drawn = triplets.build_triplets(items, config, np.random.default_rng(0))
    return reward_model.train_reward(base, drawn, drawn[:4], folder, config, seed=1)


def run_grpo(base, items, pairs, folder):
    config = GRPOStageConfig(
        max_steps=7,
        prompts_per_step=2,
        num_generations=2,
        micro_batch=2,
        learning_rate=1e-3,
        checkpoint_steps=2,
    )
    reward = paid.AnswerReward(FakeJudge(), "smooth")
    return grpo.train_grpo(base, items, reward, folder, config, GenerationConfig(max_new_tokens=8), seed=1)
