"""What chains that need no understanding score, by hand."""

import math

import pytest
from chains import LAZY, LOAN, MARKER, POST, SITUATION, chain, gold

from empathy_lib.core.coe import render
from empathy_lib.core.schema import Item
from empathy_lib.dataset.rules.chain import default_rules
from empathy_lib.metrics.coe_levels import (
    LEVELS,
    constant_guess,
    levels,
    levels_table,
    overlap_cannot_judge,
    shuffled_chains,
)
from empathy_lib.reward.marking import MARKED


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
