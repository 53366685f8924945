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
    texts = [coe.render(chain, "好好"), "好"]  # the second has no <answer>
    assert reward.__name__ == "r_answer"
    assert reward(completions=texts, question=["q", "q"], prompts=None) == [1.0, 0.0]
    assert paid.r_format(texts, prompts=None) == [1.0, 0.0]


def test_a_completion_without_an_answer_earns_nothing():
    texts = ["好好", "<empathy_think><L1>好</L1>", "<answer>。</answer>", "<answer>好好"]
    for kind in ("threshold", "smooth"):
        reward = paid.AnswerReward(FakeJudge(), kind).as_function()
        assert reward(completions=texts, question=["q"] * 4) == [0.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize("layer", ["\u200b", "。", " \u3164 "])
def test_a_layer_without_a_word_earns_no_format_reward(layer):
    text = coe.render(coe.ChainOfEmpathy(L1="a", L2="b", L3="c", L4="d"), "e")
    assert paid.r_format([text, text.replace("<L3>c", f"<L3>{layer}")]) == [1.0, 0.0]


def test_where_no_chain_is_asked_for_the_whole_text_is_the_answer():
    reward = paid.AnswerReward(FakeJudge(), "smooth").as_function(tagged=False)
    assert reward(completions=["好", "坏"], question=["q", "q"]) == [1.0, 0.0]
