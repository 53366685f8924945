"""GRPO's controls: best of n by the reward, SFT trained on; and the KL of a completion."""

import numpy as np
import pytest
from stages import FakeJudge

from empathy_lib import grpo
from empathy_lib.core.config import load_profile
from empathy_lib.core.statistics import PairedTest
from empathy_lib.grpo import figures
from empathy_lib.reward import paid


def test_best_of_n_takes_what_the_reward_marks_highest_and_no_copy():
    post = "好" * 12
    samples = [
        ["<answer>好坏</answer>", "<answer>坏</answer>"],
        ["<answer>好好坏</answer>", "<answer>坏坏</answer>"],
    ]
    samples.append([f"<answer>{post}</answer>", "<answer>好</answer>"])
    chosen, draws = grpo.best_of_n(
        [post, "别的帖子"], samples, paid.AnswerReward(FakeJudge(), copy_guard=0.1)
    )
    assert draws.tolist() == [1, 2] and chosen == [samples[1][0], samples[2][1]]


class Short(paid.AnswerReward):
    def rate(self, questions, answers):
        return [float(len(answer) < 3) for answer in answers]


def test_a_readers_reward_chooses_by_what_it_pays_and_stays_itself_where_a_comparison_changes_it():
    draws = [["<answer>好好好</answer>"], ["<answer>坏</answer>"], ["<answer>好</answer>"]]
    reward = Short(FakeJudge(), "threshold", 0.5)
    assert grpo.best_of_n(["帖子"], draws, reward)[1].tolist() == [2]
    smooth = reward.changed_to(grpo.comparison(load_profile("smoke").grpo, "smooth"))
    assert type(smooth) is Short and (smooth.kind, smooth.copy_guard) == ("smooth", 0.5)
    assert reward.kind == "threshold"


def test_best_of_2_takes_every_pair_of_draws():
    draws = [[f"<answer>{text}</answer>"] for text in ("坏坏", "好坏", "好好")]
    chosen = grpo.best_of_2(["帖子"], draws, paid.AnswerReward(FakeJudge()))
    assert chosen == [draws[1][0], draws[2][0], draws[2][0]]


def test_a_gain_that_only_the_reward_sees_is_named():
    def gain(low, high):
        return PairedTest((low + high) / 2, low, high, 0.5, 9)

    clear, none, lost, missing = gain(0.1, 0.3), gain(-0.1, 0.1), gain(-0.3, -0.1), gain(np.nan, np.nan)
    assert grpo.who_sees(none, {"A": clear}) == "the reward itself sees no clear gain, though A does"
    assert (
        grpo.who_sees(none, {"A": none}) == "the reward itself sees no clear gain, nor does any other judge"
    )
    assert grpo.who_sees(missing, {"A": clear}).startswith("the reward itself sees no clear gain")
    assert grpo.who_sees(clear, {"A": clear, "B": clear}) == "the gain is clear to A and B"
    assert grpo.who_sees(clear, {"A": clear, "B": none}) == "the gain is clear to A; not to B"
    assert grpo.who_sees(clear, {"A": lost, "B": none}) == "ONLY THE REWARD SEES THIS GAIN; not to A or B"
    assert grpo.who_sees(clear, {"A": clear, "B": missing}) == "the gain is clear to A; not available: B"


def test_more_sft_costs_what_grpo_costs():
    profile = load_profile(
        "smoke"
    )  # 2 steps of 1 post × 4 completions, 5 passes each; SFT: batches of 4, 3 passes
    assert grpo.more_sft_steps(profile) == 4  # 8 · 5/3 = 13.3 sequences
    assert (
        grpo.more_sft_steps(load_profile("smoke", {"grpo.max_steps": 6, "sft.gradient_accumulation": 2})) == 5
    )


def test_sft_is_trained_on_from_its_policy(base, items, tmp_path):
    profile = load_profile("smoke", {"base_model.max_length": 400})
    log = grpo.train_more_sft(base, items, items[:2], tmp_path, profile, np.random.default_rng(0))
    assert max(record["step"] for record in log) == grpo.more_sft_steps(profile)
    assert (tmp_path / "policy" / "done").is_file()


def test_kl_of_a_completion_is_that_of_a_token_times_the_length():
    log = [{"step": 1, "reward": 1.0, "kl": 0.2, "completions/mean_length": 150.0}]
    assert figures.steps_of(log)["kl_completion"].tolist() == pytest.approx([30])
    del log[0]["kl"]  # grpo.beta is 0
    assert figures.steps_of(log)[["kl", "kl_completion"]].isna().all(axis=None)
