"""What ``rank`` prints and writes: groups, differences, checks, raters left out."""

import json

import numpy as np
import pandas as pd
import pytest

from empathy_lib.app import cli
from empathy_lib.core.errors import UserError
from empathy_lib.core.paper import DIMENSIONS
from empathy_lib.human_eval.checks import name_check, name_filler
from empathy_lib.human_eval.cube import ALL
from empathy_lib.human_eval.ratings import COLUMNS, write_ratings
from empathy_lib.human_eval.simulate import simulate_ratings
from empathy_lib.human_eval.summary import describe, summarise


def ratings_of(rows):
    return pd.DataFrame(
        [(r, i, d, s, float(rank)) for r, i, d, given in rows for s, rank in given.items()],
        columns=list(COLUMNS),
    )


@pytest.fixture
def apart():
    """r1 and r2 rank a and b, r3 and r4 c and d: nothing orders a against c."""
    pairs = {"r1": "ab", "r2": "ab", "r3": "cd", "r4": "cd"}
    return ratings_of(
        (rater, f"q{item}", "Fluency", {pair[0]: 1, pair[1]: 2} if item else {pair[0]: 2, pair[1]: 1})
        for rater, pair in pairs.items()
        for item in range(4)
    )


def rank(capsys, tmp_path, table, *arguments, monkeypatch):
    write_ratings(table, tmp_path / "r.csv")
    monkeypatch.setattr(
        "sys.argv", ["x", "rank", str(tmp_path / "r.csv"), "--out", str(tmp_path / "r.json"), *arguments]
    )
    try:
        cli.main()
    except SystemExit as end:
        if end.code:
            return capsys.readouterr().err
    return capsys.readouterr().out


def test_systems_never_compared_are_no_joint_ranking(apart):
    found = summarise(apart)[ALL]
    assert found["groups"] == [["a", "b"], ["c", "d"]]
    # as if there were no other system: places 1 and 2, three of four first
    assert [found[s]["mean_rank"] for s in "abcd"] == [1.25, 1.75, 1.25, 1.75]
    assert [found[s]["win_at_1"] for s in "abcd"] == [0.75, 0.25, 0.75, 0.25]
    gaps = {(pair["a"], pair["b"]): pair["difference"] for pair in found["pairwise"]}
    assert gaps == {
        ("a", "b"): -0.5,
        ("a", "c"): None,
        ("a", "d"): None,
        ("b", "c"): None,
        ("b", "d"): None,
        ("c", "d"): -0.5,
    }
    lines = describe(found)
    assert lines[0].startswith("never compared") and "a, b; c, d" in lines[0]
    assert [line.split()[0] for line in lines[1:7]] == ["group", "a", "b", "group", "c", "d"]
    assert "mean rank 1.25" in lines[2] and "0 of 2 pairs" in lines[7]


def test_a_system_compared_with_nothing_is_not_available(apart):
    alone = pd.concat([apart, ratings_of([("r1", "q9", "Fluency", {"e": 1})])])
    found = summarise(alone)[ALL]
    assert found["groups"][-1] == ["e"] and found["e"]["mean_rank"] is None and found["e"]["n"] == 0
    assert any(line.startswith("e") and "not available" in line for line in describe(found))


def test_the_screen_says_which_differences_are_clear(tmp_path, capsys, monkeypatch):
    strengths = pd.DataFrame({name: [3.0, 0.0, 0.0] for name in DIMENSIONS}, index=list("abc"))
    table = simulate_ratings(strengths, 10, [f"q{n}" for n in range(12)], np.random.default_rng(0))
    said = rank(capsys, tmp_path, table, monkeypatch=monkeypatch)
    assert "SIMULATED" in said and "clear differences in mean rank" in said and "2 of 3 pairs" in said
    assert "  a above b by" in said and "  a above c by" in said and "b above c" not in said
    found = json.loads((tmp_path / "r.json").read_text())
    assert list(found) == [ALL, *DIMENSIONS]
    clear = {(pair["a"], pair["b"]) for pair in found[ALL]["pairwise"] if pair["p_holm"] < 0.05}
    assert clear == {("a", "b"), ("a", "c")}
    for pair in found[ALL]["pairwise"]:
        assert pair["interval"][0] < pair["difference"] < pair["interval"][1] and pair["p"] <= pair["p_holm"]


def test_who_failed_a_check_is_named_and_can_be_left_out(tmp_path, capsys, monkeypatch):
    opinions = [
        (r, f"q{i}", "Fluency", {"a": 1, "b": 2 - (i == 0)}) for r in ("r1", "r2", "r3") for i in range(3)
    ]
    asked = [
        (r, "q8", "Fluency", {name_check("first"): place, name_filler("b"): 3 - place})
        for r, place in (("r1", 1), ("r2", 2), ("r3", 1))
    ]
    table = ratings_of(opinions + asked)
    said = rank(capsys, tmp_path, table, monkeypatch=monkeypatch)
    assert "checks passed: 2 of 3" in said and "r2 failed 1 of 1; to leave them out: --without r2" in said
    said = rank(capsys, tmp_path, table, "--without", "r2", monkeypatch=monkeypatch)
    assert "2 raters, 3 items" in said and "left out: r2" in said and "failed" not in said
    assert json.loads((tmp_path / "r.json").read_text())[ALL]["a"]["n"] == 6
    assert "no such rater; the file holds r1, r2, r3" in rank(
        capsys, tmp_path, table, "--without", "r7", monkeypatch=monkeypatch
    )
    everybody = [word for name in ("r1", "r2", "r3") for word in ("--without", name)]
    assert "every rater" in rank(capsys, tmp_path, table, *everybody, monkeypatch=monkeypatch)


def test_a_studys_own_dimensions_are_ranked_as_they_are_called():
    table = ratings_of(
        ("r1", f"q{i}", name, {"a": 1, "b": 2}) for i in range(3) for name in ("Warmth", "Safety")
    )
    assert list(summarise(table)) == [ALL, "Warmth", "Safety"]


def test_a_system_named_like_a_key_is_refused():
    with pytest.raises(UserError, match="'pairwise'"):
        summarise(ratings_of([("r1", "q1", "Fluency", {"a": 1, "pairwise": 2})]))
