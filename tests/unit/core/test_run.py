import json
import os
import shlex
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from empathy_lib.core import run as artefacts
from empathy_lib.core.config import parse_assignments
from empathy_lib.core.errors import UserError
from empathy_lib.core.files import read_json, write_json
from empathy_lib.core.run import MANIFEST, RATINGS, Run, generator, peak_gib

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@pytest.fixture
def run(tmp_path):
    return Run.open("smoke", str(tmp_path))


def build(run, name="01_dataset", config=None, inputs=(), content="x", made_of=None):
    """Build a one-file stage; return whether it was reused."""
    with run.build(name, config or {"size": 1}, inputs, made_of) as stage:
        if not stage.reused:
            (stage.path / "data.txt").write_text(content)
    return stage.reused


def data(run, name="01_dataset"):
    return (run.stage(name) / "data.txt").read_text()


def test_a_stage_is_whole_only_after_its_build(run):
    with run.build("01_dataset", {"size": 1}) as stage:
        (stage.path / "data.txt").write_text("x")
        with pytest.raises(UserError, match="stage 01 is not finished"):
            run.stage("01_dataset")
    assert stage.path == run.stage("01_dataset") and data(run) == "x"
    assert not (run.path / "01_dataset.building").exists()


def test_the_manifest_tells_how_it_was_made(run):
    build(run)
    manifest = read_json(run.stage("01_dataset") / MANIFEST)
    assert (
        manifest["stage"] == "01_dataset"
        and manifest["config"] == {"size": 1}
        and manifest["seed"] == run.profile.seed
    )
    assert manifest["inputs"] == []
    assert manifest["versions"]["numpy"] == np.__version__
    assert 0 <= manifest["wall_minutes"] < 1 and 0 < manifest["peak_gib"] < 100
    assert manifest["request"] == run.request("01_dataset", {"size": 1}, [])


@pytest.mark.parametrize(("while_built", "later", "most"), [(5.0, 3.0, 5.0), (5.0, 8.5, 8.5)])
def test_the_peak_of_a_notebook_is_counted_to_its_end(run, monkeypatch, while_built, later, most):
    monkeypatch.setattr(artefacts, "peak_gib", lambda: while_built)
    build(run)
    monkeypatch.setattr(artefacts, "peak_gib", lambda: later)
    assert (
        run.cost("01_dataset_construction", "01_dataset")["peak_gib.01_dataset_construction"]["value"] == most
    )


def test_ratings_of_people_are_never_deleted_by_a_new_build(run):
    build(run, content="old")
    kept = run.stage("01_dataset") / RATINGS
    kept.write_text("hours of work")
    assert build(run) is True
    with pytest.raises(UserError, match="move the folder out of the run first"):
        build(run, config={"size": 2}, content="new")
    assert kept.read_text() == "hours of work" and data(run) == "old"
    kept.parent.rename(run.path / "moved")
    # the build that was refused its place
    assert build(run, config={"size": 2}) is True and data(run) == "new"


def test_an_identical_request_is_reused(run):
    assert build(run, content="first") is False
    with run.build("01_dataset", {"size": 1}) as stage:
        assert stage.reused and stage.path == run.stage("01_dataset")
    assert build(run, content="second") is True and data(run) == "first"


def test_another_config_seed_content_or_input_rebuilds_and_another_version_does_not(run, monkeypatch):
    build(run)
    assert build(run, config={"size": 2}, content="y") is False and data(run) == "y"
    run.profile.seed += 1
    assert build(run, config={"size": 2}) is False
    monkeypatch.setattr(artefacts, "__version__", "999")
    assert build(run, config={"size": 2}) is True
    assert build(run, config={"size": 2}, made_of={"pairs": [{"id": "a"}]}) is False
    assert build(run, config={"size": 2}, made_of={"pairs": [{"id": "a"}]}) is True
    assert build(run, config={"size": 2}, made_of={"pairs": []}) is False

    assert build(run, "02_sft", inputs=["01_dataset"]) is False
    assert build(run, "02_sft", inputs=["01_dataset"]) is True
    build(run, config={"size": 3}, content="z")
    assert build(run, "02_sft", inputs=["01_dataset"]) is False, "its input holds something else"


def test_a_child_follows_what_its_parent_holds_not_how_it_was_asked_for(run):
    def chain(size, content="x"):
        return [
            build(run, config={"size": size}, content=content),
            build(run, "02_sft", inputs=["01_dataset"], content=content),
            build(run, "04_grpo", inputs=["02_sft"]),
        ]

    assert chain(1) == [False] * 3
    assert chain(1) == [True] * 3
    assert chain(2) == [False, True, True], "the same bytes by another request"
    assert chain(3, "y") == [False] * 3, "other bytes, two stages up"


def test_logs_and_accounts_are_no_part_of_what_a_stage_is(run):
    def parent(log, more):
        with run.build("02_sft", {"run": log}) as stage:
            (stage.path / "log.jsonl").write_text(log)
            (stage.path / "weights.txt").write_text(more)
        return run.manifest("02_sft")["identity"]

    assert parent("took 3 s", "w") == parent("took 4 s", "w") != parent("took 5 s", "v")


def test_every_build_and_reuse_is_said_in_one_line(run, capsys, monkeypatch):
    build(run, made_of={"pairs": [1, 2, 3]})
    assert capsys.readouterr().out.startswith("01_dataset: built in 0.0 min, peak ")
    build(run, made_of={"pairs": [1, 2, 3]})
    line = capsys.readouterr().out
    assert line.count("\n") == 1 and "reused, as built 20" in line and "reproduce --rebuild 01" in line
    assert "code has changed" not in line
    assert run.manifest("01_dataset")["content"]["pairs"]["n"] == 3
    monkeypatch.setattr(artefacts, "code_digest", lambda package: "other")
    assert build(run, made_of={"pairs": [1, 2, 3]}) is True
    assert "the library's code has changed since" in capsys.readouterr().out


def test_a_stage_is_built_anew_when_asked_to(run, tmp_path):
    build(run)
    build(run, "02_sft", inputs=["01_dataset"])
    build(run, "completions/sft", inputs=["02_sft"])
    again = Run.open("smoke", str(tmp_path), rebuild=["02"])
    assert again.stages() == ["01_dataset", "completions/sft"]
    assert build(again, "02_sft", inputs=["01_dataset"]) is False
    assert build(again, "completions/sft", inputs=["02_sft"]) is True, "the same policy came out"
    assert build(Run.open("smoke", str(tmp_path), rebuild=["06"])) is True
    with pytest.raises(UserError, match=r"rebuild '2_sft': no such stage; use a number from 01 to 06"):
        Run.open("smoke", str(tmp_path), rebuild=["2_sft"])
    (run.path / "01_dataset" / RATINGS).write_text("hours of work")
    with pytest.raises(UserError, match="would delete what people rated"):
        run.discard(["01"])
    assert "01_dataset" in run.stages()


def test_a_relative_run_folder_means_the_same_from_root_and_notebooks(monkeypatch, tmp_path):
    monkeypatch.chdir(artefacts.ROOT)
    here = artefacts.resolve_run_dir("runs/x y")
    monkeypatch.chdir(artefacts.ROOT / "notebooks")
    assert artefacts.resolve_run_dir("runs/x y") == here == artefacts.ROOT / "runs" / "x y"
    monkeypatch.chdir(tmp_path)
    assert artefacts.resolve_run_dir("x") == tmp_path / "x"


def test_a_rebuild_leaves_nothing_of_the_old_one(run):
    with run.build("01_dataset", {"size": 1}) as stage:
        (stage.path / "old.txt").write_text("old")
    build(run, config={"size": 2})
    assert sorted(path.name for path in run.stage("01_dataset").iterdir()) == ["data.txt", MANIFEST]


def test_a_missing_input_is_named_with_the_whole_command(tmp_path):
    run = Run.open(
        "smoke", str(tmp_path / "空 格"), {"dataset.questions": 80, "dataset.data": "我的 帖子.json"}
    )
    with pytest.raises(UserError, match="run notebook 01 first, or: python -m empathy_lib") as caught:
        build(run, "02_sft", inputs=["01_dataset"])
    words = shlex.split(str(caught.value).partition("or: ")[2])
    assert words[4:8] == ["--profile", "smoke", "--run-dir", str(run.path)] and words[-2:] == ["--from", "01"]
    given = parse_assignments([words[i + 1] for i, word in enumerate(words) if word == "--set"])
    assert given == run.overrides
    assert not (run.path / "02_sft").exists()


def test_a_failed_build_keeps_the_last_whole_one_and_its_checkpoints(run):
    build(run, content="whole")
    with pytest.raises(RuntimeError), run.build("01_dataset", {"size": 2}) as stage:
        (stage.path / "checkpoint").write_text("half")
        raise RuntimeError
    assert data(run) == "whole", "the old folder stands until the new one is whole"
    with pytest.raises(RuntimeError), run.build("01_dataset", {"size": 2}) as stage:
        assert not stage.reused and (stage.path / "checkpoint").read_text() == "half", (
            "the same request resumes"
        )
        raise RuntimeError
    with run.build("01_dataset", {"size": 3}) as stage:
        assert not (stage.path / "checkpoint").exists(), "another request starts afresh"


KILLED = """
import os, signal, shutil, sys
from empathy_lib.core import run as artefacts
from empathy_lib.core.run import Run
run = Run.open("smoke", sys.argv[1])
if sys.argv[2] == "while replacing":
    def half_removed(folder):
        (folder / "data.txt").unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    artefacts.shutil.rmtree = half_removed
if sys.argv[2] == "before the rename":
    artefacts.os.replace = lambda source, target: (
        os.kill(os.getpid(), signal.SIGKILL) if str(target).endswith("01_dataset") else \
os.rename(source, target)
    )
with run.build("01_dataset", {"size": 2}) as stage:
    (stage.path / "data.txt").write_text("half")
    if sys.argv[2] == "while building":
        os.kill(os.getpid(), signal.SIGKILL)
    (stage.path / "data.txt").write_text("new")
"""


@pytest.mark.parametrize(
    ("when", "before"),
    [
        ("while building", False),
        ("while building", True),
        ("while replacing", True),
        ("before the rename", False),
        ("before the rename", True),
    ],
)
def test_a_killed_build_is_never_taken_for_whole(run, when, before):
    if before:
        build(run, content="old")
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(run.path), when],
        cwd=artefacts.ROOT,
        capture_output=True,
    )
    assert killed.returncode == -9, killed.stderr.decode()
    try:
        assert data(run) == "old" and before and when == "while building"
    except UserError as error:
        assert "not finished" in str(error)
    # killed after its manifest, a stage was finished: it is put in place, not made again
    finished = when != "while building"
    assert build(run, config={"size": 2}, content="made again") is finished
    assert data(run) == ("new" if finished else "made again")
    assert not list((run.path / "01_dataset").glob("request.*"))
    assert build(run, config={"size": 1}, content="again") is False and data(run) == "again"


def test_json_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_json(path, {"a": "你"})
    assert read_json(path) == {"a": "你"} and "你" in path.read_text(encoding="utf-8")

    def refuse(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        write_json(path, {"a": 2})
    assert read_json(path) == {"a": "你"}


@settings(max_examples=40)
@given(JSON)
def test_json_round_trip(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("json") / "a.json"
    write_json(path, value)
    assert read_json(path) == value
    assert [file.name for file in path.parent.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    ("content", "says"),
    [(b'{"a":\n1,}', "line 2: not valid JSON"), (b"", "line 1: not valid"), (b"\xff", "not UTF-8")],
)
def test_broken_json_is_named(tmp_path, content, says):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_json(path)
    assert str(path) in str(error.value) and says in str(error.value)


def test_missing_json_is_named(tmp_path):
    with pytest.raises(UserError, match="no such file; run the notebook"):
        read_json(tmp_path / "none.json")


def test_headlines_merge_by_notebook(run):
    run.headline(
        "05_automatic_metrics",
        {"b": {"value": 1.0, "interval": [0, 2], "n": 9, "unit": "share"}, "a": {"value": 2}},
    )
    run.headline("06_human_eval", {"c": {"value": 3}})
    known = read_json(run.path / "headline.json")
    assert list(known) == ["a", "b", "c"]
    assert known["b"] == {
        "value": 1.0,
        "interval": [0, 2],
        "n": 9,
        "unit": "share",
        "notebook": "05_automatic_metrics",
    }
    assert known["a"] == {
        "value": 2,
        "interval": None,
        "n": None,
        "unit": "",
        "notebook": "05_automatic_metrics",
    }
    run.headline("05_automatic_metrics", {"b": {"value": 5}})
    known = read_json(run.path / "headline.json")
    assert set(known) == {"b", "c"}, "what a notebook no longer says is gone; the others' figures stay"
    assert known["b"]["value"] == 5 and known["b"]["n"] is None


@given(st.integers(0, 2**32), st.text(max_size=10), st.text(max_size=10))
def test_generators_depend_on_seed_and_purpose_alone(seed, one, other):
    draw = lambda *key: generator(*key).integers(2**62, size=2).tolist()  # noqa: E731
    assert draw(seed, one) == draw(seed, one)
    assert (draw(seed, one) == draw(seed, other)) == (one == other)
    assert draw(seed, one) != draw(seed + 1, one)


def test_run_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EMPATHY_RUNS", str(tmp_path / "elsewhere"))
    assert Run.open("smoke").path == tmp_path / "elsewhere" / "smoke"
    opened = Run.open("smoke", str(tmp_path / "mine"), {"seed": 5})
    assert opened.path == tmp_path / "mine" and opened.path.is_dir() and opened.profile.seed == 5
    assert opened.rng("x").random() == generator(5, "x").random()
    with pytest.raises(UserError, match="unknown profile"):
        Run.open("huge")


@pytest.mark.parametrize(("platform", "peak"), [("linux", 2**20), ("darwin", 2**30)])  # KiB, and bytes
def test_peak_memory_is_in_gib_on_each_platform_and_adds_the_gpu(monkeypatch, platform, peak):
    monkeypatch.setattr(artefacts.resource, "getrusage", lambda _: SimpleNamespace(ru_maxrss=peak))
    monkeypatch.setattr(artefacts.sys, "platform", platform)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert peak_gib() == 1
    for there, total in [(False, 1), (True, 3)]:
        cuda = SimpleNamespace(is_available=lambda there=there: there, max_memory_allocated=lambda: 2 * 2**30)
        monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
        assert peak_gib() == total


def test_manifest_is_plain_json(run):
    build(run)
    json.loads(
        (run.stage("01_dataset") / MANIFEST).read_text(),
        parse_constant=lambda token: pytest.fail(f"{token} is no JSON"),
    )


def test_a_stage_is_current_until_one_that_it_reads_holds_something_else(run):
    build(run)
    build(run, "completions/sft", {"greedy": True}, ["01_dataset"], made_of={"questions": ["a"]})
    assert run.is_current("completions/sft") and not run.is_current("02_sft")
    build(run, config={"size": 2}, content="x")
    assert run.is_current("completions/sft"), "asked for otherwise, but the same"
    build(run, content="another")
    assert not run.is_current("completions/sft")
    run.discard(["01_dataset"])
    assert not run.is_current("completions/sft")
