"""The driver on throw-away notebooks in a folder with a space and Chinese characters: progress, failures,
resuming, kills."""

import importlib.metadata
import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import nbformat
import pytest
from rich.console import Console

from empathy_lib.app import reproduce as driver
from empathy_lib.core.errors import UserError
from empathy_lib.core.run import Run

PARAMETERS = "profile = 'smoke'\nrun_dir = ''\noverrides = {}"


def notebook(path: Path, *cells: str) -> Path:
    made = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    made.cells = [nbformat.v4.new_markdown_cell("# Title"), nbformat.v4.new_code_cell(PARAMETERS)]
    made.cells[1].metadata["tags"] = ["parameters"]
    made.cells += [nbformat.v4.new_code_cell(cell) for cell in cells]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(made, path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "空格 与 {中文}"


def plan(folder: Path, notebooks: list[Path], **request) -> driver.Plan:
    return driver.check(driver.Request("smoke", run_dir=str(folder / "run"), **request), notebooks)


def run(made: driver.Plan) -> str:
    """Output of a run on something that is no terminal; failures pass through."""
    stream = io.StringIO()
    try:
        driver.reproduce(made, Console(file=stream, width=60))
    finally:
        run.output = stream.getvalue()
    return run.output


def test_executes_in_order_and_hands_over_the_parameters(folder: Path):
    write = (
        "import json, pathlib\npathlib.Path(run_dir, '{}.json').write_text(json.dumps([profile, run_dir, "
        "overrides]))"
    )
    notebooks = [notebook(folder / f"0{i}_part.ipynb", write.format(i)) for i in (1, 2)]
    made = plan(folder, notebooks, last="02", assignments=("grpo.max_steps=3", "base_model.source=org/name"))
    output = run(made)
    expected = ["smoke", str(folder / "run"), {"grpo.max_steps": 3, "base_model.source": "org/name"}]
    assert [json.loads((folder / "run" / f"{i}.json").read_text()) for i in (1, 2)] == [expected, expected]
    assert sorted(path.name for path in made.executed.iterdir()) == ["01_part.ipynb", "02_part.ipynb"]
    assert nbformat.read(made.executed / "01_part.ipynb", 4).metadata.papermill.parameters.profile == "smoke"
    lines = output.splitlines()
    assert lines[1] == "01_part: started, 0:00:00" and lines[2].startswith("01_part: done, 3 cells, 0:00:0")
    assert lines[3].startswith("02_part: started")


def test_progress_is_live_on_a_terminal():
    stream = io.StringIO()
    progress = driver.ProgressLines(Console(file=stream, force_terminal=True, width=100))
    with progress.live:
        progress.start("03_reward_model", 4)
        progress.cell(cell=None, cell_index=2)
        progress.cell(cell=None, cell_index=3)
        progress.live.refresh()
        assert "cell 2/4" in stream.getvalue()
        progress.end("failed")
    assert "failed, cell 2/4" in stream.getvalue() and "03_reward_model" in stream.getvalue()


def test_a_failing_cell_stops_the_run_and_the_printed_command_resumes(folder: Path):
    switch = folder / "fixed"
    first = notebook(
        folder / "01_a.ipynb",
        "import pathlib\np = pathlib.Path(run_dir, 'count')\np.write_text(p.read_text() + 'a' if p.exists() "
        "else 'a')",
    )
    second = notebook(
        folder / "02_b.ipynb",
        f"import pathlib\nif not pathlib.Path({str(switch)!r}).exists():\n    raise ValueError('no "
        f"猫\\nhere')",
    )
    third = notebook(folder / "03_c.ipynb", "import pathlib\npathlib.Path(run_dir, 'third').touch()")
    notebooks = [first, second, third]
    made = plan(folder, notebooks, last="03", assignments=("sft.tuning=lora",))
    with pytest.raises(driver.NotebookFailed, match=r"02_b\.ipynb, In \[3\]: ValueError: no 猫\nhere"):
        run(made)
    assert not (folder / "run" / "third").exists()
    assert f"executed up to the failing cell: {made.executed / '02_b.ipynb'}" in run.output
    assert "02_b: failed, cell 3/3, 0:00:0" in run.output
    failed = nbformat.read(made.executed / "02_b.ipynb", 4)
    assert any(
        output.get("evalue") == "no 猫\nhere" for cell in failed.cells for output in cell.get("outputs", [])
    )
    words = shlex.split(run.output.split("resume with: ")[1])
    assert words[1:5] == ["-m", "empathy_lib", "reproduce", "--profile"]
    options = dict(zip(words[4::2], words[5::2], strict=True))
    expected = {
        "--profile": "smoke",
        "--run-dir": str(folder / "run"),
        "--set": "sft.tuning=lora",
        "--from": "02",
        "--to": "03",
    }
    assert options == expected

    switch.touch()
    (folder / "run" / "01_dataset").mkdir()
    (folder / "run" / "01_dataset" / "manifest.json").write_text("{}")
    run(
        plan(
            folder, notebooks, first=options["--from"], last=options["--to"], assignments=(options["--set"],)
        )
    )
    assert (folder / "run" / "count").read_text() == "a" and (folder / "run" / "third").exists()
    assert not any(cell.get("outputs") for cell in nbformat.read(made.executed / "02_b.ipynb", 4).cells)


def test_a_stage_that_is_read_and_not_there_names_the_command_that_makes_it(folder: Path):
    notebooks = [notebook(folder / f"0{i}_x.ipynb") for i in range(1, 7)]
    data = folder / "我的 data.json"
    data.write_text(json.dumps([{"question": "为什么", "answers": [{"answer_text": "答"}]}]), "utf-8")
    fields = {"first": "04", "last": "05", "assignments": ("grpo.max_steps=3",), "data": str(data)}
    for stage in ("01_dataset", "02_sft", "03_reward"):
        with pytest.raises(UserError) as caught:
            plan(folder, notebooks, **fields)
        assert str(caught.value).startswith(f"--from 04: {folder / 'run'} has no finished stage {stage}, ")
        words = shlex.split(str(caught.value).split("run: ", 1)[1])
        assert dict(zip(words[4::2], words[5::2], strict=True)) == {
            "--profile": "smoke",
            "--run-dir": str(folder / "run"),
            "--set": "grpo.max_steps=3",
            "--data": str(data),
            "--from": stage[:2],
            "--to": "05",
        }
        (folder / "run" / stage).mkdir()
        (folder / "run" / stage / "manifest.json").write_text("{}")
    assert len(plan(folder, notebooks, **fields).notebooks) == 2
    assert len(plan(folder, notebooks, **fields | {"first": "02"}).notebooks) == 4
    with pytest.raises(UserError, match="has no finished stage 05_metrics, which it reads; run: "):
        plan(folder, notebooks, **fields | {"first": "06", "last": "06"})


def test_a_user_error_in_a_cell_is_its_message_only(folder: Path):
    broken = notebook(
        folder / "01_a.ipynb",
        "from empathy_lib.core.errors import UserError\nraise UserError('data.json, record 3: field x is "
        "empty; fill it')",
    )
    with pytest.raises(UserError) as caught:
        run(plan(folder, [broken], last="01"))
    assert str(caught.value) == "data.json, record 3: field x is empty; fill it"
    assert "resume with: " in run.output and "Traceback" not in run.output


def test_a_dead_kernel_is_named(folder: Path):
    with pytest.raises(driver.NotebookFailed, match=r"01_a\.ipynb: .*[Kk]ernel died.*out of memory"):
        run(plan(folder, [notebook(folder / "01_a.ipynb", "import os\nos._exit(1)")], last="01"))


DRIVE = """
import sys
from functools import partial
from pathlib import Path
from rich.console import Console
from empathy_lib.app import reproduce as driver
try:
    driver.reproduce(driver.check(driver.Request("smoke", last="01", run_dir=sys.argv[1]), \
[Path(sys.argv[2])]), Console())
except KeyboardInterrupt:
    sys.exit(130)
"""
SLOW = """
import os, pathlib, time
pathlib.Path(run_dir, "kernel.pid").write_text(str(os.getpid()))
if not pathlib.Path(run_dir, "again").exists():
    time.sleep(120)
"""


@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGKILL])
def test_kill_ends_the_kernel_and_the_same_command_finishes(folder: Path, kill: signal.Signals):
    slow = notebook(folder / "01_slow.ipynb", SLOW)
    command = [sys.executable, "-c", DRIVE, str(folder / "run"), str(slow)]
    # a shell's background job is born ignoring it
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", preexec_fn=heed
    )
    pid_file, executed = folder / "run" / "kernel.pid", folder / "run" / "notebooks" / "01_slow.ipynb"
    wait_for(lambda: pid_file.exists() and pid_file.read_text(), 60)
    process.send_signal(kill)
    output, _ = process.communicate(timeout=300)
    if kill is signal.SIGINT:
        assert process.returncode == 130, output
        assert "01_slow: interrupted, cell 3/3" in output and "resume with: " in output
    wait_for(lambda: not alive(int(pid_file.read_text())), 30)
    assert not executed.exists()
    (folder / "run" / "again").touch()
    run(plan(folder, [slow], last="01"))
    assert [path.name for path in executed.parent.iterdir()] == ["01_slow.ipynb"]


def wait_for(condition, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and only waits to be reaped does not."""
    try:
        os.kill(pid, 0)
        return (
            Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
            if Path("/proc/self").exists()
            else True
        )
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.parametrize(
    ("request_fields", "message"),
    [
        ({"profile": "tiny"}, "unknown profile 'tiny'"),
        ({"assignments": ("grpo.max_step=2",)}, "did you mean 'grpo.max_steps'"),
        ({"assignments": ("grpo.max_steps=many",)}, "grpo.max_steps=many"),
        ({"first": "07"}, "--from 07: no such notebook; use one of 01, 02, 03, 04, 05, 06"),
        ({"first": "03", "last": "02"}, "--from must not come after --to"),
        ({"last": "05", "publish": True}, "--publish needs a complete run"),
        ({"data": "nowhere.json"}, "nowhere.json: no such file"),
        ({"data": "hf:two words"}, "data two words: no folder and no hub id"),
        ({"base_model": "./nowhere"}, "base model ./nowhere: no such folder"),
        ({"base_model": "two words"}, "no folder and no hub id"),
        ({"assignments": ("human_eval.ratings=nowhere.csv",)}, "nowhere.csv: no such file"),
    ],
)
def test_bad_requests_are_refused_before_a_kernel_starts(
    tmp_path: Path, request_fields: dict, message: str, monkeypatch
):
    notebooks = [notebook(tmp_path / "notebooks" / f"0{i}_x.ipynb") for i in range(1, 7)]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        driver.check(
            driver.Request(**{"profile": "smoke", "run_dir": str(tmp_path / "run"), **request_fields}),
            notebooks,
        )
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_missing_wheel_is_refused_before_a_kernel_starts(folder: Path, monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    with (
        monkeypatch.context() as patch,
        pytest.raises(UserError, match="is not installed; remedy: pip install"),
    ):
        patch.setattr(importlib.metadata, "distribution", absent)
        plan(folder, [notebook(folder / "01_x.ipynb")], last="01")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ("[{", "line 1: .* not valid JSON"),
        ("{}", "unknown layout"),
        ('[{"a": 1}]', "record 1: .* unknown layout"),
    ],
)
def test_bad_data_is_refused_with_file_and_remedy(tmp_path: Path, content: str, message: str):
    data = tmp_path / "数据 file.json"
    data.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        plan(tmp_path, [notebook(tmp_path / "01_x.ipynb")], last="01", data=str(data))
    assert str(data) in str(caught.value)


def test_a_hub_dataset_is_left_to_notebook_01(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("EMPATHY_RUNS", str(tmp_path))
    made = driver.check(
        driver.Request("smoke", last="01", data="hf:owner/posts"), [notebook(tmp_path / "01_x.ipynb")]
    )
    assert made.overrides["dataset.data"] == "hf:owner/posts" and made.run_dir == tmp_path / "smoke-posts"


def test_run_folder_that_is_a_file_is_refused(tmp_path: Path):
    (tmp_path / "run").touch()
    with pytest.raises(UserError, match=r"run folder .*--run-dir"):
        plan(tmp_path, [notebook(tmp_path / "01_x.ipynb")], last="01")


def test_relative_paths_become_absolute_and_are_repeated_on_resume(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my data.json").write_text(
        json.dumps([{"question": "为什么", "answers": [{"answer_text": "答"}]}]), encoding="utf-8"
    )
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text("{}")
    request = driver.Request("smoke", data="my data.json", base_model="base", run_dir="run", publish=True)
    made = driver.check(request, [notebook(tmp_path / f"0{i}_x.ipynb") for i in range(1, 7)])
    assert made.overrides == {
        "dataset.data": str(tmp_path / "my data.json"),
        "base_model.source": str(tmp_path / "base"),
    }
    assert made.run_dir == tmp_path / "run"
    words = shlex.split(made.command("04"))
    assert [
        words[i + 1]
        for i, word in enumerate(words)
        if word in ("--data", "--base-model", "--run-dir", "--from")
    ] == [str(tmp_path / "run"), str(tmp_path / "base"), str(tmp_path / "my data.json"), "04"]
    assert words[-1] == "--publish" and "--to" not in words


def test_a_variant_begins_with_a_finished_run_and_a_stage_is_rebuilt_on_request(tmp_path: Path):
    whole = Run.open("smoke", str(tmp_path / "whole"))
    for name in ("01_dataset", "02_sft"):
        with whole.build(name, {"size": 1}) as stage:
            (stage.path / "data.txt").write_text(name)
    asked = {"from_run": str(whole.path), "run_dir": str(tmp_path / "variant"), "rebuild": ("02",)}
    books = [notebook(tmp_path / f"0{i}_x.ipynb") for i in range(1, 7)]
    made = driver.check(driver.Request("smoke", **asked), books)
    assert Run(whole.profile, made.run_dir).stages() == ["01_dataset"] and len(whole.stages()) == 2
    assert "--rebuild" not in made.command("03"), "going on does not begin anew"
    with pytest.raises(UserError, match="name that with --run-dir"):
        driver.check(driver.Request("smoke", from_run=str(whole.path)), books)
    with pytest.raises(UserError, match="rebuild '7': no such stage"):
        driver.check(driver.Request("smoke", run_dir=str(whole.path), rebuild=("7",)), books)


def test_kernel_of_another_environment_is_named(tmp_path: Path, monkeypatch):
    assert driver.kernel_problem() == ""
    fake = tmp_path / "bin" / "python"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho /somewhere/else\n")
    fake.chmod(0o755)
    kernel = tmp_path / "jupyter" / "kernels" / "elsewhere"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(
        json.dumps({"argv": [str(fake), "-m", "x"], "display_name": "x", "language": "python"})
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    assert "not this environment" in driver.kernel_problem("elsewhere")
    assert "is not installed; remedy: " in driver.kernel_problem("absent")
