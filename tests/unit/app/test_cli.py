"""The command line: exit statuses, one line for the user's faults, profiles as YAML; the doctor's checks;
what is published."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml
from rich.console import Console

from empathy_lib.app import cli, doctor, report, results
from empathy_lib.app import reproduce as driver
from empathy_lib.core.config import PROFILES, DatasetConfig, field_names, load_profile
from empathy_lib.core.errors import UserError
from empathy_lib.core.run import NOTEBOOKS, ROOT
from empathy_lib.core.schema import read_jsonl
from empathy_lib.dataset.build import build_dataset
from empathy_lib.metrics.registry import METRICS


def call(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of the command line, in this process."""
    monkeypatch.setattr(sys, "argv", ["empathy_lib", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return caught.value.code or 0, *capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["profile", "tiny"], "unknown profile 'tiny'; use one of smoke, class, laptop, gpu, paper"),
        (["profile", "smoke", "--set", "grpo.steps=1"], "--set grpo.steps: no such field"),
        (["profile", "smoke", "--set", "grpo"], "write field=value"),
        (["reproduce", "--profile", "tiny"], "unknown profile 'tiny'"),
        (["reproduce", "--from", "9"], "--from 09: no such notebook"),
        (["reproduce", "--data", ""], "--data is empty"),
        (["reproduce", "--data", "/no/such 文件.json"], "/no/such 文件.json: no such file or folder"),
    ],
)
def test_the_users_faults_are_one_line_and_status_2(monkeypatch, capsys, arguments, message):
    status, out, err = call(monkeypatch, capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("error: ") and message in err and err.count("\n") == 1


def test_an_unknown_option_is_status_2(monkeypatch, capsys):
    assert call(monkeypatch, capsys, "reproduce", "--profil", "smoke")[0] == 2


@pytest.mark.parametrize("name", PROFILES)
def test_profile_prints_what_it_loads_and_explains_every_described_field(monkeypatch, capsys, name):
    status, out, _ = call(monkeypatch, capsys, "profile", name, "--set", "grpo.learning_rate=3e-6")
    expected = load_profile(name, {"grpo.learning_rate": 3e-6})
    assert status == 0
    assert type(expected).model_validate(yaml.safe_load(out)) == expected
    assert "# group size: completions per prompt\n  num_generations:" in out


@pytest.mark.parametrize("name", PROFILES)
def test_profiles_name_their_base_and_divide_their_batches(name):
    profile = load_profile(name)
    assert (
        profile.name == name
        and profile.grpo.prompts_per_step * profile.grpo.num_generations % profile.grpo.micro_batch == 0
    )
    assert profile.grpo.tuning == profile.sft.tuning == ("lora" if name in ("gpu", "paper") else "full")
    assert "sft.lora.r" in field_names()


def test_help_is_quick_because_it_loads_no_model_library():
    code = (
        "import sys; sys.argv = ['x', '--help']; from empathy_lib.app import cli\ntry: cli.main()\nfinally: "
        "print(sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    modules = done.stdout[done.stdout.rindex("[") :]
    assert "reproduce" in done.stdout and "'typer'" in modules
    assert not {"'torch'", "'transformers'", "'papermill'", "'pandas'", "'starlette'", "'uvicorn'"} & set(
        re.findall(r"'[\w.]+'", modules)
    )


def test_make_hands_over_awkward_paths_unharmed(tmp_path):
    """The recipe of `make reproduce`, with a stand-in for the interpreter that prints its arguments."""
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o755)
    data = '/数据 目录/it\'s "a" file.json'
    command = [
        "make",
        "-s",
        "-f",
        str(ROOT / "Makefile"),
        "-o",
        "setup",
        f"PY={fake}",
        "reproduce",
        "PROFILE=smoke",
        f"DATA={data}",
        "ARGS=--from 03",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.splitlines() == [
        "-m",
        "empathy_lib",
        "reproduce",
        "--profile",
        "smoke",
        "--data",
        data,
        "--from",
        "03",
    ]


def test_dependencies_are_one_pinned_list():
    pins = {
        name: dict(line.split("==") for line in (ROOT / name).read_text().split() if "==" in line)
        for name in ("requirements.txt", "requirements.lock")
    }
    locked = {
        re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins["requirements.lock"].items()
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = project["optional-dependencies"]
    # the book has an environment of its own (tests/unit/test_book.py); make setup leaves bitsandbytes out
    locked_names = {"rate", "chat", "judge", "datatrove", "dev"}
    assert len(pins["requirements.txt"]) > 30 and set(groups) == {*locked_names, "qlora", "book"}
    locked_groups = (groups[name] for name in locked_names)
    direct = pins["requirements.txt"] | dict(pin.split("==") for group in locked_groups for pin in group)
    assert {name: locked.get(name) for name in direct} == direct
    assert yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"][-1] == {
        "pip": ["-r requirements.lock", "-e ."]
    }


def test_every_locked_package_but_torch_is_locked_by_hash():
    """torch comes for CPU and GPU from different indexes, with other files."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    hashed = re.findall(
        r"^(\S+==\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)",
        (ROOT / "requirements.hashes.lock").read_text(),
        re.MULTILINE,
    )
    plain = lambda pin: re.sub(r"[-_.]+", "-", pin.partition("==")[0]).lower() + pin.partition("==")[2]  # noqa: E731
    locked = {plain(line) for line in lines if "==" in line and not line.startswith(("#", "torch=="))}
    assert {plain(pin) for pin, _ in hashed} == locked and len(locked) > 200


def test_doctor_names_remedies_and_fails_for_needed_checks_only():
    console = Console(record=True, width=200)
    checks = [
        doctor.Check("Disk", False, "1 GiB free", "free some"),
        doctor.Check("GPU", False, "none", "not needed", needed=False),
    ]
    assert doctor.report(checks, console) == 1
    text = console.export_text()
    assert "FAILED" in text and "free some" in text and "not needed" in text
    assert doctor.report(checks[1:], console) == 0


@pytest.mark.parametrize(("dtype", "free", "fits"), [("bfloat16", 8, True), ("float32", 8, False)])
def test_doctor_asks_for_the_memory_of_the_arithmetic_that_is_done_here(monkeypatch, dtype, free, fits):
    import torch

    from empathy_lib.models import base

    memory = doctor.psutil.virtual_memory()._replace(available=free * 2**30)
    monkeypatch.setattr(doctor.psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(base, "working_dtype", lambda: getattr(torch, dtype))
    check = doctor.check_free_memory()
    assert check.ok == fits and not check.needed and check.found == "8.0 GiB"
    assert f"in {dtype}" in check.remedy and "grpo.tokens_per_pass" in check.remedy


def test_doctor_compares_versions_without_build_suffix(tmp_path, monkeypatch):
    lock = tmp_path / "requirements.lock"
    lock.write_text("# comment\ntorch==2.13.0\nno-such-package==1.0\npytest==0.0.1\n")
    installed = {"torch": "2.13.0+cpu", "pytest": "9.0"}

    def version(name: str) -> str:
        if name not in installed:
            raise doctor.importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    check = doctor.check_packages(lock)
    assert (
        not check.ok
        and check.found == "1 of 3 as locked (no-such-package missing; pytest 9.0, locked 0.0.1)"
        and "make setup" in check.remedy
    )


def test_doctor_disk_looks_at_the_nearest_folder_that_exists(tmp_path):
    check = doctor.check_disk("Disk", tmp_path / "not" / "yet", "move")
    assert str(tmp_path / "not" / "yet") in check.found and check.ok == (
        doctor.shutil.disk_usage(tmp_path).free / 2**30 >= doctor.MIN_DISK_GIB
    )


def entry(value, interval=None, n=10):
    return {"value": value, "interval": interval, "n": n, "unit": "", "notebook": "05_automatic_metrics"}


HEADLINE = {
    "metrics.sft.well_formed": entry(0.975, [0.95, 0.99]),
    "coe_accuracy.sft.L1": entry(0.5),
    "coe_accuracy.sft.cause": entry(0.3),
    "metrics.sft.rouge_l": entry(0.1234, [0.1, 0.15]),
    "metrics.sft.bleu_4": entry(float("nan")),
    "r_answer.reference": entry(0.6401, [None, None]),
    "rm.auc": entry(0.9, [0.85, 0.95], 64),
    "wall_minutes.02_coe_sft": entry(12.34),
}


def test_results_table_shows_what_is_known_and_says_what_is_not():
    rows = {
        line.split(" | ")[0].removeprefix("| "): line.strip("| ").split(" | ")
        for line in results.results_table(HEADLINE).splitlines()
    }
    missing = results.NOT_AVAILABLE
    assert rows["SFT with CoE"][1:9] == [
        "97.5 %<br><sub>95.0 % to 99.0 %</sub>",
        "50.0 %",
        "30.0 %",
        missing,
        missing,
        missing,
        "0.123<br><sub>0.100 to 0.150</sub>",
        missing,
    ]
    assert rows["References"][-1] == "0.640"
    assert rows["Base, zero-shot"][1:] == [missing] * 11
    assert rows["AUC"][1:] == ["0.900<br><sub>0.850 to 0.950</sub>", "64"]
    assert rows["02_coe_sft"][1:] == ["12.3", missing] and rows["**all six**"][1] == missing


def test_results_table_reads_the_names_that_notebook_05_writes():
    known = {f"metrics.grpo.{name}": entry(0.25) for name in METRICS}
    row = next(line for line in results.results_table(known).splitlines() if line.startswith("| SFT + GRPO"))
    cells = row.strip("| ").split(" | ")
    assert [cells[1], *cells[7:10]] == ["25.0 %", "0.250", "0.2", "0.250"]


def test_total_minutes_need_all_six():
    headline = {f"wall_minutes.{name}": entry(2.0) for name in NOTEBOOKS}
    assert "| **all six** | 12.0 |" in results.results_table(headline)


def test_results_table_shows_the_comparisons_that_a_run_has():
    assert "trainings each" not in results.results_table(HEADLINE)
    headline = {
        "ablation.r_answer.sft": entry(0.25),
        "ablation.kind_judge.grpo_smooth": entry(0.5),
        "ablation.r_answer.grpo_smooth": entry(0.75),
        "grpo_smooth.kind_judge_minus_best_of_2": entry(0.125, [0.1, 0.15]) | {"seeds": 3},
    }
    rows = [line.strip("| ").split(" | ") for line in results.results_table(headline).splitlines()]
    missing = results.NOT_AVAILABLE
    assert ["SFT + GRPO, smooth reward", missing, "0.750", missing, "0.500", missing] in rows
    assert any(row[0] == "Difference, 3 trainings each" for row in rows)
    row = next(row for row in rows if row[0] == "SFT + GRPO, smooth reward, minus SFT, best of 2")
    assert row[4] == "0.125<br><sub>0.100 to 0.150</sub>"


def test_the_claim_gives_each_difference_with_its_interval_or_says_that_it_is_missing():
    headline = {
        "grpo.r_answer_minus_sft": entry(0.148, [0.099, 0.197], 120) | {"seeds": 3},
        "grpo.judge_minus_sft": entry(-0.01, [-0.02, 0.0]),
        "wall_minutes.04_grpo": entry(20.9),
    }
    words = results.claim(headline)
    assert "3 trainings, 120 held-out posts" in words and "+0.148 [+0.099, +0.197]" in words
    assert "-0.010 [-0.020, +0.000]" in words and "copy rate not available" in words and "21 minutes" in words
    assert results.NOT_AVAILABLE in results.claim({})
    assert "another kind" not in words  # an older run knows none
    headline["grpo.kind_judge_minus_sft"] = entry(0.004, [0.001, 0.007])
    assert "a judge of another kind (e5) +0.004 [+0.001, +0.007]; copy rate" in results.claim(headline)
    headline["grpo.kind_judge_minus_sft"]["encoder"] = "USE"
    assert "（USE）" in results.claim(headline, "zh-CN")
    assert "smooth" not in results.claim(headline), "not asked for"
    headline["grpo_smooth.r_answer_minus_sft"] = entry(0.25, [0.2, 0.3])
    assert results.claim(headline).endswith(
        ": +0.250 [+0.200, +0.300]" + f"; {results.NOT_AVAILABLE}" * 3 + "."
    )


def test_the_chinese_blocks_hold_the_same_figures():
    headline = {
        "grpo.r_answer_minus_sft": entry(0.148, [0.099, 0.197], 120) | {"seeds": 3},
        "wall_minutes.04_grpo": entry(20.9),
    }
    words, table = results.claim(headline, "zh-CN"), results.notebooks_table(headline, "zh-CN")
    assert "3 次训练，120 个" in words and "r_answer：+0.148 [+0.099, +0.197]" in words
    assert "复制率：暂无" in words and "21 分钟" in words and "暂无" in results.claim({}, "zh-CN")
    links = re.compile(r"\]\((.+?)\)|(?:href|src)=\"(.+?)\"")
    assert links.findall(table) == links.findall(results.notebooks_table(headline))
    assert "| 20.9 |" in table and "| 暂无 |" in table


def test_the_notebooks_table_names_figures_that_the_notebooks_save():
    rows = results.notebooks_table({"wall_minutes.04_grpo": entry(20.9)}).splitlines()[2:]
    for name, row in zip(NOTEBOOKS, rows, strict=True):
        figure = re.search(r'src="figures/(\w+)\.png"', row)[1]
        assert figure in (ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8")
    assert "| 20.9 |" in rows[3] and f"| {results.NOT_AVAILABLE} |" in rows[0]


BEGIN, END = "<!-- x:begin -->", "<!-- x:end -->"


def test_readme_keeps_everything_outside_its_markers(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"# 标题\n{BEGIN}\nold\n{END}\ntail\n", encoding="utf-8")
    report.update_block(readme, "x", results.results_table(HEADLINE))
    once = readme.read_text(encoding="utf-8")
    report.update_block(readme, "x", results.results_table(HEADLINE))
    assert readme.read_text(encoding="utf-8") == once
    assert once.startswith(f"# 标题\n{BEGIN}\n") and once.endswith(f"{END}\ntail\n") and "old" not in once
    readme.write_text("# no markers")
    with pytest.raises(UserError, match="x:begin"):
        report.update_block(readme, "x", results.results_table(HEADLINE))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """A small synthetic dataset folder."""
    folder = tmp_path_factory.mktemp("dataset")
    build_dataset(DatasetConfig(questions=40), 1, folder)
    return folder


@pytest.fixture
def finished(tmp_path, dataset) -> tuple[Path, Path, dict]:
    """A run folder as a complete run leaves it, a repository, and the run's parameters."""
    run, root = tmp_path / "跑 run", tmp_path / "repo"
    parameters = {"profile": "smoke", "run_dir": str(run), "overrides": {}}
    for folder in (run / "notebooks", run / "figures", root / "figures", root / "data"):
        folder.mkdir(parents=True)
    for name in NOTEBOOKS:
        made = nbformat.v4.new_notebook()
        made.metadata["papermill"] = {
            "input_path": f"{root}/notebooks/{name}.ipynb",
            "output_path": str(run),
            "exception": None,
        }
        made.metadata["papermill"] |= {"end_time": "now", "parameters": parameters}
        escaped = str(run).encode("unicode_escape").decode()
        text = f"{run}/01_dataset {sys.prefix}/lib {Path.home()}/x /var/folders/ipykernel_77/123.py:3"
        made.cells = [
            nbformat.v4.new_code_cell(
                f'run_dir = "{escaped}"', outputs=[nbformat.v4.new_output("stream", text=text)]
            ),
            nbformat.v4.new_markdown_cell("[answers](solutions/03_reward_model.ipynb)"),
        ]
        nbformat.write(made, run / "notebooks" / f"{name}.ipynb")
    for ending in ("png", "pdf"):
        (run / "figures" / f"01_topics.{ending}").write_bytes(b"new")
        (root / "figures" / f"01_old.{ending}").write_bytes(b"old")
    (run / "headline.json").write_text(json.dumps(HEADLINE))
    shutil.copytree(dataset, run / "01_dataset")
    (root / "docs").mkdir()
    blocks = dict.fromkeys(report.READMES, ("notebooks", "claim"))
    for page, names in (blocks | {"docs/results.md": ("synthetic", "public")}).items():
        marks = "".join(f"<!-- {name}:begin -->\n<!-- {name}:end -->\n" for name in names)
        (root / page).write_text(marks)
    return run, root, parameters


def real(run: Path) -> None:
    """Turn the run into one on a corpus of others."""
    (run / "01_dataset" / "statistics.json").write_text(
        '{"synthetic": false, "source": "smile", "annotator": "rules"}'
    )
    for ending in ("png", "pdf"):
        (run / "figures" / f"02_loss.{ending}").write_bytes(b"loss")


def test_publish_refuses_real_posts_without_a_licence(finished):
    run, root, parameters = finished
    real(run)
    with pytest.raises(UserError, match=r"real posts.*--set dataset.licence="):
        report.publish(run, parameters, root)
    assert not (root / "notebooks").exists() and not (root / "figures" / "public").exists()


def test_of_a_public_corpus_only_figures_are_published(finished):
    run, root, parameters = finished
    real(run)
    parameters["overrides"]["dataset.licence"] = "CC0-1.0"
    for name in NOTEBOOKS:
        path = run / "notebooks" / f"{name}.ipynb"
        made = nbformat.read(path, 4)
        made.metadata.papermill.update({"parameters": parameters})
        nbformat.write(made, path)
    before = {path for path in root.rglob("*") if path.is_file()}
    report.publish(run, parameters, root)
    assert {
        path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file() and path not in before
    } == {
        "figures/public/headline.json",
        "figures/public/02_loss.png",
        "figures/public/02_loss.pdf",
    }
    page = (root / "docs" / "results.md").read_text(encoding="utf-8").split("public:begin")[1]
    assert "97.5 %" in page and "smile (CC0-1.0), its chains rule-made" in page and "synthetic" not in page
    assert "GRPO" not in (root / "README.md").read_text(encoding="utf-8")


def test_publish_copies_a_complete_run_without_machine_paths(finished):
    run, root, parameters = finished
    report.publish(run, parameters, root)
    published = sorted((root / "notebooks" / "executed" / "smoke").iterdir())
    assert [path.stem for path in published] == list(NOTEBOOKS)
    for path in published:
        text = path.read_text(encoding="utf-8")
        assert not [
            place
            for place in (str(run), str(root), sys.prefix, str(Path.home()), "ipykernel", "\\u8dd1")
            if place in text
        ]
        made = nbformat.read(path, 4)
        assert made.cells[0].outputs[0].text == "runs/smoke/01_dataset .venv/lib ~/x cell.py:3"
        assert made.cells[0].source == 'run_dir = "runs/smoke"'
        assert made.cells[1].source == "[answers](../../solutions/03_reward_model.ipynb)"
        assert made.metadata.papermill.output_path == f"notebooks/executed/smoke/{path.name}"
    assert [path.name for path in sorted((root / "figures").iterdir())] == [
        "01_topics.pdf",
        "01_topics.png",
        "headline.json",
    ]
    assert "97.5 %" in (root / "docs" / "results.md").read_text(encoding="utf-8")
    assert "**GRPO minus SFT**" in (root / "README.md").read_text(encoding="utf-8")
    chinese = (root / "README.zh-CN.md").read_text(encoding="utf-8")
    assert "**GRPO 减去 SFT**" in chinese and "| 问题 |" in chinese and "available" not in chinese
    assert "CC BY 4.0" in (root / "data" / "README.md").read_text(encoding="utf-8")
    assert 0 < len(read_jsonl(root / "data" / "sample.jsonl")) <= report.SAMPLE_ITEMS


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ({"exception": True}, "failing cell"),
        ({"end_time": None}, "failing cell"),
        ({"parameters": {"profile": "laptop"}}, "other parameters"),
    ],
)
def test_publish_refuses_a_run_that_is_not_whole(finished, spoil, message):
    run, root, parameters = finished
    path = run / "notebooks" / "04_grpo.ipynb"
    made = nbformat.read(path, 4)
    made.metadata.papermill.update(spoil)
    nbformat.write(made, path)
    with pytest.raises(UserError, match=message):
        report.publish(run, parameters, root)
    path.unlink()
    with pytest.raises(UserError, match="was not executed"):
        report.publish(run, parameters, root)
    assert not (root / "notebooks").exists() and (root / "figures" / "01_old.png").exists()


HALF = {"id": "0", "system": "b", "completion": "\ud83d…", "question": "\ud83d…", "rater": "r", "data": {}}


@pytest.mark.parametrize(
    "words",
    [
        ["study", "HALF", "--posts", "GOOD", "--out", "OUT"],
        ["study", "GOOD", "--posts", "HALF", "--out", "OUT"],
        ["judge", "HALF", "--model", "m", "--dry-run", "--out", "OUT"],
        ["judge", "GOOD", "--posts", "HALF", "--model", "m", "--dry-run", "--out", "OUT"],
        ["judge", "GOOD", "--ratings", "CESU", "--model", "m", "--dry-run", "--out", "OUT"],
        ["score", "HALF", "--out", "OUT"],
        ["unblind", "HALF", "--key", "HALF", "--out", "OUT"],
        ["unblind", "CSV", "--key", "HALF", "--out", "OUT"],
        ["unblind", "CESU", "--key", "HALF", "--out", "OUT"],
        ["rank", "CESU", "--out", "OUT"],
    ],
)
def test_half_a_character_is_one_line_in_every_command(tmp_path, monkeypatch, capsys, words):
    files = {name: tmp_path / f"半 {name}" for name in ("HALF", "GOOD", "CSV", "CESU", "OUT")}
    whole = [{**HALF, "completion": "好", "question": "怎么办", "system": system} for system in "ab"]
    files["HALF"].write_text(json.dumps(HALF), encoding="utf-8")
    files["GOOD"].write_text("\n".join(map(json.dumps, whole)), encoding="utf-8")
    head = b"rater,item,dimension,system,letter,rank\n"
    files["CSV"].write_bytes(head + b"r,0,Fluency,a,A,1\n")
    files["CESU"].write_bytes(head + b"r,0,\xed\xa0\xbd,a,A,1\n")
    monkeypatch.setattr(sys, "argv", ["empathy_lib", *(str(files.get(word, word)) for word in words)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    said = capsys.readouterr().err
    assert caught.value.code == 2 and said.count("\n") == 1 and not files["OUT"].exists()
    assert "lone surrogate" in said or "not UTF-8 text" in said


def test_train_is_the_notebook_of_its_stage(monkeypatch):
    asked = []
    monkeypatch.setattr(driver, "check", lambda request: asked.append(request))
    monkeypatch.setattr(driver, "reproduce", lambda plan, console: None)
    for stage, number in cli.TRAININGS.items():
        cli.train(stage, run_dir="a run", assignments=["sft.max_steps=3"], processes=8)
        assert (asked[-1].first, asked[-1].last, asked[-1].run_dir) == (number, number, "a run")
        assert asked[-1].assignments == ("sft.max_steps=3", "processes=8")
    with pytest.raises(UserError, match="train 'sfx': no such stage; use one of sft, reward, grpo"):
        cli.train("sfx")
