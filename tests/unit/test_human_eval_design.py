import json

import numpy as np
import pandas as pd
import pytest

from empathy_lib.errors import UserError
from empathy_lib.human_eval.design import build_study, read_completions, sheet_to_html, unblind, write_study

SYSTEMS = ["base", "bm25", "few_shot", "grpo", "sft", "sft_no_coe"]
COE = "<empathy_think><L1>a</L1><L2>b</L2><L3>c</L3><L4>d</L4></empathy_think><answer>{}</answer>"
POSTS = {f"q{n}": f"post {n}" for n in range(9)}


def completions(items=9):
    """Replies that name their system in a code only the test knows."""
    return {
        f"q{n}": {s: COE.format(f"reply {n}/{code}") if s != "bm25" else f"reply {n}/{code}" for code, s in enumerate(SYSTEMS)}
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
    assert json.loads((tmp_path / "key.json").read_text()) == study().key


def test_sheets_are_escaped_and_an_empty_reply_is_said():
    given = {"q1": {"sft": "<script>alert(1)</script>", "base": ""}}
    made = build_study(given, {"q1": "a <b>post</b> & more"}, raters=1, items=1, rng=np.random.default_rng(0))
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
    rows = [(s["rater"], s["item"], "Fluency", r["letter"], 1 + int(r["text"][-1])) for s in made.sheets for r in s["replies"]]
    ratings = unblind(pd.DataFrame(rows, columns=["rater", "item", "dimension", "letter", "rank"]), tmp_path / "key.json")
    assert [SYSTEMS[rank - 1] for rank in ratings["rank"]] == ratings["system"].tolist()
    foreign = pd.DataFrame([("rater-01", "q99", "Fluency", "A", 1)], columns=["rater", "item", "dimension", "letter", "rank"])
    with pytest.raises(UserError, match="item 'q99'; use the key of the same study"):
        unblind(foreign, tmp_path / "key.json")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"q1": {"sft": "x"}}, "1 systems"),
        ({}, "0 systems"),
        ({"q1": {"sft": "x"}, "q2": {"base": "y"}}, "no item was answered by all"),
        ({"other": {"sft": "x", "base": "y"}}, "item 'other' is not among the posts"),
    ],
)
def test_refuses_what_cannot_be_ranked(given, says):
    with pytest.raises(UserError, match=says):
        build_study(given, POSTS, raters=2, items=2, rng=np.random.default_rng(0))


def test_read_completions(tmp_path):
    path = tmp_path / "completions.jsonl"
    path.write_text('{"id": "q1", "system": "sft", "completion": "你好"}\n\n{"id": "q1", "system": "base", "completion": ""}\n')
    assert read_completions(path) == {"q1": {"sft": "你好", "base": ""}}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 2: not valid JSON"),
        ("[]", "line 2: field 'record'"),
        ('{"id": 3, "system": "sft", "completion": "x"}', "line 2: field 'id'"),
        ('{"id": "q1", "system": "base"}', "line 2: field 'completion'"),
        ('{"id": "q1", "system": "sft", "completion": "x"}', "line 2: system 'sft' answered 'q1' twice"),
        ('{"id": "q1", "system": "attention-check:a", "completion": "x"}', "line 2: field 'system': 'attention-check:a' is the name of"),
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
