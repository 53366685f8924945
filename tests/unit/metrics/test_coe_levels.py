"""Each label is marked on its own; pasting, listing and length earn nothing; the levels, by hand."""

import math
from dataclasses import replace

import pytest

from empathy_lib.core.coe import ChainOfEmpathy, render
from empathy_lib.core.schema import Gold, Item
from empathy_lib.dataset.annotate import default_rules
from empathy_lib.reward.marking import ALL_MARKS, MARKED, MAX_LAYER, Marker, default_marker, quoted
from empathy_lib.metrics.coe_levels import (
    LEVELS,
    constant_guess,
    levels,
    levels_table,
    overlap_cannot_judge,
    shuffled_chains,
)
from empathy_lib.reward.nearest import Candidate, Nearest

SITUATION = "上个月同时跟两个项目，白天开会晚上写材料，刚走到地铁站又被一个电话喊了回去，周末也没有歇过。"
COLD, LOAN = "以前我说过一次手头排不开，领导转头就在会上夸别人能扛事。", "我名下背着房贷，全指着这份工资。"
FIRED, LAZY = "只要我推掉一次，领导马上就会换掉我。", "喊累的人就是不够格。"
ASK = "我到底该怎么跟领导开这个口呢，请大家给我出出主意。"
POST = f"大家好，我最近很不安。{SITUATION}{COLD}想来想去，{FIRED}{ASK}"
MARKER = Marker(
    emotions={"焦虑": ["焦虑", "不安"], "愤怒": ["愤怒", "生气"], "孤独": ["孤独"]},
    intents={"validated": ["希望被认可"], "understood": ["希望被理解"], "advice": ["希望得到建议"]},
    biases={"catastrophizing": "灾难化", "labeling": "贴标签"},
    causes=Nearest([Candidate("曾经说排不开却被冷落", COLD, "加班"), Candidate("背着房贷", LOAN, "加班")]),
    beliefs=Nearest(
        [Candidate("推掉一次就会被换掉", FIRED, "加班"), Candidate("喊累就是不够格", LAZY, "加班")]
    ),
)
L2 = "因为曾经说排不开却被冷落，认定推掉一次就会被换掉，属于灾难化。"


def gold(**labels) -> Gold:
    usual = {
        "emotion": "焦虑",
        "situation": "两个项目并行",
        "cause": "曾经说排不开却被冷落",
        "belief": "推掉一次就会被换掉",
        "bias": "catastrophizing",
        "intent": "advice",
    }
    return Gold(**usual | labels)


def chain(l1="他感到不安", l2=L2, l3="希望得到建议") -> ChainOfEmpathy:
    return ChainOfEmpathy(L1=l1, L2=l2, L3=l3, L4="先安慰")


def wrong(marks: dict[str, float]) -> set[str]:
    assert set(marks) == set(ALL_MARKS) and set(marks.values()) <= {0.0, 1.0}
    return {name for name, mark in marks.items() if not mark}


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({}, set()),
        ({"l1": "他很生气"}, {"L1", "L1_any"}),
        ({"l1": "不安、愤怒和孤独都有"}, {"L1"}),
        ({"l1": "不安里带着生气"}, set()),
        ({"l2": f"「{COLD}」「{FIRED}」灾难化"}, {"gist_recall"}),
        ({"l2": L2.replace("曾经说排不开却被冷落", "背着房贷")}, {"cause", "cause_subtopic", "gist_recall"}),
        ({"l2": L2.replace("灾难化", "贴标签")}, {"bias"}),
        ({"l2": L2.replace("灾难化", "灾难化和贴标签")}, {"bias"}),
        ({"l2": L2.replace("推掉一次就会被换掉", "喊累就是不够格")}, {"belief", "belief_subtopic"}),
        ({"l3": "希望得到建议，也希望被理解"}, {"L3"}),
        ({"l3": "不知道"}, {"L3"}),
    ],
)
def test_each_label_is_marked_on_its_own(parts, expected):
    assert wrong(MARKER.mark_chain(chain(**parts), gold(), POST)) == expected
    assert wrong(MARKER.mark(render(chain(**parts), "抱抱你。"), gold(), POST)) == expected


def test_a_broken_chain_is_wrong_in_every_label_and_no_gold_is_no_mark():
    broken = render(chain(), "抱抱你。").replace("</L4>", "")
    assert wrong(MARKER.mark(broken, gold(), POST)) == set(ALL_MARKS)
    assert all(map(math.isnan, MARKER.mark(broken, None, POST).values()))


L2_MARKS = {"cause", "cause_subtopic", "bias", "belief", "belief_subtopic"}


@pytest.mark.parametrize(
    "paste",
    [
        POST,
        POST[: MAX_LAYER - 10],
        "·".join(POST[i : i + 7] for i in range(0, len(POST), 7)),  # hidden behind marks
        " ".join(POST[20:130]),
        SITUATION + COLD,
    ],
)
def test_pasting_the_post_earns_nothing_where_the_span_is_counted(paste):
    marks = MARKER.mark_chain(chain(l1=paste, l2=paste + "灾难化", l3=paste), gold(), POST)
    assert not any(marks[name] for name in (*MARKED, *L2_MARKS)), marks
    free = replace(MARKER, count_span=False).mark_chain(chain(l2=paste + "灾难化"), gold(), POST)
    assert free["bias"] == 1


def test_a_layer_longer_than_any_honest_one_names_nothing_even_in_its_own_words():
    longer = L2 + "这里写的话与帖子无关。" * (MAX_LAYER // 11)
    assert wrong(MARKER.mark_chain(chain(l2=longer), gold(), POST)) >= L2_MARKS


def test_quoting_cause_and_belief_whole_with_what_leads_to_them_is_honest():
    assert wrong(MARKER.mark_chain(chain(l2=f"{COLD}想来想去，{FIRED}灾难化"), gold(), POST)) == {
        "gist_recall"
    }
    assert quoted(f"「{COLD}」", POST) == 26 and quoted(f"「{COLD}」", POST, [COLD]) == 0
    assert quoted("他不安", POST) == 0


def test_half_of_the_causes_bigrams_are_enough_for_recall_and_less_is_not():
    assert MARKER.recalls_gist("甲乙丙，别的", gold(cause="甲乙丙丁戊"))
    assert not MARKER.recalls_gist("甲乙，别的", gold(cause="甲乙丙丁戊"))


def test_labels_of_a_users_own_are_known_by_name_and_missing_ones_are_not_available():
    own = gold(cause="邻居太吵睡不着", belief="", bias="灾难化")
    marks = MARKER.knowing([own, None]).mark_chain(chain(l2="邻居太吵，灾难化"), own, "")
    assert (marks["cause"], marks["bias"]) == (1, 1)
    assert all(math.isnan(marks[name]) for name in ("belief", "cause_subtopic", "belief_subtopic"))


def test_levels_by_hand():
    labels = gold(
        emotion="孤独", cause="背着房贷", belief="喊累就是不够格", bias="labeling", intent="understood"
    )
    end = "有没有人也是这样走过来的，我只想找人说说话。"
    other = f"我在这座城市里，每天都觉得很孤独。{SITUATION}{LOAN}{LAZY}{end}"
    posts = [(POST, gold()), (POST + "谢谢。", gold()), (other, labels)]
    items = [Item(id=str(k), question=post, answers=[], gold=g) for k, (post, g) in enumerate(posts)]
    level = levels([*items, Item(id="x", question="没有标签", answers=[])], MARKER)
    assert list(level) == list(LEVELS)
    chance = {"L1": 2 / 3, "cause": 1 / 2, "bias": 1 / 2, "belief": 1 / 2, "L3": 1 / 3}
    assert {name: level["chance"][name] for name in MARKED} == pytest.approx(chance)
    # two emotions may be named, and there are two among these golds
    constant = {"L1": 1, "cause": 2 / 3, "bias": 2 / 3, "belief": 2 / 3, "L3": 2 / 3}
    assert {name: level["constant"][name] for name in MARKED} == pytest.approx(constant)
    assert all(level["post_pasted"][name] == 0 for name in MARKED)
    free = level["post_pasted_uncounted"]
    assert (free["L1"], free["cause"], free["belief"], free["bias"], free["L3"]) == (1, 1, 1, 0, 0)
    assert {"cause", "belief"} <= set(overlap_cannot_judge(level)) and "L3" not in overlap_cannot_judge(level)
    assert {"cause †", "L3"} <= set(levels_table(level, MARKED).columns)
    rules = [MARKER.mark_chain(default_rules().chain(post), g, post) for post, g in posts]
    assert level["rules"]["cause"] == pytest.approx(sum(mark["cause"] for mark in rules) / 3)


def test_without_gold_no_level_is_available():
    level = levels([Item(id="x", question="没有标签", answers=[])], MARKER)
    assert all(math.isnan(value) for values in level.values() for value in values.values())
    assert all(map(math.isnan, constant_guess([None], MARKER).values())) and overlap_cannot_judge(level) == []


def test_shuffled_chains_by_hand():
    labels = gold(
        emotion="孤独", cause="背着房贷", belief="喊累就是不够格", bias="labeling", intent="understood"
    )
    golds = [gold(), gold(), labels, None]
    # of the six mismatched pairs of posts, gold agrees in those whose gold is post 0 or 1
    shuffled = shuffled_chains([render(chain(), "抱抱你。")] * 4, golds, MARKER)
    assert shuffled == pytest.approx(dict.fromkeys(MARKED, 4 / 6))
    assert all(map(math.isnan, shuffled_chains([""], [gold()], MARKER).values()))


def test_default_marker_reads_the_datasets_lexicon_and_fragments():
    marker = default_marker()
    assert set(marker.intents) == {"validated", "understood", "advice"}
    for emotion, words in marker.emotions.items():
        assert emotion in marker.named_emotions(f"他感到{words[0]}。")
    for intent, phrases in marker.intents.items():
        for phrase in phrases:
            assert marker.named_intents(f"对方{phrase}。") == {intent}, phrase
    for bias, name in marker.biases.items():
        assert marker.named_biases(f"这是{name}。") == {bias}
    for nearest in (marker.causes, marker.beliefs):
        hits = [nearest.identifies(text, c.gist) for c in nearest.candidates for text in (c.gist, c.sentence)]
        assert len(nearest.candidates) > 300 and sum(map(sum, hits)) >= 0.98 * 2 * len(hits)
