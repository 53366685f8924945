import json
from collections import Counter
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from empathy_lib.core.completions import CHECK_PREFIX, read_completions, read_posts
from empathy_lib.core.errors import UserError
from empathy_lib.human_eval import checks, design
from empathy_lib.human_eval.blocks import blocks, imbalance
from empathy_lib.human_eval.design import (
    belong_together,
    build_study,
    read_key,
    sheet_to_html,
    unblind,
    write_study,
)

SYSTEMS = ["base", "bm25", "few_shot", "grpo", "sft", "sft_no_coe"]
COE = "<empathy_think><L1>a</L1><L2>b</L2><L3>c</L3><L4>d</L4></empathy_think><answer>{}</answer>"
POSTS = {f"q{n}": f"post {n}" for n in range(9)}


def completions(items=9):
    """Replies that name their system in a code only the test knows."""
    return {
        f"q{n}": {
            s: COE.format(f"reply {n}/{code}") if s != "bm25" else f"reply {n}/{code}"
            for code, s in enumerate(SYSTEMS)
        }
        for n in range(items)
    }


def study(seed=1, raters=3, items=5):
    return build_study(completions(), POSTS, raters=raters, items=items, rng=np.random.default_rng(seed))


def test_each_rater_judges_each_item_once_with_every_system_once():
    made = study()
    assert len(made.items) == 5 == len(set(made.items))
    assert made.systems == SYSTEMS
    for rater, key in made.key.items():
        assert sorted(key) == sorted(made.items)
        sheets = [sheet for sheet in made.sheets if sheet["rater"] == rater]
        assert sorted(sheet["item"] for sheet in sheets) == sorted(made.items)
        assert [sheet["position"] for sheet in sheets] == [1, 2, 3, 4, 5]
        assert all(sorted(letters.values()) == SYSTEMS for letters in key.values())


def test_the_key_tells_who_wrote_each_reply():
    made = study()
    for sheet in made.sheets:
        assert sheet["post"] == POSTS[sheet["item"]]
        for reply in sheet["replies"]:
            system = made.key[sheet["rater"]][sheet["item"]][reply["letter"]]
            assert reply["text"] == f"reply {sheet['item'][1:]}/{SYSTEMS.index(system)}"


def test_seeded_and_shuffled():
    assert study(seed=1) == study(seed=1)
    assert study(seed=1).key != study(seed=2).key
    made = study(raters=20, items=9)
    firsts = [letters["A"] for key in made.key.values() for letters in key.values()]
    counts = [firsts.count(system) for system in SYSTEMS]
    assert min(counts) >= 15, "180 draws: each of six systems comes first about 30 times"
    assert len({tuple(key) for key in made.key.values()}) > 15, "raters see items in orders of their own"


def test_what_raters_see_names_no_system_and_shows_no_chain(tmp_path):
    write_study(study(), tmp_path)
    seen = (tmp_path / "study.jsonl").read_text()
    assert not any(f'"{system}"' in seen for system in SYSTEMS)
    assert "<" not in seen
    assert "reply" in seen
    assert json.loads((tmp_path / "key.json").read_text()) == {"study": study().mark, **study().key}
    assert study().mark != study(seed=2).mark


def seen_pairs(made):
    """How often each system, and each pair of systems, stands on a sheet that is no check."""
    shown = [list(key[item].values()) for key in made.key.values() for item in key if item not in made.checks]
    return (
        Counter(s for sheet in shown for s in sheet),
        Counter(p for sheet in shown for p in combinations(sorted(sheet), 2)),
        shown,
    )


@pytest.mark.parametrize(
    ("raters", "items", "per_rater", "systems", "pairs_apart"),
    [
        (4, 9, 5, 3, 0),
        (5, 6, 6, 3, 0),
        (3, 5, 5, 4, 0),
        (3, 5, 5, 2, 0),
        (7, 9, 3, 3, 1),
        (20, 8, 8, 3, 0),
        (6, 9, 4, 0, 0),
    ],
)
def test_incomplete_blocks_are_balanced(raters, items, per_rater, systems, pairs_apart):
    """The sizes with 0 have a design in which every pair is seen equally often (20, 30, 15, 15, 160, 24
    sheets)."""
    made = build_study(
        completions(),
        POSTS,
        raters=raters,
        items=items,
        rng=np.random.default_rng(3),
        items_per_rater=per_rater,
        systems_per_item=systems,
    )
    single, pairs, shown = seen_pairs(made)
    assert len(shown) == raters * per_rater and all(len(set(sheet)) == (systems or 6) for sheet in shown)
    assert set(single) == set(SYSTEMS) and len(pairs) == 15
    assert max(single.values()) - min(single.values()) <= 1
    assert max(pairs.values()) - min(pairs.values()) <= pairs_apart
    times = Counter(item for key in made.key.values() for item in key)
    assert (
        all(len(key) == per_rater for key in made.key.values())
        and max(times.values()) - min(times.values()) <= 1
    )


@given(st.integers(1, 60), st.integers(2, 8), st.integers(2, 8), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_blocks_of_any_size(count, systems, size, seed):
    size = min(size, systems)
    drawn = blocks(count, systems, size, np.random.default_rng(seed))
    assert len(drawn) == count and all(len(set(block)) == size for block in drawn)
    single, pairs = imbalance(drawn, systems)
    assert single <= 1 and pairs <= 3


def test_attention_checks_stand_in_the_key_only():
    made = build_study(
        completions(), POSTS, raters=4, items=9, rng=np.random.default_rng(0), attention_checks=2
    )
    assert len(made.items) == 7 and len(made.checks) == 2 and not set(made.items) & set(made.checks)
    for rater, key in made.key.items():
        sheets = {sheet["item"]: sheet for sheet in made.sheets if sheet["rater"] == rater}
        assert sorted(sheets) == sorted(POSTS) and [sheet["position"] for sheet in sheets.values()] == list(
            range(1, 10)
        )
        asked = []
        for item in made.checks:
            assert sheets[item]["position"] > 1 and set(sheets[item]) == set(sheets[made.items[0]])
            assert all(system.startswith(CHECK_PREFIX) for system in key[item].values())
            (letter,) = [
                letter
                for letter, system in key[item].items()
                if system in map(checks.name_check, checks.WANTED)
            ]
            asked.append(key[item][letter])
            text = next(reply["text"] for reply in sheets[item]["replies"] if reply["letter"] == letter)
            assert f"rank this reply {asked[-1].removeprefix(CHECK_PREFIX)}" in text
        assert asked == ["attention-check:first", "attention-check:last"]
        assert not any(CHECK_PREFIX in json.dumps(sheet) for sheet in sheets.values())
        assert all(sorted(key[item].values()) == SYSTEMS for item in made.items)


def test_the_chain_is_shown_only_by_design():
    assert all("chain" not in reply for sheet in study().sheets for reply in sheet["replies"])
    made = build_study(completions(), POSTS, raters=1, items=2, rng=np.random.default_rng(0), show_chain=True)
    chains = {
        made.key["rater-01"][s["item"]][r["letter"]]: r["chain"] for s in made.sheets for r in s["replies"]
    }
    assert (
        chains["bm25"] == ""
        and chains["sft"].splitlines()[2].endswith("intent: c")
        and "<" not in chains["sft"]
    )
    assert "intent: c" in sheet_to_html(made.sheets[0])


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ({"items_per_rater": 6}, "items_per_rater=6: there are 5 to choose from"),
        ({"systems_per_item": 7}, "systems_per_item=7: there are 6"),
        ({"systems_per_item": 1}, "systems_per_item=1: there are 6 to choose from, and a ranking needs two"),
        (
            {"attention_checks": 9},
            "only 9 items were answered by all systems and 9 are held back for attention checks",
        ),
    ],
)
def test_a_part_is_no_larger_than_the_whole(choice, says):
    with pytest.raises(UserError, match=says):
        build_study(completions(), POSTS, raters=2, items=5, rng=np.random.default_rng(0), **choice)


def test_read_posts(tmp_path):
    path = tmp_path / "posts.jsonl"
    path.write_text('{"id": "q1", "question": "你好", "topic": "x"}\n')
    assert read_posts(path) == {"q1": "你好"}
    path.write_text('{"id": "q1"}\n')
    with pytest.raises(UserError, match="line 1: field 'question'"):
        read_posts(path)


def test_sheets_are_escaped_and_an_empty_reply_is_said():
    answers = {"q1": {"sft": "<script>alert(1)</script>", "base": ""}}
    made = build_study(
        answers, {"q1": "a <b>post</b> & more"}, raters=1, items=1, rng=np.random.default_rng(0)
    )
    shown = sheet_to_html(made.sheets[0])
    assert "&lt;script&gt;" in shown and "<script>" not in shown
    assert "a &lt;b&gt;post&lt;/b&gt; &amp; more" in shown and "(empty)" in shown
    assert "sft" not in shown and "base" not in shown


def test_fewer_items_than_asked_and_items_not_answered_by_all():
    some = completions()
    del some["q0"]["grpo"]
    made = build_study(some, POSTS, raters=2, items=100, rng=np.random.default_rng(0))
    assert sorted(made.items) == [f"q{n}" for n in range(1, 9)]


def test_unblind_gives_back_the_systems(tmp_path):
    made = study()
    write_study(made, tmp_path)
    rows = [
        (s["rater"], s["item"], "Fluency", r["letter"], 1 + int(r["text"][-1]))
        for s in made.sheets
        for r in s["replies"]
    ]
    ratings = unblind(
        pd.DataFrame(rows, columns=["rater", "item", "dimension", "letter", "rank"]), tmp_path / "key.json"
    )
    assert [SYSTEMS[rank - 1] for rank in ratings["rank"]] == ratings["system"].tolist()
    foreign = pd.DataFrame(
        [("rater-01", "q99", "Fluency", "A", 1)], columns=["rater", "item", "dimension", "letter", "rank"]
    )
    with pytest.raises(UserError, match="item 'q99'; use the key of the same study"):
        unblind(foreign, tmp_path / "key.json")


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ({"q1": {"sft": "x"}}, "1 systems"),
        ({}, "0 systems"),
        ({"q1": {"sft": "x"}, "q2": {"base": "y"}}, "no item was answered by all"),
        ({"other": {"sft": "x", "base": "y"}}, "item 'other' is not among the posts"),
    ],
)
def test_refuses_what_cannot_be_ranked(answers, says):
    with pytest.raises(UserError, match=says):
        build_study(answers, POSTS, raters=2, items=2, rng=np.random.default_rng(0))


def test_read_completions(tmp_path):
    path = tmp_path / "completions.jsonl"
    path.write_text(
        '{"id": "q1", "system": "sft", "completion": "你好"}\n\n{"id": "q1", "system": "base", "completion": '
        '""}\n'
    )
    assert read_completions(path) == {"q1": {"sft": "你好", "base": ""}}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 2: not valid JSON"),
        ("[]", "line 2: field 'record'"),
        ('{"id": 3, "system": "sft", "completion": "x"}', "line 2: field 'id'"),
        ('{"id": "q1", "system": "base"}', "line 2: field 'completion'"),
        ('{"id": "q1", "system": "sft", "completion": "x"}', "line 2: system 'sft' answered 'q1' twice"),
        (
            '{"id": "q1", "system": "attention-check:a", "completion": "x"}',
            "line 2: field 'system': 'attention-check:a' is the name of",
        ),
    ],
)
def test_broken_completions_are_named(tmp_path, line, says):
    path = tmp_path / "completions.jsonl"
    path.write_text('{"id": "q1", "system": "sft", "completion": "x"}\n' + line + "\n")
    with pytest.raises(UserError) as error:
        read_completions(path)
    assert says in str(error.value) and str(path) in str(error.value)
    with pytest.raises(UserError, match="no such file"):
        read_completions(tmp_path / "none.jsonl")


LETTERS = ["rater", "item", "dimension", "letter", "rank"]


def answers(made, **more):
    """Every letter of a study ranked first."""
    rows = [(s["rater"], s["item"], "Fluency", r["letter"], 1) for s in made.sheets for r in s["replies"]]
    return pd.DataFrame(rows, columns=LETTERS).assign(**more)


def test_another_study_s_key_is_refused(tmp_path):
    """Both studies have the same raters, items and letters; only the mark tells them apart."""
    made, other = study(seed=1, items=9), study(seed=2, items=9)
    write_study(made, tmp_path)
    key = tmp_path / "key.json"
    assert len(unblind(answers(other), key)) == len(answers(other)), "without a mark nothing can be told"
    assert not belong_together(answers(other), key) and not belong_together(answers(made, study=""), key)
    assert belong_together(answers(made, study=made.mark), key)
    with pytest.raises(UserError, match=f"key of {made.mark}, but the answers .* are of {other.mark}; use"):
        unblind(answers(other, study=other.mark), key)
    key.write_text(json.dumps(made.key), encoding="utf-8")  # as keys were before there were marks
    assert read_key(key) == (made.key, "") and not belong_together(answers(made, study=made.mark), key)
    assert set(unblind(answers(made, study=made.mark), key)["system"]) == set(SYSTEMS)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[]", "holds a JSON list"),
        ("3", "holds no JSON object"),
        ("", "not valid JSON"),
        ('{"rater-01": {"q1": ["A"]}}', "field 'rater-01': is not item -> letter -> system"),
        ('{"rater-01": "x"}', "field 'rater-01'"),
        ('{"rater-01": {"q1": {"A": "\\ud83d"}}}', "lone surrogate"),
    ],
)
def test_what_is_no_key_is_refused(tmp_path, content, says):
    (tmp_path / "钥匙 key.json").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=says) as error:
        read_key(tmp_path / "钥匙 key.json")
    assert ";" in str(error.value) and "\n" not in str(error.value)
    write_study(study(), tmp_path)
    with pytest.raises(
        UserError, match=r"holds the raters' sheets, not the key; give the key.json beside it"
    ):
        read_key(tmp_path / "study.jsonl")
    with pytest.raises(UserError, match=r"no such file; give the key\.json"):
        read_key(tmp_path)


def test_an_id_of_two_posts_is_refused_and_the_same_post_again_is_not(tmp_path):
    path = tmp_path / "posts.jsonl"
    lines = ['{"id": "q1", "question": "你好"}', '{"id": "q2", "question": "在吗"}']
    path.write_text("\n".join([*lines, lines[0]]), encoding="utf-8")
    assert read_posts(path) == {"q1": "你好", "q2": "在吗"}
    path.write_text("\n".join([*lines, '{"id": "q1", "question": "别的"}']), encoding="utf-8")
    with pytest.raises(UserError, match="line 3: field 'id': 'q1' is that of another post in line 1; give"):
        read_posts(path)
    path.write_text("\n", encoding="utf-8")
    for read in (read_posts, read_completions):
        with pytest.raises(UserError, match="the file is empty; give"):
            read(path)


def test_raters_see_no_thoughts_and_no_tail():
    texts = {"sft": COE.format("抱抱你") + "（以上为模型输出）", "base": "<think>她想要安慰</think>别怕"}
    made = build_study({"q1": texts}, POSTS, raters=1, items=1, rng=np.random.default_rng(0))
    assert {reply["text"] for reply in made.sheets[0]["replies"]} == {"抱抱你", "别怕"}


def test_the_studys_mark_is_made_once_however_many_sheets_there_are(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(design, "digest", lambda value: made.append(1) or "0123456789abcdef")
    sheets = [
        {"rater": "r1", "position": place, "item": f"q{place}", "post": "帖", "replies": []}
        for place in (1, 2, 3)
    ]
    design.write_study(design.Study(sheets=sheets, key={}, items=[], systems=[]), tmp_path)
    assert len(made) == 1
