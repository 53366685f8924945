"""tests/verify.py: what counts as the same run, as a near one, and as another."""

import json
import runpy
import shutil

import nbformat
import pytest
import torch
from safetensors.torch import save_file

from empathy_lib.core.run import ROOT

table = runpy.run_path(str(ROOT / "tests" / "verify.py"))["table"]


@pytest.fixture
def runs(tmp_path):
    first = tmp_path / "first"
    for folder in ("02_sft", "notebooks"):
        (first / folder).mkdir(parents=True)
    (first / "02_sft/manifest.json").write_text('{"built": "today"}')
    (first / "02_sft/log.jsonl").write_text('{"step": 1, "loss": 2.0, "step_time": 1.5}\n')
    (first / "02_sft/texts.jsonl").write_text('{"completion": "抱抱你"}\n', encoding="utf-8")
    save_file({"w": torch.ones(4)}, first / "02_sft/model.safetensors")
    cell = nbformat.v4.new_code_cell("# NBVAL_CHECK_OUTPUT\nprint(1)")
    cell.outputs = [nbformat.v4.new_output("stream", text="1\n")]
    cell.id = "checked"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), first / "notebooks/02_coe_sft.ipynb")
    shutil.copytree(first, tmp_path / "again")
    return first, tmp_path / "again"


def row(found, name="again"):
    return found[name].to_dict()


def test_times_and_manifests_are_no_difference(runs):
    (runs[1] / "02_sft/manifest.json").write_text('{"built": "tomorrow"}')
    (runs[1] / "02_sft/log.jsonl").write_text('{"step": 1, "loss": 2.0, "step_time": 9}\n')
    found, faults = table(runs[0], {"again": runs[1]})
    assert row(found) == {"02_sft": "3 identical", "checked cells": "1 of 1 identical"}
    assert faults == []


def test_numbers_and_weights_within_the_tolerance_are_near_and_no_fault_of_another_number_of_threads(runs):
    (runs[1] / "02_sft/log.jsonl").write_text('{"step": 1, "loss": 2.001, "step_time": 1.5}\n')
    save_file({"w": torch.ones(4) * 1.0005}, runs[1] / "02_sft/model.safetensors")
    found, faults = table(runs[0], {"one thread": runs[1]})
    assert row(found, "one thread")["02_sft"] == "1 identical, 2 near"
    assert faults == []
    assert len(table(runs[0], {"again": runs[1]})[1]) == 2


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("log.jsonl", '{"step": 1, "loss": 2.1, "step_time": 1.5}\n'),
        ("texts.jsonl", '{"completion": "你好"}\n'),
    ],
)
def test_another_number_or_text_is_different(runs, file, text):
    (runs[1] / "02_sft" / file).write_text(text, encoding="utf-8")
    found, _ = table(runs[0], {"one thread": runs[1]})
    assert row(found, "one thread")["02_sft"] == "2 identical, 1 different"


def test_other_weights_are_different(runs):
    save_file({"w": torch.ones(4) * 1.1}, runs[1] / "02_sft/model.safetensors")
    assert "1 different" in row(table(runs[0], {"a": runs[1]})[0], "a")["02_sft"]


def test_pieces_of_a_stream_and_warnings_are_no_difference(runs):
    path = runs[1] / "notebooks/02_coe_sft.ipynb"
    notebook = nbformat.read(path, as_version=4)
    pieces = [nbformat.v4.new_output("stream", text=text) for text in ("1", "\n")]
    warned = nbformat.v4.new_output("stream", name="stderr", text="loading took 0.3 seconds")
    notebook.cells[0].outputs = [warned, *pieces]
    nbformat.write(notebook, path)
    assert table(runs[0], {"again": runs[1]})[1] == []


def test_a_missing_file_and_a_changed_checked_cell_are_faults_of_any_run(runs):
    (runs[1] / "02_sft/texts.jsonl").unlink()
    path = runs[1] / "notebooks/02_coe_sft.ipynb"
    path.write_text(json.dumps(json.loads(path.read_text())).replace('"1\\n"', '"2\\n"'))
    found, faults = table(runs[0], {"one thread": runs[1]})
    assert row(found, "one thread")["checked cells"] == "0 of 1 identical"
    assert len(faults) == 2 and "texts.jsonl" in faults[0] and "02_coe_sft checked" in faults[1]
