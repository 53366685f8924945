"""What GRPO pays for, against a fake judge."""

import pytest
from stages import FakeJudge

from empathy_lib.core import coe
from empathy_lib.reward import paid


@pytest.mark.parametrize(
    ("kind", "guard", "mask", "answer", "expected"),
    [
        ("threshold", 1.0, False, "好好好", 1.0),
        ("threshold", 1.0, False, "好坏坏", 0.0),
        ("smooth", 1.0, False, "好坏", 0.5),
        ("threshold", 0.1, False, "好" * 9, 0.0),  # copied, guarded
        ("threshold", 1.0, True, "好" * 9, 0.0),  # copied, masked: nothing is left to score
        ("threshold", 1.0, False, "好" * 9, 1.0),
    ],
)
def test_answer_reward(kind, guard, mask, answer, expected):
    reward = paid.AnswerReward(FakeJudge(), kind, guard, mask)
    assert reward.rate(["好" * 12], [answer])[0] == pytest.approx(expected)


def test_rewards_in_trl_signature():
    reward = paid.AnswerReward(FakeJudge()).as_function()
    chain = coe.ChainOfEmpathy(L1="a", L2="b", L3="c", L4="d")
    texts = [coe.render(chain, "好好"), "坏"]
    assert reward.__name__ == "r_answer"
    assert reward(completions=texts, question=["q", "q"], prompts=None) == [1.0, 0.0]
    assert paid.r_format(texts, prompts=None) == [1.0, 0.0]
