"""Shard by shard comes out what comes out in one go; a killed task is done again, and the others are not."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from empathy_lib.core.config import DatasetConfig, load_profile
from empathy_lib.core.errors import UserError
from empathy_lib.core.run import ROOT
from empathy_lib.core.schema import Answer, Item
from empathy_lib.dataset import shards
from empathy_lib.dataset.build import build_dataset, build_folder
from empathy_lib.dataset.deduplicate import near_duplicate_pairs
from empathy_lib.dataset.shards import source, trove
from empathy_lib.dataset.shards.files import Job, Shards, Signed
from empathy_lib.dataset.shards.plan import Plan, read_options
from empathy_lib.dataset.shards.search import bucketed, near_pairs
from empathy_lib.dataset.sources import read_source

COST = ("construction_minutes", "peak_gib")
SYNTHETIC = {"dataset.questions": 300, "dataset.duplicate_rate": 0.1}
CLUSTER = {"time": "1:00:00", "partition": "cpu"}


def contents(folder: Path) -> dict[str, object]:
    """All files of a dataset folder, but for what a run took."""
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "manifest.json"}
    report = {key: value for key, value in json.loads(files.pop("report.json")).items() if key not in COST}
    return {**files, "report": report}


def built(profile, folder: Path, tasks: int, workers: int = 2) -> dict[str, object]:
    folder, reused = build_folder(profile, str(folder), Plan("local", tasks, workers))
    assert not reused
    assert not folder.with_name(f".{folder.name}.shards").exists()
    return contents(folder)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, psyqa_records):
    """Three files of PsyQA's layout: posts that repeat across files, ids given twice, noise, personal data, a
    post about self-harm, records that cannot be read, a file of no known type."""
    folder = tmp_path_factory.mktemp("corpus")
    files = [[dict(record) for record in psyqa_records[start::3]] for start in range(3)]
    first, second, third = files
    second.append({**first[0], "answers": [{"answer_text": "另一个回答。" + "你并不孤单。" * 20}]})
    third.append({**first[1], "question": first[1]["question"] + "呀"})
    third += [dict(first[2]), {"question": "", "answers": [{"answer_text": "没有帖子"}]}]
    first[3]["answers"] = [
        *first[3]["answers"],
        {"answer_text": "抱抱"},
        {"answer_text": "加微信 abc12345 咨询"},
    ]
    second[4]["question"] += "我叫李明，电话13812345678。"
    third[5]["question"] += "有时我不想活了。"
    for name, records in zip("abc", files, strict=True):
        for number, record in enumerate(records[-4:]):
            record["id"] = number
        (folder / f"{name}.json").write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")
    (folder / "notes.pdf").write_text("x")
    return folder


@pytest.fixture(scope="module")
def real(corpus, tmp_path_factory):
    """The profile of the corpus, and what it gives in one go."""
    folder = tmp_path_factory.mktemp("whole")
    profile = load_profile("smoke", {"dataset.data": str(corpus), "dataset.questions": 10**6})
    build_dataset(profile.dataset, profile.seed, folder)
    return profile, contents(folder)


@pytest.mark.parametrize("tasks", [1, 3])
def test_synthetic_posts_come_out_the_same(tasks, tmp_path):
    profile = load_profile("smoke", SYNTHETIC)
    figures = build_dataset(profile.dataset, profile.seed, tmp_path / "whole")
    assert figures["noise"]["duplicate"]["hits"] > 20
    assert built(profile, tmp_path / "shards", tasks, workers=1) == contents(tmp_path / "whole")


def test_a_corpus_of_files_comes_out_the_same(real, tmp_path):
    profile, whole = real
    assert source.reads_by_file(profile.dataset, 3) and not source.reads_by_file(profile.dataset, 4)
    report = whole["report"]
    assert report["rejected"] and report["duplicates"] >= 3 and report["pii_by_type"]["phone"] == 1
    assert report["removed_by_rule"]["speaks of danger, set aside"] and report["not_read"]
    assert "id(s) are given in several files" in " ".join(report["remarks"])
    for tasks in (3, 4):
        assert built(profile, tmp_path / str(tasks), tasks) == whole
    folder, reused = build_folder(profile, str(tmp_path / "3"))
    assert reused and contents(folder) == whole


def test_so_do_a_sample_and_rules_switched_off(corpus, tmp_path):
    off = ["exact duplicate question", "duplicate answer"]
    changes = {"dataset.questions": 20, "dataset.rules_off": off, "dataset.crisis": "keep"}
    profile = load_profile("smoke", {"dataset.data": str(corpus), **changes})
    build_dataset(profile.dataset, profile.seed, tmp_path / "whole")
    assert built(profile, tmp_path / "shards", 3, workers=1) == contents(tmp_path / "whole")


def work_of(profile, out: Path, tasks: int) -> Path:
    """The folder of the shards, made before anything is built."""
    work = out.with_name(f".{out.name}.shards")
    return trove.fresh(work, profile.dataset, profile.seed, tasks)


def test_a_killed_worker_ends_the_run_and_the_same_command_goes_on(real, tmp_path):
    profile, whole = real
    out = tmp_path / "out"
    work = work_of(profile, out, 3)
    (work / "gather").mkdir()
    os.mkfifo(work / "gather" / "00001.jsonl")  # task 1 waits here for a reader that never comes
    words = ["dataset", "--profile", "smoke", "--data", profile.dataset.data, "--out", str(out)]
    words += ["--set", "dataset.questions=1000000", "--executor", "local", "--tasks", "3", "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "empathy_lib", *words], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    completed = [work / "logs" / "gather" / "completions" / f"0000{task}" for task in (0, 2)]
    until = time.monotonic() + 60
    while not all(path.exists() for path in completed) and time.monotonic() < until:
        time.sleep(0.05)
    for child in psutil.Process(process.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "loky" in " ".join(child.cmdline()):
                child.send_signal(signal.SIGKILL)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 2, errors
    # joblib's own tracker may add that it misses what the killed process held
    (line,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: step gather: a process was killed")
    assert not (out / "manifest.json").exists()
    (work / "gather" / "00001.jsonl").unlink()
    before = {path: path.stat().st_mtime_ns for path in [*work.glob("clean/*"), work / "gather/00000.jsonl"]}
    _, left = run_until(profile, work, 3, "gather")
    assert left == [1] and before == {path: path.stat().st_mtime_ns for path in before}
    assert built(profile, out, 3, workers=1) == whole


def run_until(profile, work: Path, tasks: int, last: str) -> tuple[Job, list[int]]:
    """Run the steps up to one, as the command does; the tasks that were left of that."""
    by_file = source.reads_by_file(profile.dataset, tasks)
    job = Job(work, profile.dataset, profile.seed, tasks, by_file)
    for name, executor in trove.executors(job, Plan("local", tasks, 1)).items():
        left = executor.get_incomplete_ranks()
        executor.run()
        if name == last:
            return job, left
    raise AssertionError(last)


def test_other_settings_use_no_shard_of_before(real, tmp_path):
    profile, _ = real
    other = load_profile("smoke", {"dataset.data": profile.dataset.data, "dataset.min_answer_chars": 120})
    first = work_of(profile, tmp_path / "out", 3)
    (first / "half").write_text("x")
    assert work_of(profile, tmp_path / "out", 3) == first and (first / "half").exists()
    assert first.stat().st_mode & 0o077 == 0
    second = work_of(other, tmp_path / "out", 3)
    assert second != first and not first.exists()
    assert work_of(other, tmp_path / "out", 4) != second


def test_a_fault_of_the_source_is_one_of_the_user(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.json").write_text('[{"question": 1, "answers": []}]')
    profile = load_profile("smoke", {"dataset.data": str(tmp_path)})
    with pytest.raises(UserError) as whole:
        build_folder(profile, str(tmp_path.with_name("out")))
    with pytest.raises(UserError) as sharded:
        build_folder(profile, str(tmp_path.with_name("out")), Plan("local", 3, 1))
    assert str(sharded.value) == str(whole.value)


RECORD = st.tuples(st.sampled_from(["", "1", "2", "b:1", "1-2", "b:1-2"]), st.sampled_from("甲乙"))


@settings(max_examples=40, deadline=None)
@given(
    files=st.lists(st.lists(RECORD, min_size=1, max_size=4), min_size=3, max_size=3), cap=st.integers(3, 20)
)
def test_ids_are_settled_as_if_one_had_read_all(tmp_path_factory, files, cap):
    folder, work = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("work")
    number = 0
    for name, records in zip("abc", files, strict=True):
        lines = []
        for given_id, text in records:
            number += 1
            own = {"id": given_id} if given_id else {}
            answers = [{"answer_text": f"第{number}个回答"}]
            lines.append(json.dumps({**own, "question": text * 500, "answers": answers}))
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    config = DatasetConfig(data=str(folder), questions=cap, max_rejected_share=1)
    job = Job(work, config, 1, 3, by_file=True)
    for task in range(3):
        source.read(job, task)
    source.settle(job, 0)
    items = [item for task in range(3) for batch in source.posts(job, task) for item in batch]
    whole, ours = read_source(config, 1), source.reading_of(job)
    assert items == list(whole.items)
    whole.items = ours.items
    assert ours == whole


def test_buckets_find_every_pair_once(tmp_path):
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("天地玄黄宇宙洪荒日月盈昃辰宿列张"), 60)) for _ in range(40)]
    texts += [text[:place] + "变" + text[place:] for place, text in enumerate(texts[:20])] + texts[:5]
    job = Job(tmp_path, DatasetConfig(), 1, 3)
    for shard in range(3):
        out = Signed(job, "posts", shard)
        for place, text in list(enumerate(texts))[shard * 22 : shard * 22 + 22]:
            out.add(Item(id=str(place), question=text, answers=[Answer(text="好")]))
        marks, none = out.marks(), np.zeros(0, np.uint64)
        out.close(
            **dict(zip(("prints", "signatures"), marks, strict=True)), **bucketed(*marks, none, none, 3, 0.7)
        )
    posts = Shards(job, "posts")
    found = np.concatenate([near_pairs(posts, bucket, 0.7, equal_too=True) for bucket in range(3)])
    wanted = [(i, j) for i, j, _ in near_duplicate_pairs(texts, 0.7)]
    assert len(wanted) > 24 and sorted(map(tuple, found.tolist())) == sorted(wanted)
    distinct = np.concatenate([near_pairs(posts, bucket, 0.7) for bucket in range(3)])
    assert sorted(map(tuple, distinct.tolist())) == sorted(pair for pair in wanted if pair[1] < 60)


def test_clusters_get_a_chain_of_jobs(tmp_path):
    job = Job(tmp_path, DatasetConfig(), 1, 5, by_file=True)
    for name, options in (("slurm", CLUSTER), ("ray", {"mem_per_cpu_gb": 4})):
        made = trove.executors(job, Plan(name, 5, 2, options))
        assert [each.world_size for each in made.values()] == [5, 1, 5, 5, 1, 5, 5, 1, 5]
        steps = list(made.values())
        assert [each.depends for each in steps] == [None, *steps[:-1]]
    script = made_script(trove.executors(job, Plan("slurm", 5, 2, CLUSTER))["clean"])
    assert "#SBATCH --partition=cpu" in script and "#SBATCH --array=0-4%2" in script
    large = trove.executors(job, Plan("slurm", 5, 2, {**CLUSTER, "one_task": {"mem_per_cpu_gb": 16}}))
    assert {
        name: each.mem_per_cpu_gb for name, each in large.items() if each.world_size == 1
    } == dict.fromkeys(("settle", "merge", "deal"), 16)
    assert large["clean"].mem_per_cpu_gb == 2
    with pytest.raises(UserError, match="partition"):
        trove.executors(job, Plan("slurm", 5))
    with pytest.raises(UserError, match="no such executor"):
        trove.executors(job, Plan("cloud", 5))


def test_options_of_an_executor_come_from_a_file(tmp_path):
    path = tmp_path / "options.yaml"
    path.write_text("time: '1:00:00'\npartition: cpu\n")
    assert read_options(str(path)) == CLUSTER and read_options(None) == {}
    path.write_text("time: 1:00:00\n")
    with pytest.raises(UserError, match="number 3600; put it in quotes"):
        read_options(str(path))
    for text in ("- time", "time: [", "one_task: 16", None):
        path.unlink() if text is None else path.write_text(text)
        with pytest.raises(UserError, match="--executor-options"):
            read_options(str(path))


# what the scripts call, on this machine: a job runs at once, srun is no more than its command
SHIMS = {
    "sbatch": """script="${@: -1}"; [ "$1" = --export=ALL,RUN_OFFSET=0 ] && export RUN_OFFSET=0
for task in $(seq 0 "$(sed -n 's/#SBATCH --array=0-//p' "$script")"); do
  SLURM_ARRAY_TASK_ID=$task SLURM_NODELIST=here bash "$script" >&2 || exit 1
done
echo Submitted batch job $$""",
    "srun": 'while [ "${1#-}" != "$1" ]; do [ "$1" = -n ] && shift; shift; done; exec "$@"',
    "scontrol": "echo here",
}


def test_slurms_jobs_run_to_the_end_by_a_stand_in(tmp_path, monkeypatch):
    for name, lines in SHIMS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{lines}\n")
        (tmp_path / name).chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    profile, plan = load_profile("smoke", {"dataset.questions": 40}), Plan("slurm", 1, options=CLUSTER)
    with pytest.raises(UserError, match="jobs were submitted to Slurm"):
        build_folder(profile, str(tmp_path / "out"), plan)
    folder, _ = build_folder(profile, str(tmp_path / "out"), plan)
    build_dataset(profile.dataset, profile.seed, tmp_path / "whole")
    assert contents(folder) == contents(tmp_path / "whole")


def made_script(executor) -> str:
    return executor.get_launch_file_contents(executor.get_sbatch_args(executor.world_size), "run")


def test_without_the_extra_there_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datatrove.executor.local", None)
    monkeypatch.delitem(sys.modules, "empathy_lib.dataset.shards.trove")
    monkeypatch.delattr(shards, "trove")
    with pytest.raises(UserError, match=r"pip install 'empathy-r1-reproduction\[datatrove\]'"):
        build_folder(load_profile("smoke"), str(tmp_path / "out"), Plan("local"))


def test_a_teacher_is_asked_from_one_place(tmp_path):
    profile = load_profile("smoke", {"dataset.annotator": "teacher"})
    with pytest.raises(UserError, match="leave --executor out"):
        build_folder(profile, str(tmp_path / "out"), Plan("local"))
