import math

import pytest

from empathy_lib.core.coe import ChainOfEmpathy, render
from empathy_lib.reward.grounding import cause_grounding, emotion_grounding, grounding

POST = "最近总是失眠，我很焦虑，怕期末考试考砸了，爸妈对我期望很高。该怎么办？"


def chain(l1="来访者感到焦虑。", l2="担心期末考试考砸，爸妈期望很高。") -> str:
    return render(ChainOfEmpathy(L1=l1, L2=l2, L3="希望得到建议", L4="先安慰"), "慢慢来。")


def test_each_named_emotion_is_looked_for_in_the_post():
    assert emotion_grounding("来访者感到焦虑。", POST) == 1.0
    assert emotion_grounding("来访者既焦虑又愤怒。", POST) == 0.5
    assert emotion_grounding("来访者感到愤怒。", POST) == 0.0
    assert emotion_grounding("来访者感到焦虑。", "我总是担心，压力很大。") == 1.0, (
        "an everyday word of the emotion is enough"
    )
    assert math.isnan(emotion_grounding("来访者没有直接说出情绪。", POST))


def test_the_cause_shares_words_with_the_post_or_not():
    assert cause_grounding("担心期末考试考砸，爸妈期望很高。", POST) == 1.0
    assert cause_grounding("因为异地恋而长期缺少陪伴。", POST) == 0.0
    assert math.isnan(cause_grounding("……", POST))


@pytest.mark.parametrize(
    ("completion", "post", "expected"),
    [
        (chain(), POST, (1.0, 1.0)),
        (chain(l2="长期缺少陪伴。"), POST, (1.0, 0.0)),
        (chain().replace("</L4>", ""), POST, (0.0, 0.0)),
        ("慢慢来。", POST, (0.0, 0.0)),
        (chain(), "", (math.nan, math.nan)),
    ],
)
def test_a_broken_chain_is_not_grounded_and_without_a_post_nothing_is_said(completion, post, expected):
    assert tuple(grounding(completion, post).values()) == pytest.approx(expected, nan_ok=True)
