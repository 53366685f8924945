import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU

from empathy_lib.core.quality import distinct, loops, refuses, repetition, self_bleu
from empathy_lib.core.run import generator
from empathy_lib.core.statistics import jackknife


def test_distinct_by_hand_and_its_interval_holds_the_value():
    score = distinct(["甲乙甲", "甲丙"], 1, "char")
    assert score.value == pytest.approx(3 / 5)
    assert distinct(["甲乙甲", "甲丙"], 2, "char").value == 1.0  # 甲乙 乙甲 甲丙
    assert distinct(["甲乙甲乙甲", "甲丙"], 3, "char").value == pytest.approx(2 / 3)  # 甲乙甲 乙甲乙 甲乙甲
    rng = generator(1, "text")
    texts = ["".join(rng.choice(list("甲乙丙丁戊己庚辛"), 12)) for _ in range(30)]
    score = distinct(texts, 2, "char")
    assert score.low <= score.value <= score.high and 0 < score.high - score.low < 0.2
    assert math.isnan(distinct(["", ""], 1).value)


def zipf_texts(rng: np.random.Generator, count: int, length: int) -> list[str]:
    vocabulary = [chr(0x4E00 + k) for k in range(400)]
    weights = 1 / np.arange(1, 401)
    return ["".join(rng.choice(vocabulary, length, p=weights / weights.sum())) for _ in range(count)]


def test_distinct_interval_covers_the_expected_value_of_such_corpora():
    rng = generator(2, "zipf")
    scores = [distinct(zipf_texts(rng, 25, 20), 1, "char") for _ in range(150)]
    expected = np.mean([score.value for score in scores])
    assert np.mean([score.low <= expected <= score.high for score in scores]) >= 0.88


def sacrebleus(texts: list[str]) -> float:
    bleu = BLEU(tokenize="zh", effective_order=True)
    return float(
        np.mean(
            [
                bleu.sentence_score(text, texts[:place] + texts[place + 1 :]).score
                for place, text in enumerate(texts)
            ]
        )
    )


@settings(deadline=None)
@given(st.lists(st.text("甲乙丙丁，a1 ", max_size=12), min_size=3, max_size=6))
def test_self_bleu_and_its_jackknife_are_sacrebleus(texts):
    score = self_bleu(texts)
    left_out = np.array([sacrebleus(texts[:gone] + texts[gone + 1 :]) for gone in range(len(texts))])
    by_library = jackknife(sacrebleus(texts), left_out)
    assert score.value == pytest.approx(by_library.value)
    assert (score.low, score.high) == pytest.approx((max(by_library.low, 0), min(by_library.high, 100)))


def test_self_bleu_of_equal_and_of_unlike_texts():
    assert self_bleu(["慢慢来，别着急。"] * 3).value == pytest.approx(100)
    assert self_bleu(["甲乙丙丁", "子丑寅卯", "金木水火"]).value == 0.0
    two = self_bleu(["甲乙丙丁戊", "甲乙丙丁己"])
    assert two.value == pytest.approx(sacrebleus(["甲乙丙丁戊", "甲乙丙丁己"])) and math.isnan(two.low)
    assert math.isnan(self_bleu(["一个"]).value)


def test_self_bleu_interval_covers_the_expected_value_of_such_corpora():
    rng = generator(3, "self-bleu")
    scores = [self_bleu(zipf_texts(rng, 20, 15)) for _ in range(100)]
    expected = np.mean([score.value for score in scores])
    assert np.mean([score.low <= expected <= score.high for score in scores]) >= 0.88


def test_repetition_by_hand():
    # 甲乙丙丁 乙丙丁甲 丙丁甲乙 丁甲乙丙 甲乙丙丁
    assert repetition("甲乙丙丁甲乙丙丁", "char") == pytest.approx(1 / 5)
    assert repetition("甲乙丙丁，甲！乙丙丁", "char") == pytest.approx(1 / 5), "punctuation is no token"
    assert repetition("哈哈哈哈哈哈", "char") == pytest.approx(2 / 3)
    assert repetition("好", "char") == repetition("", "word") == 0.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("我一直想逃跑，我一直想哭。" * 3, True),
        ("一。" + "".join(f"{n}.就想干的就干的\n" for n in range(5)), True),
        ("先说事。" + "我一直想哭" * 2 + "，后来好了。", False),
        ("慢慢来，慢慢来，慢慢来，会好的。", False),  # three letters: emphasis, no loop
        ("", False),
    ],
)
def test_a_loop_is_three_times_the_same_back_to_back(text, expected):
    assert loops(text) is expected


@pytest.mark.parametrize(
    "text",
    [
        "很抱歉，我无法提供心理咨询服务。",
        "对不起，不能帮助你。",
        "作为一个人工智能语言模型，我没有感情。",
        "作为AI，我建议你就医。",
        "我是一名智能助手，请问有什么可以帮您？",
        "这个问题我暂时没办法直接回答您。",
        "您的问题超出了我的能力范围。",
    ],
)
def test_refusals(text):
    assert refuses(text)


@pytest.mark.parametrize(
    "text",
    [
        "我没有办法替你做决定，但愿意陪你理一理。",
        "抱歉让你等了这么久，听起来你很累。",
        "对不起，我不能想象你有多难过。",
        "如果睡不着超过两周，请咨询专业人士。",
        "作为一个妈妈，你已经做得很好。",
        "你说“我无法面对他”，这句话里有很多委屈。",
        "",
    ],
)
def test_kind_words_are_no_refusal(text):
    assert not refuses(text)
