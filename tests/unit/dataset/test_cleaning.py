"""Each rule removes what it names and nothing else; the funnel adds up; planted noise is marked fairly."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from empathy_lib.core.config import DatasetConfig
from empathy_lib.core.errors import UserError
from empathy_lib.core.schema import Answer, Item
from empathy_lib.core.text import visible_length
from empathy_lib.dataset.cleaning import RULES, Funnel, clean, is_advertisement, planted_noise_report

CONFIG = DatasetConfig(min_answer_chars=10)
LONG = "听到你这样说，我能感到你这段时间真的很不容易，也谢谢你愿意写下来。"


def item(key: str, question: str, *answers: str | Answer, noise: str = "") -> Item:
    texts = [a if isinstance(a, Answer) else Answer(text=a) for a in answers]
    return Item(id=key, question=question, answers=texts, noise=noise)


ADVERTISEMENTS = [
    "你的情况我遇到过很多，加我微信 xinli2024 详细聊聊吧。",
    "想走出来可以加薇信：happy_8899，备注论坛。",
    "我这里有全套情绪课程，原价599，现在限时优惠，名额不多。",
    "扫描下方二维码，免费领取测评一份。",
    "专业挽回感情，成功案例上千，需要的私信我。",
    "推荐你看这个 https://example.com/abc 很有用",
    "失眠就用这款产品，三天见效，今天下单半价。",
    "有需要请拨 13812345678 找王老师。",
    "关注我们的公众号，每天一篇心理文章。",
    "点击链接报名训练营，前五十名免费体验。",
]
HONEST = [
    "你可以预约一位心理咨询师，和他一对一地谈谈这些感受。",
    "如果撑不住，请拨打心理援助热线 12356，或者告诉你信任的人。",
    "报名一门你喜欢的课程，认识一些新的朋友，也是一种办法。",
    "他在微信上不回你，并不一定说明他不在乎你。",
    "医院的心理科是可靠的机构，早点去看看，会有人帮你。",
    "每个人都有独特价值，课程成绩说明不了全部。",
    "我保证你不是一个人，很多人都有过这样的时候。",
    "挽回一段关系之前，先想想你自己需要什么。",
    "每天花十分钟写下三件顺利的小事，一周以后再回头看。",
    "你花了三千块买东西之后很后悔，这种心情我能理解。",
]


@pytest.mark.parametrize("text", ADVERTISEMENTS)
def test_advertisements_are_found(text):
    assert is_advertisement(text)


@pytest.mark.parametrize("text", HONEST)
def test_honest_replies_are_kept(text):
    assert not is_advertisement(text)


def test_length_counts_no_white_space():
    assert visible_length(" 一 二\n三\u3000 ") == 3


def test_each_rule_counts_what_it_removes():
    raw = [
        item(
            "a",
            "我最近总是睡不好，白天也没有精神，不知道该怎么办才好。",
            LONG,
            "   ",
            ADVERTISEMENTS[0],
            "加油",
            LONG + "！",
        ),
        item(
            "b",
            "我最近总是睡不好，白天也没有精神，不知道该怎么办才好！",
            "换一个角度看，也许这不是你的错，先好好休息。",
        ),
        item("c", "我最近总是睡不好，白天也没有精神，不知道该怎么办才好呢。", LONG),
        item("d", "和室友吵了一架，到现在都没有说话，心里很难受。", "抱抱"),
    ]
    kept, funnel = clean(raw, CONFIG)
    removed = {row["rule"]: (row["answers_removed"], row["questions_removed"]) for row in funnel.rows}
    assert removed == {
        "empty answer": (1, 0),
        "not Chinese": (0, 0),
        "advertisement": (1, 0),
        "short answer": (2, 0),
        "exact duplicate question": (0, 1),
        "near-duplicate question": (0, 1),
        "duplicate answer": (2, 0),
        "question without answer": (0, 1),
    }
    assert [i.id for i in kept] == ["a"]
    assert kept[0].references == [LONG, "换一个角度看，也许这不是你的错，先好好休息。"]
    assert funnel.merged == {"b": "a", "c": "a"}
    assert len(raw[0].answers) == 5  # the input is as it was


def test_min_answer_chars_is_the_first_length_kept():
    kept, _ = clean([item("a", "怎么办", "慢慢来你已经很努力了", "慢慢来你已经很努力")], CONFIG)
    assert kept[0].references == ["慢慢来你已经很努力了"]


def test_nothing_left_names_the_rule_and_the_remedy():
    with pytest.raises(UserError, match=r"short answer.*min_answer_chars"):
        clean([item("a", "怎么办", "加油")], CONFIG)


def test_equal_ids_are_refused():
    with pytest.raises(UserError, match="'id'"):
        clean([item("a", "问题一", LONG), item("a", "问题二", LONG)], CONFIG)


QUESTIONS = st.text("我你他很难过害怕工作妈妈，。", min_size=1, max_size=30).filter(str.strip)
ANSWERS = st.one_of(
    st.text("好的加油难过慢慢来，。 ", max_size=25), st.sampled_from([LONG, *ADVERTISEMENTS, *HONEST])
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(QUESTIONS, st.lists(ANSWERS, max_size=5)), min_size=1, max_size=10))
def test_funnel_adds_up_and_a_second_pass_changes_nothing(records):
    raw = [item("first", "第一个问题在这里，它有一个够长的回答。", LONG)]
    raw += [item(str(n), question, *answers) for n, (question, answers) in enumerate(records)]
    kept, funnel = clean(raw, CONFIG)
    frame = funnel.frame()
    assert tuple(frame["rule"]) == RULES
    for what in ("answers", "questions"):
        assert (frame[f"{what}_before"] - frame[f"{what}_removed"] == frame[f"{what}_after"]).all()
        assert (
            frame[f"{what}_after"].iloc[:-1].to_numpy() == frame[f"{what}_before"].iloc[1:].to_numpy()
        ).all()
    assert frame["answers_after"].iloc[-1] == sum(len(i.answers) for i in kept)
    assert len(funnel.removed_answers) == frame["answers_removed"].sum()
    again, second = clean(kept, CONFIG)
    assert again == kept
    assert second.frame()[["answers_removed", "questions_removed"]].to_numpy().sum() == 0


def test_planted_noise_is_scored_per_kind():
    advert, short = Answer(text=ADVERTISEMENTS[0], noise="advertisement"), Answer(text="加油", noise="short")
    missed = Answer(text="这是一条规则认不出来的软文，读起来和回答一样。", noise="advertisement")
    raw = [
        item(
            "a", "我最近总是睡不好，白天也没有精神，不知道该怎么办。", LONG, advert, short, missed, "抱抱你"
        ),
        item("b", "我最近总是睡不好，白天也没有精神，不知道该怎么办！", LONG, noise="duplicate"),
        item("c", "和室友吵了一架，到现在都没有说话，心里很难受。", LONG),
    ]
    _, funnel = clean(raw, CONFIG)
    report = planted_noise_report(raw, funnel).set_index("kind")
    assert report.loc["advertisement", ["planted", "removed", "hits", "precision", "recall"]].tolist() == [
        2,
        1,
        1,
        1.0,
        0.5,
    ]
    assert report.loc["short", ["planted", "removed", "hits", "precision", "recall"]].tolist() == [
        1,
        2,
        1,
        0.5,
        1.0,
    ]
    assert report.loc["duplicate", ["planted", "removed", "hits"]].tolist() == [1, 1, 1]
    assert report.loc["advertisement", "f1"] == pytest.approx(2 / 3)


def test_a_duplicate_that_comes_first_is_no_mistake():
    raw = [
        item("copy", "同一个问题在这里", LONG, noise="duplicate"),
        item("original", "同一个问题在这里。", LONG),
    ]
    _, funnel = clean(raw, CONFIG)
    row = planted_noise_report(raw, funnel).set_index("kind").loc["duplicate"]
    assert (row["precision"], row["recall"]) == (1.0, 1.0)


def test_real_data_has_no_noise_report_and_no_planted_kind_is_nan():
    assert planted_noise_report([item("a", "怎么办", LONG)], Funnel()) is None
    raw = [item("a", "怎么办", LONG, Answer(text="加油", noise="short"))]
    _, funnel = clean(raw, CONFIG)
    assert math.isnan(planted_noise_report(raw, funnel).set_index("kind").loc["advertisement", "recall"])
