"""Each text rule mends what it names, leaves honest text alone, and has nothing left to do on its own
output."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from empathy_lib.core.config import DatasetConfig
from empathy_lib.core.errors import UserError
from empathy_lib.core.schema import Answer, Item
from empathy_lib.dataset.cleaning import SWITCHABLE, clean
from empathy_lib.dataset.text_rules import TEXT_RULES, is_chinese

MENDED = [
    ("reasoning blocks", "<think>我先想想他要什么。</think>\n你的感受我听到了。", "你的感受我听到了。"),
    ("reasoning blocks", "<THINKING mode='x'>一<think>二</think>三</Thinking>好的。", "好的。"),
    ("reasoning blocks", "先分析一下。</reasoning>好的。", "好的。"),  # the prompt held the beginning
    ("reasoning blocks", "好的。<reasoning>他也许会", "好的。"),  # cut off within the thought
    ("reasoning blocks", "&lt;think&gt;想&lt;/think&gt;好的。＜thought＞想＜/thought＞", "好的。"),
    ("markup", "<a href='https://x.example/?a=1&b=2' target=_blank>看</a><!-- 注 -->这里<hr />", "看这里"),
    ("markup", "<!DOCTYPE html><input disabled>好", "好"),
    ("markup", "<p>我很难过。</p><p>怎么办&hellip;</p>", "我很难过。\n怎么办…\n"),
    ("markup", "第一行<br/>第二行&nbsp;<b>重</b><script>alert(1)</script>", "第一行\n第二行 重"),
    ("markup", "<answer>别难过</answer>", "别难过"),
    ("markup", "分数 &lt; 60，妈妈说 a&amp;b", "分数 < 60，妈妈说 a&b"),
    ("invisible characters", "我\u200b很\ufeff累\x07\r\n真的", "我很累\n真的"),
    ("full-width letters", "我在Ａ班，考了９５分\u3000，真的！", "我在A班，考了95分 ，真的！"),
    ("traditional characters", "我覺得壓力很大，回到家裡也睡不著。", "我觉得压力很大，回到家里也睡不着。"),
    ("repeated characters", "哈哈哈哈哈哈哈好累啊啊啊啊啊！！！！！！", "哈哈哈好累啊啊啊！！！"),
    ("repeated characters", "我不知道.............…………………", "我不知道......……"),
    ("boilerplate", "你已经很努力了。以上回答仅供参考。", "你已经很努力了。"),
    ("boilerplate", "本文首发于某平台，作者小林。\n你已经很努力了。未经授权请勿转载。", "\n你已经很努力了。"),
    ("boilerplate", "先睡一觉吧。如果我的回答对你有帮助，请采纳！", "先睡一觉吧。"),
    ("boilerplate", "先睡一觉吧。\n编辑于 2021-03-04 10:22", "先睡一觉吧。\n"),
    ("boilerplate", "先睡一觉吧。发自我的iPhone", "先睡一觉吧。"),
    ("white space", "  我   很累\n\n\n\n 真的 \t ", "我 很累\n\n真的"),
]
KEPT = [
    ("reasoning blocks", "I think <3，他说“thinking”这个词，<thinker>也是。"),
    ("markup", "A<B，而且休息C>D"),
    ("markup", "若a<b and c>d，则x<y 且 z>w；我把<!--写错了"),
    ("markup", "他说1<2，我说3>2，a<b。"),
    ("markup", "我和他<那段时间>没有联系，R&D部门很忙。"),
    ("invisible characters", "一家人👨‍👩‍👧都在\t这里\n"),
    ("full-width letters", "“真的吗？”我问，（没有人回答）……"),
    ("traditional characters", "日子真难捱，我只能瞭望远方。"),
    ("repeated characters", "欠了100000元，哈哈哈，等等等等，……"),
    ("boilerplate", "这份清单可以给你参考，对你也许有帮助。我把文章发给了他，他没有转载。"),
    ("boilerplate", "如果有用，下周我们再谈；你回答于心有愧，我能懂。"),
    ("white space", "第一段\n\n第二段"),
]


@pytest.mark.parametrize(("rule", "text", "mended"), MENDED)
def test_each_rule_mends_what_it_names(rule, text, mended):
    assert TEXT_RULES[rule](text) == mended


@pytest.mark.parametrize(("rule", "text"), KEPT)
def test_honest_text_is_left_alone(rule, text):
    assert TEXT_RULES[rule](text) == text


def test_every_rule_has_a_case():
    assert {rule for rule, *_ in MENDED} == set(TEXT_RULES)


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("我很难过哈！…. \n\u3000Ａ９<b>/&lt;壓裡\u200b以上仅供参考。"), max_size=40))
def test_a_second_pass_changes_nothing(text):
    for name, rule in TEXT_RULES.items():
        if name != "markup":  # an escaped tag becomes one, once: &lt;b&gt; is what somebody wrote about HTML
            assert rule(rule(text)) == rule(text), name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("我很难过，不知道怎么办", True),
        ("我的 GPA 掉到了 2.8，导师说 no", True),
        ("I feel lonely and nobody listens 好吗", False),
        ("とても悲しいです", False),
        ("너무 힘들어요", False),
        ("……！！", False),
        ("", False),
    ],
)
def test_language(text, expected):
    assert is_chinese(text) is expected


ANSWER = "听到你这样说，我能感到你这段时间真的很不容易，也谢谢你愿意写下来。"


def item(key, question, *answers):
    return Item(id=key, question=question, answers=[Answer(text=text) for text in answers])


def test_changes_and_foreign_texts_are_counted_and_nothing_else_is_lost():
    raw = [
        item(
            "a",
            "<p>我覺得壓力很大，回到家裡也睡不著。</p>",
            ANSWER,
            "Just relax and take a deep breath, it will be fine, I promise.",
        ),
        item("b", "Why does nobody like me?", ANSWER, ANSWER + "真的"),
        item("c", "和室友吵了一架，到现在都没有说话。", "ＡＢ" + ANSWER + "以上仅供参考。"),
    ]
    kept, funnel = clean(raw, DatasetConfig(min_answer_chars=10))
    assert funnel.changed == {
        "reasoning blocks": 0,
        "markup": 1,
        "invisible characters": 0,
        "full-width letters": 1,
        "traditional characters": 1,
        "repeated characters": 0,
        "boilerplate": 1,
        "white space": 1,  # the line feed of </p>
    }
    foreign = funnel.frame().set_index("rule").loc["not Chinese"]
    assert (foreign["answers_removed"], foreign["questions_removed"]) == (3, 1)
    assert set(funnel.removed_answers.values()) == {"not Chinese"} and len(funnel.removed_answers) == 3
    assert [i.question for i in kept] == [
        "我觉得压力很大，回到家里也睡不着。",
        "和室友吵了一架，到现在都没有说话。",
    ]
    assert kept[1].references == ["AB" + ANSWER]
    assert raw[0].question.startswith("<p>")  # the input is as it was


def test_reasoning_is_cut_from_answers_alone():
    post = "模型总是写出<think>这样的标签，我看着很烦，不知道该怎么办。"
    kept, funnel = clean(
        [item("a", post, f"<think>先共情。</think>{ANSWER}")], DatasetConfig(min_answer_chars=10)
    )
    assert kept[0].references == [ANSWER] and "烦，不知道该怎么办。" in kept[0].question
    assert funnel.changed["reasoning blocks"] == 1


@pytest.mark.parametrize("rule", SWITCHABLE)
def test_every_rule_can_be_switched_off(rule):
    raw = [
        item(
            "a",
            "<b>我覺得壓力很大</b>，\u200b回家也睡不著，Ａ班  怎么办！！！！！！",
            ANSWER,
            "",
            "短",
            "加我微信 xinli2024 详聊吧。" + ANSWER,
            "<think>他很难过。</think>" + ANSWER + "慢慢来。",
        ),
        item(
            "b",
            "我很难过，整晚都睡不着，明天还要上班，不知道怎么办才好。",
            ANSWER + "仅供参考。",
            ANSWER,
            "Take it easy, this will pass.",
        ),
        item(
            "c",
            "我很难过，整晚都睡不着，明天还要上班，不知道怎么办才好！",
            "先照顾好自己，别的事情都可以等一等。",
        ),
        item(
            "d",
            "我很难过，整晚都睡不着，明天还要上班，不知道怎么办才好呢。",
            "先照顾好自己，别的事情都可以放一放。",
        ),
    ]

    def effect(off):
        _, funnel = clean(raw, DatasetConfig(min_answer_chars=10, rules_off=off))
        removed = {row["rule"]: row["answers_removed"] + row["questions_removed"] for row in funnel.rows}
        return funnel.changed | removed

    assert effect([])[rule] > 0
    assert effect([rule])[rule] == 0


def test_an_unknown_rule_is_named():
    with pytest.raises(UserError, match=r"dataset.rules_off: no rule 'htlm'; use any of: reasoning blocks"):
        clean([item("a", "怎么办", ANSWER)], DatasetConfig(rules_off=["htlm"]))
