"""The crisis gate: what it finds however it is spelt, what lowers a level and what does not, and that it
fails closed."""

import hashlib
import json
from datetime import date
from pathlib import Path

import pytest

from empathy_lib.core import crisis
from empathy_lib.core.config import DatasetConfig
from empathy_lib.core.errors import UserError
from empathy_lib.dataset.generate import generate

ROOT = Path(__file__).parents[3]
SETS = ROOT / "tests" / "crisis"
LOCKED = "1a3b914c915f3ceb29af7ed10fc3069d47e44531a0322a722499c7509896f862"


@pytest.mark.parametrize(
    "text",
    [
        "我想自杀",
        "我想自 杀",
        "我想自-杀",
        "我想自\u200b杀",
        "我想zi sha",
        "我想zisha",
        "我想z.i.s.h.a",
        "我想紫砂",
        "我想自殺",
        "不想活了",
        "活着真没意思",
        "我好想消失",
    ],
)
def test_a_wish_to_die_is_found_however_it_is_spelt(text):
    found = crisis.screen(text)
    assert found.level == 2 and found.flagged and found.categories


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("没有想过自杀", 0),
        ("医生问我有没有自杀的念头，我说没有", 0),
        ("自杀的念头倒是没有", 0),
        ("不是没想过自杀", 2),
        ("没勇气自杀", 2),
        ("商场跳楼价清仓", 0),
        ("想死你了", 0),
        ("女主最后自杀了", 0),
        ("《自杀小队》好看吗", 0),
        ("我送爷爷一把紫砂壶", 0),
        ("我朋友说想自杀", 1),
        ("三年前我想过自杀，现在好了", 1),
        ("没有想过自杀，可是不想活了", 2),  # a denial is for its own clause
        ("", 0),
        ("今天天气很好", 0),
    ],
)
def test_what_lowers_a_level_does_so_in_its_own_clause(text, level):
    found = crisis.screen(text)
    assert found.level == level, found
    assert bool(found.rules) is bool(level)


@pytest.mark.parametrize(
    "text", ["遗书写好了", "我没有遗书，只是药都备好了", "别担心，遗书已经写好了", "他们说的遗书我写好了"]
)
def test_nothing_lowers_level_three(text):
    assert crisis.screen(text).level == 3


def test_two_signs_of_a_farewell_are_one_and_one_is_none():
    assert crisis.screen("把猫送给了邻居。").level == 0
    found = crisis.screen("把猫送给了邻居。照顾好自己。")
    assert found.level == 3 and set(found.rules) == {"signs.given", "signs.wishes"}


@pytest.mark.parametrize("text", ["今天很累。我想自 杀，真的。", "今天很累。我想ｚｉｓｈａ，真的。"])
def test_spans_lie_in_the_text_as_given(text):
    (start, end), *_ = crisis.screen(text).spans
    assert "累" not in text[start:end] and "真的" not in text[start:end]
    assert text[start:end].strip() and text[end - 1] in "杀ａｚ想"


def test_the_gate_answers_in_its_own_words_and_fails_closed():
    asked = []

    def reply(post):
        asked.append(post)
        return "听起来你很累。"

    assert crisis.answer("我想自杀", reply) == crisis.fixed_text() and not asked
    assert crisis.answer("最近加班很累", reply) == "听起来你很累。"
    assert crisis.answer("最近加班很累", lambda post: "那就去死吧，遗书写好") == crisis.fixed_text()
    with pytest.warns(UserWarning, match="no reply: ZeroDivisionError"):
        assert crisis.answer("最近加班很累", lambda post: 1 / 0) == crisis.fixed_text()
    with pytest.raises(UserError, match="use one of cn"):
        crisis.answer("我想自杀", reply, region="mars")


@pytest.mark.parametrize("region", ["cn", "hk", "tw", "sg", "elsewhere"])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_fixed_text_names_the_regions_lines_and_promises_nothing(region, language):
    text, here = crisis.fixed_text(region, language), crisis.resources(region)
    assert all(line.number in text for line in here.lines)
    assert all(number in text for number in here.emergency)
    assert not any(word in text for word in ("24 h", "24h", "24小时", "24 小时", "anonymous", "匿名"))
    assert not crisis.screen(text).flagged


def test_a_line_that_was_not_read_for_a_year_fails():
    for region in ("cn", "hk", "tw", "sg", "elsewhere"):
        for line in crisis.resources(region).lines:
            assert line.source and (date.today() - line.seen).days <= 365, line
            assert line.hours is None or "24" not in json.dumps(line.hours)


def test_the_locked_set_is_the_one_that_was_measured():
    data = (SETS / "locked.jsonl").read_bytes()
    assert hashlib.sha256(data).hexdigest() == LOCKED
    rows = [json.loads(line) for line in data.decode().splitlines()]
    assert len(rows) == 400
    flagged = {level: [] for level in range(4)}
    for row in rows:
        flagged[row["level"]].append(crisis.screen(row["text"]).flagged)
    # docs/limits.md: 123 of 220, 23 of 140; a change of patterns must not do worse
    assert sum(flagged[2]) + sum(flagged[3]) >= 120
    assert sum(flagged[0]) <= 23


def test_synthetic_posts_raise_few_false_alarms():
    posts = [item.question for item in generate(DatasetConfig(questions=600), seed=7)]
    assert sum(crisis.screen(post).flagged for post in posts) <= 0.01 * len(posts)
