"""Ratings of people on disk: one study, nothing lost, nothing doubled, and the CSV that comes out."""

import contextlib
import json
import multiprocessing
import os
import random
import signal
import sqlite3
import stat
import time

import numpy as np
import pytest

from empathy_lib.app import cli
from empathy_lib.core.completions import CHECK_PREFIX
from empathy_lib.core.errors import UserError
from empathy_lib.core.paper import DIMENSIONS
from empathy_lib.human_eval.checks import count_passed, without_checks
from empathy_lib.human_eval.design import build_study, write_study
from empathy_lib.human_eval.ratings import read_ratings
from empathy_lib.human_eval.run.collect import export_ratings, open_collection, read_sheets, write_links
from empathy_lib.human_eval.run.store import LONGEST_SECONDS, RatingStore

REPLIES = [(rater, item, letter) for rater in ("r1", "r2") for item in ("q1", "q2") for letter in "AB"]
FULL = {(letter, dimension): rank for rank, letter in enumerate("AB", 1) for dimension in DIMENSIONS}


@pytest.fixture
def store(tmp_path):
    return RatingStore(tmp_path / "ratings.sqlite", "this study", REPLIES)


@pytest.fixture
def folder(tmp_path):
    """A study of two raters, two items and three systems."""
    completions = {
        item: {system: f"{system} says {item}" for system in ("grpo", "sft", "base")} for item in ("q1", "q2")
    }
    made = build_study(
        completions, {"q1": "帖子一", "q2": "帖子二"}, raters=2, items=2, rng=np.random.default_rng(0)
    )
    folder = tmp_path / "研究 study"
    folder.mkdir()
    write_study(made, folder)
    return folder


def rate_whole_sheet(collection, rater, item):
    """Rank the replies of a sheet in the order of their letters."""
    sheet = next(sheet for sheet in collection.sheets[rater] if sheet.item == item)
    ranks = {(reply.letter, name): rank for rank, reply in enumerate(sheet.replies, 1) for name in DIMENSIONS}
    collection.store.save(rater, item, ranks)


def test_each_rater_has_a_secret_that_others_cannot_read(store):
    tokens = store.tokens()
    assert (
        list(tokens) == ["r1", "r2"]
        and len(set(tokens.values())) == 2
        and min(map(len, tokens.values())) >= 43
    )
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert store.rater(tokens["r2"]).name == "r2"
    assert store.rater("") is None and store.rater(tokens["r1"][:-1]) is None and store.rater("%") is None


def test_a_rating_said_twice_is_one_and_the_last_word_counts(store):
    store.save("r1", "q1", {("A", "Fluency"): 1})
    store.save("r1", "q1", {("A", "Fluency"): 1})
    store.save("r1", "q1", {("A", "Fluency"): 2, ("B", "Fluency"): 2})
    assert store.ranks("r1", "q1") == {("A", "Fluency"): 2, ("B", "Fluency"): 2}
    with sqlite3.connect(store.path) as db:
        assert db.execute("SELECT letter, rank, changes FROM rating ORDER BY letter").fetchall() == [
            ("A", 2, 1),
            ("B", 2, 0),
        ]
    assert store.ranks("r2", "q1") == store.ranks("r1", "q2") == {}


def test_only_whole_sheets_are_complete(store):
    part = dict(list(FULL.items())[:-1])
    store.save("r1", "q1", part)
    assert store.complete_items("r1") == set() and store.complete_ratings() == []
    assert store.counts() == {"complete": 0, "begun": 1, "untouched": 3}
    store.save("r1", "q1", FULL, visit="v", step=1, seconds=3.5)
    assert store.complete_items("r1") == {"q1"} and store.counts() == {
        "complete": 1,
        "begun": 0,
        "untouched": 3,
    }
    assert sorted(store.complete_ratings()) == sorted(
        ("r1", "q1", name, letter, rank, 3.5) for (letter, name), rank in FULL.items()
    )


@pytest.mark.parametrize(
    ("item", "ranks", "error"),
    [
        ("q1", {("C", "Fluency"): 1}, sqlite3.IntegrityError),
        ("q9", {("A", "Fluency"): 1}, sqlite3.IntegrityError),
        ("q1", {("A", "Warmth"): 1}, UserError),
        ("q1", {("A", "Fluency"): 0}, UserError),
    ],
)
def test_a_save_with_one_bad_rank_keeps_nothing(store, item, ranks, error):
    with pytest.raises(error):
        store.save("r1", item, {("B", "Suggestion"): 1} | ranks, visit="v", step=1, seconds=9)
    assert store.counts()["untouched"] == 4
    with sqlite3.connect(store.path) as db:
        assert db.execute("SELECT COUNT(*) FROM visit").fetchone() == (0,)


def test_a_save_that_was_overtaken_is_dropped(store):
    store.save("r1", "q1", FULL, visit="v", step=2, seconds=8)
    store.save("r1", "q1", {("A", "Fluency"): 2}, visit="v", step=1, seconds=4)
    assert store.ranks("r1", "q1")["A", "Fluency"] == 1 and store.complete_ratings()[0][-1] == 8
    store.save("r1", "q1", {("A", "Fluency"): 2}, visit="later", step=1, seconds=10 * LONGEST_SECONDS)
    assert (
        store.ranks("r1", "q1")["A", "Fluency"] == 2
        and store.complete_ratings()[0][-1] == 8 + LONGEST_SECONDS
    )


def test_consent_is_kept_and_stopping_can_be_taken_back(store):
    token = store.tokens()["r1"]
    seen = []
    for step in (lambda _: None, store.consent, store.stop, store.resume):
        step("r1")
        seen.append((store.rater(token).consented, store.rater(token).stopped))
    assert seen == [(False, False), (True, False), (True, True), (True, False)]


def test_what_one_rater_gave_can_be_deleted_and_nothing_else_is(store):
    for rater in ("r1", "r2"):
        store.consent(rater)
        store.save(rater, "q1", FULL, visit="v", step=1, seconds=8)
    tokens = store.tokens()
    assert store.forget("r1") == len(FULL) and store.forget("r1") == 0
    assert (
        store.tokens() == tokens
        and not store.rater(tokens["r1"]).consented
        and store.rater(tokens["r2"]).consented
    )
    assert {row[0] for row in store.complete_ratings()} == {"r2"} and store.counts() == {
        "complete": 1,
        "begun": 0,
        "untouched": 3,
    }
    store.save("r1", "q1", FULL)
    assert {row[-1] for row in store.complete_ratings() if row[0] == "r1"} == {0}, (
        "seconds of the deleted visit came back"
    )
    with pytest.raises(UserError, match="no rater 'r3'; it knows r1, r2"):
        store.forget("r3")


def test_the_same_study_goes_on_and_another_is_refused(store):
    store.save("r1", "q1", FULL)
    again = RatingStore(store.path, "this study", REPLIES)
    assert again.tokens() == store.tokens() and again.complete_items("r1") == {"q1"}
    with pytest.raises(UserError, match=r"ratings\.sqlite: holds ratings of another study"):
        RatingStore(store.path, "that study", REPLIES)


def test_a_file_that_is_no_rating_database_is_left_alone(tmp_path):
    text, foreign = tmp_path / "text.sqlite", tmp_path / "foreign.sqlite"
    text.write_text("not a database " * 99)
    with sqlite3.connect(foreign) as db:
        db.execute("CREATE TABLE mine (x)")
    for path, says in ((text, "not a database"), (foreign, "no rating database")):
        with pytest.raises(UserError, match=says):
            RatingStore(path, "this study", REPLIES)
    assert text.read_text().startswith("not a database")
    with pytest.raises(UserError, match="cannot be used as a rating database"):
        RatingStore(tmp_path / "no" / "folder.sqlite", "this study", REPLIES)


ITEMS = [f"q{n}" for n in range(12)]


def rate_in_a_process(path, rater, attempt):
    """Rate what is not complete, a dimension at a time; write down each save before it is tried and once it
    is acknowledged."""
    store = RatingStore(path, "this study", [])
    log = os.open(path.with_name(f"{rater}.log"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    done = store.complete_items(rater)
    for item in ITEMS:
        for dimension in DIMENSIONS if item not in done else ():
            ranks = {("A", dimension): attempt, ("B", dimension): attempt + 1}
            os.write(log, f"try {item} {dimension} {attempt}\n".encode())
            saved = False
            while not saved:
                # on a starved machine a save may be refused; the page tries again too
                with contextlib.suppress(sqlite3.OperationalError):
                    store.save(
                        rater,
                        item,
                        ranks,
                        visit=f"{item} {attempt}",
                        step=DIMENSIONS.index(dimension),
                        seconds=1.0,
                    )
                    saved = True
            os.write(log, f"ok {item} {dimension} {attempt}\n".encode())


def test_twenty_raters_at_once_with_random_kills_lose_nothing_and_double_nothing(tmp_path):
    path = tmp_path / "ratings.sqlite"
    raters = [f"r{n:02d}" for n in range(20)]
    RatingStore(
        path, "this study", [(rater, item, letter) for rater in raters for item in ITEMS for letter in "AB"]
    )
    start = multiprocessing.get_context("fork").Process
    choose, attempts, running, kills = random.Random(1), dict.fromkeys(raters, 0), {}, 0

    def begin(rater):
        attempts[rater] += 1
        running[rater] = start(target=rate_in_a_process, args=(path, rater, attempts[rater]))
        running[rater].start()

    for rater in raters:
        begin(rater)
    while running:
        time.sleep(0.003)
        if kills < 60 and (alive := [rater for rater in running if running[rater].is_alive()]):
            victim = choose.choice(alive)
            os.kill(running[victim].pid, signal.SIGKILL)
        for rater, process in list(running.items()):
            if process.is_alive():
                continue
            process.join()
            assert process.exitcode in (0, -signal.SIGKILL)
            del running[rater]
            if process.exitcode:
                kills += 1
                begin(rater)
    assert kills >= 20, "the raters were not killed often enough to show anything"

    store = RatingStore(path, "this study", [])
    rows = store.complete_ratings()
    assert len(rows) == len({row[:4] for row in rows}) == len(raters) * len(ITEMS) * len(DIMENSIONS) * 2
    kept = {row[:4]: row[4] for row in rows}
    for rater in raters:
        possible = {}
        for line in (tmp_path / f"{rater}.log").read_text().splitlines():
            word, item, dimension, attempt = line.split()
            before = possible.get((item, dimension), []) if word == "try" else []
            # what is acknowledged replaces all before; what is not may be kept
            possible[item, dimension] = [*before, int(attempt)]
        for (item, dimension), attempts_kept in possible.items():
            assert kept[rater, item, dimension, "A"] in attempts_kept
            assert kept[rater, item, dimension, "B"] == kept[rater, item, dimension, "A"] + 1, (
                "half a save was kept"
            )
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute(
            "SELECT MAX(seconds), COUNT(*) - COUNT(DISTINCT rater || item || id) FROM visit"
        ).fetchone() == (1.0, 0)


def call(monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", ["empathy_lib", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as exit:
        return exit.code or 0, *capsys.readouterr()
    raise AssertionError("the command line always exits")


def test_study_then_rate_then_export_then_rank(tmp_path, monkeypatch, capsys):
    """The whole way on the command line: two raters read with care, the third passes no attention check, the
    fourth does one sheet."""
    systems, items = ("grpo", "sft", "base"), [f"q{n}" for n in range(6)]
    lines = [
        {"id": item, "system": system, "completion": f"{system} says {item}"}
        for item in items
        for system in systems
    ]
    (tmp_path / "completions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "posts.jsonl").write_text(
        "".join(json.dumps({"id": item, "question": f"帖子 {item}"}) + "\n" for item in items)
    )
    folder, out, ranking = tmp_path / "研究 study", tmp_path / "ratings.csv", tmp_path / "ranking.json"
    posts, size = ("--posts", tmp_path / "posts.jsonl"), ("--raters", 4, "--items", 4, "--checks", 2)
    assert (
        call(monkeypatch, capsys, "study", tmp_path / "completions.jsonl", *posts, "--out", folder, *size)[0]
        == 0
    )

    collection, key = open_collection(folder), json.loads((folder / "key.json").read_text())
    places = {
        rater: [
            any(name.startswith(CHECK_PREFIX) for name in key[rater][sheet.item].values()) for sheet in own
        ]
        for rater, own in collection.sheets.items()
    }
    assert all(sum(checks) == 2 and len(checks) == 6 for checks in places.values())
    for rater, sheets in collection.sheets.items():
        for sheet in sheets[: 1 if rater == "rater-04" else None]:
            who = key[rater][sheet.item]
            for number, reply in enumerate(sheet.replies, 1):
                asked, careless = who[reply.letter].removeprefix(CHECK_PREFIX), rater == "rater-03"
                rank = (
                    {"first": 1, "last": 3}.get(asked, 2)
                    if asked != who[reply.letter] and not careless
                    else number
                )
                if who[reply.letter] in systems:
                    rank = 1 + systems.index(who[reply.letter])
                collection.store.save(
                    rater,
                    sheet.item,
                    {(reply.letter, name): rank for name in DIMENSIONS},
                    visit=f"v{number}",
                    step=1,
                    seconds=2.5,
                )
    collection.store.save("rater-04", collection.sheets["rater-04"][1].item, {("A", "Fluency"): 1})

    status, said, _ = call(monkeypatch, capsys, "rate", folder, "--export", out)
    assert (status, said) == (0, f"wrote {out}: 19 sheets; left out: 1 incomplete, 4 not begun\n")
    ratings = read_ratings(out)
    assert len(ratings) == 19 * 3 * len(DIMENSIONS) and set(ratings["seconds"]) == {7.5}
    for row in without_checks(ratings).itertuples():
        assert row.rank == 1 + systems.index(row.system)
    status, said, _ = call(monkeypatch, capsys, "rank", out, "--out", ranking)
    passed = count_passed(ratings)["passed"]
    assert passed["rater-01"] == passed["rater-02"] == 2 and passed["rater-03"] < 2
    assert status == 0 and f"attention checks passed: {passed.sum()} of 6" in said
    found = json.loads(ranking.read_text())
    assert (
        set(found["all"]) == {*systems, "pairwise", "groups"}
        and found["all"]["grpo"]["win_at_1"] == 1
        and found["Fluency"]["base"]["mean_rank"] == 3
    )

    assert call(monkeypatch, capsys, "rate", folder, "--forget", "rater-04")[:2] == (
        0,
        "deleted 13 ranks of rater-04; the link begins anew\n",
    )
    assert (
        "18 sheets; left out: 0 incomplete" in call(monkeypatch, capsys, "rate", folder, "--export", out)[1]
    )


def test_an_export_without_a_whole_sheet_writes_nothing(folder, tmp_path):
    collection = open_collection(folder)
    collection.store.save("rater-02", "q1", {("A", "Fluency"): 1})
    with pytest.raises(UserError, match=r"no sheet is complete yet \(1 begun\)"):
        export_ratings(collection, tmp_path / "ratings.csv")
    assert not (tmp_path / "ratings.csv").exists()


def test_another_study_in_the_folder_is_refused(folder, monkeypatch, capsys):
    open_collection(folder)
    study = folder / "study.jsonl"
    study.write_text(study.read_text().replace("帖子一", "帖子三"))
    status, _, said = call(monkeypatch, capsys, "rate", folder, "--export", folder / "x.csv")
    assert status == 2 and said.count("\n") == 1 and "holds ratings of another study" in said


def lines(folder):
    return (folder / "study.jsonl").read_text().splitlines()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            lambda folder: (folder / "study.jsonl").unlink(),
            "study.jsonl: no such file; a study is a folder with",
        ),
        (lambda folder: (folder / "key.json").unlink(), "key.json: no such file; a study is a folder with"),
        (lambda folder: (folder / "key.json").write_text("{}"), "use the key of the same study"),
        (lambda folder: (folder / "study.jsonl").write_text(""), "study.jsonl: the file is empty"),
        (
            lambda folder: (folder / "study.jsonl").write_text(
                lines(folder)[0] + "\n" + lines(folder)[1][:70]
            ),
            "line 2: not valid JSON",
        ),
        (
            lambda folder: (folder / "study.jsonl").write_text('{"rater": "rater-01"}'),
            "line 1: field 'position'",
        ),
        (
            lambda folder: (folder / "study.jsonl").write_text("\n".join(lines(folder)[:1] * 2)),
            "line 2: .* already in line 1",
        ),
        (
            lambda folder: (folder / "study.jsonl").write_text(lines(folder)[0].replace('"B"', '"A"')),
            "line 1: .* a letter is there twice",
        ),
    ],
)
def test_half_a_study_is_refused_before_anything_is_made(folder, spoil, says):
    spoil(folder)
    with pytest.raises(UserError, match=says):
        open_collection(folder)
    assert not (folder / "ratings.sqlite").exists()


def test_sheets_come_in_their_order_and_links_are_private(folder, tmp_path):
    study = folder / "study.jsonl"
    study.write_text("\n".join(reversed(lines(folder))))
    assert [[sheet.position for sheet in own] for own in read_sheets(folder).values()] == [[1, 2], [1, 2]]
    write_links({"rater-01": "http://localhost/?rater=x"}, tmp_path / "links.csv")
    assert (tmp_path / "links.csv").read_text() == "rater,link\nrater-01,http://localhost/?rater=x\n"
    assert stat.S_IMODE((tmp_path / "links.csv").stat().st_mode) == 0o600
