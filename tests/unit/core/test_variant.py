"""A finished run, copied for a variant."""

import os

import pytest

from empathy_lib.core.errors import UserError
from empathy_lib.core.run import RATINGS, Run
from empathy_lib.core.variant import copy_run


@pytest.fixture
def finished(tmp_path):
    run = Run.open("smoke", str(tmp_path / "原 run"))
    for name in ("01_dataset", "completions/sft", "06_human_eval"):
        with run.build(name, {"size": 1}) as stage:
            (stage.path / "data.txt").write_text(name)
    (run.path / "06_human_eval" / RATINGS).write_text("people")
    (run.path / "02_sft.building").mkdir()
    run.headline("01_dataset_construction", {"x": {"value": 1}})
    return run


def test_a_copy_costs_no_room_and_goes_its_own_way(finished, tmp_path):
    target = tmp_path / "变体"
    assert copy_run(finished.path, target) == ["01_dataset", "completions/sft"]
    assert os.path.samefile(finished.path / "01_dataset/data.txt", target / "01_dataset/data.txt")
    assert not (target / "06_human_eval").exists() and not (target / "02_sft.building").exists()
    copy = Run.open("smoke", str(target))
    with copy.build("01_dataset", {"size": 1}) as stage:
        assert stage.reused
    with copy.build("01_dataset", {"size": 2}) as stage:
        (stage.path / "data.txt").write_text("another")
    copy.headline("01_dataset_construction", {"x": {"value": 2}})
    assert (finished.path / "01_dataset/data.txt").read_text() == "01_dataset"
    assert '"value": 1' in (finished.path / "headline.json").read_text()
    assert copy_run(finished.path, target) == [], "the same command again goes on with what is there"
    assert (target / "01_dataset/data.txt").read_text() == "another"


def test_a_copy_cut_short_is_begun_anew(finished, tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        copy_run(finished.path, tmp_path / "copy")
    monkeypatch.undo()
    assert not (tmp_path / "copy").exists()
    assert copy_run(finished.path, tmp_path / "copy") == ["01_dataset", "completions/sft"]


def test_another_file_system_gets_copies(finished, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    copy_run(finished.path, tmp_path / "copy")
    assert (tmp_path / "copy/01_dataset/data.txt").read_text() == "01_dataset"


def test_nothing_is_overwritten_and_nothing_to_copy_is_said(finished, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    with pytest.raises(UserError, match="is there and no copy of"):
        copy_run(finished.path, tmp_path / "full")
    with pytest.raises(UserError, match="holds no finished stage"):
        copy_run(tmp_path / "full", tmp_path / "other")
