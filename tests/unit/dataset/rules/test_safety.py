"""Danger is seen where a post speaks of it, and not where an idiom or a denial only sounds so; its chain
opens with safety. All posts are written for this test."""

import re

import pytest

from empathy_lib.core.helplines import CRISIS_LINE
from empathy_lib.dataset.rules import safety
from empathy_lib.dataset.rules.chain import default_rules
from empathy_lib.dataset.rules.clauses import clauses
from empathy_lib.dataset.teacher import _HUMAN_HELP

SELF = [
    "最近总觉得活着没有意义，不知道为什么还要撑。",
    "我真的不想活了。",
    "昨晚我用美工刀划自己的手臂，划完才睡得着。",
    "有时候我想死，又怕妈妈难过。",
    "我没有勇气自杀，只好每天混着。",
    "我不是没想过自杀。",
    "医生问我有没有想过自杀，我没回答。",
    "要是我死了就好了，谁也不用再为我花钱。",
    "好想从这个世界消失。",
    "我连遗书都写好了。",
    "站在楼顶的时候，我想跳楼。",
    "我又开始自残了，手上都是印子。",
    "我吃了好多药，还是睡不着。",
    "每天都在想怎么结束自己的生命。",
    "活着真累，一了百了算了。",
    "爸爸去世以后我也不想活。",
    "考不好我就去死。",
    "希望自己能在睡梦里死掉。",
    "我恨不得死了才清静。",
    "我特别想死。",
    "跟他吵完架我吞了大量的药。",
    "我幻想过自己死后家人的反应。",
    "有时想离开这个世界。",
    "我已经没有活下去的勇气了。",
]
ABUSE = [
    "他一喝酒就打我，我不敢回家。",
    "我被老公家暴三年了。",
    "上周我被班上几个人打了，老师说是闹着玩。",
    "亲戚对我性骚扰，我谁也没说。",
    "他掐住我，说要杀了我。",
    "从小爸爸就虐待我们姐弟。",
]
HARM = [
    "我恨他，恨到想杀了他。",
    "脑子里老是想和他同归于尽。",
    "我忍不住打了孩子，打完又哭。",
    "我怕自己会伤害别人。",
    "我想杀人，这念头停不下来。",
]
NEAR = [
    "妹妹上个月自杀了，我一直缓不过来。",
    "闺蜜昨晚说她不想活了，我很慌。",
    "同学跳楼以后，班里没人再提他。",
]
NONE = [
    "今天加班到十点，累死了。",
    "室友讲的笑话把我笑死。",
    "好久没见，想死你了。",
    "高铁晚点，急死人了。",
    "他是我的死党，什么都跟他说。",
    "电脑又死机了，作业没保存。",
    "我没有想过自杀，只是很难受。",
    "我从来没想过轻生，只想好好睡一觉。",
    "我不会伤害自己，请放心。",
    "楼下商场在跳楼价清仓。",
    "周末去玩了跳楼机，腿都软了。",
    "我不想活在别人的眼光里。",
    "他死活不肯道歉，气死我了。",
    "她还没对他死心。",
    "晚上他打我电话我没接到。",
    "辞职了就一了百了，可我舍不得同事。",
    "我被他的话打击到了，也被打断了好几次。",
    "最近在追一部电影，主角自杀那段我哭了。",
    "昨晚梦到楼下有人跳楼的新闻，其实什么事也没有。",
    "他说离开就一了百了，我没拦他。",
    "昨天杀了一条鱼，手忙脚乱。",
    "我没有打算伤害别人，只是说气话。",
    "饿死了，忙死了，困死了，这就是我的一天。",
    "他答应开会时再打我招呼。",
    "生活里总有死循环，跳不出来。",
]


@pytest.mark.parametrize(
    ("post", "kind"),
    [
        (p, k)
        for k, posts in {"self": SELF, "abuse": ABUSE, "harm": HARM, "near": NEAR}.items()
        for p in posts
    ],
)
def test_danger_is_seen(post, kind):
    found = safety.danger(clauses(post))
    assert found is not None and found[0] == kind


@pytest.mark.parametrize("post", NONE)
def test_idioms_and_denials_are_none(post):
    assert safety.danger(clauses(post)) is None
    assert CRISIS_LINE not in default_rules().chain(post).L4


@pytest.mark.parametrize("post", [*SELF, *ABUSE, *HARM, *NEAR])
def test_the_chain_of_such_a_post(post):
    chain = default_rules().chain(post)
    assert "痛苦" in chain.L1
    assert "安全" in chain.L3 and ("听" in chain.L3)
    assert chain.L4.startswith("先") and "安全" in re.split("[，；]", chain.L4)[0]
    assert CRISIS_LINE in chain.L4 and "身边信任的人" in chain.L4
    assert any(word in chain.L4 for word in _HUMAN_HELP)  # as is asked of a teacher
    assert not any(name in chain.L2 + chain.L4 for name in default_rules().biases.values())


def test_fear_never_stands_alone():
    chain = default_rules().chain("我很害怕，很害怕，晚上总是害怕，因为我想自杀。")
    assert "恐惧" in chain.L1 and "痛苦" in chain.L1 and ("绝望" in chain.L1)


def test_words_of_danger_are_not_retold():
    chain = default_rules().chain("因为想死，我写了遗书。他导致我割腕。")
    assert "死" not in chain.L2 and "割腕" not in chain.L2


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("我想自杀", True),
        ("妹妹自杀了", True),
        ("我没想过自杀", False),
        ("他打我", False),
        ("我很好", False),
        ("", False),
    ],
)
def test_speaks_of_self_harm(text, spoken):
    assert safety.speaks_of_self_harm(text) is spoken
