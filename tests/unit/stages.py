"""A few steps of each training stage on the tiny model, and what their tests share."""

import numpy as np
from transformers import TrainerCallback

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
