"""Does the construction by shards give what the default gives, in linear time and bounded memory a process?

    .venv/bin/python tests/benchmarks/bench_trove.py figure.png 5000 20000 80000    so many synthetic posts
    .venv/bin/python tests/benchmarks/bench_trove.py --data PATH [TASKS]            a corpus of yours
    .venv/bin/python tests/benchmarks/bench_trove.py --data synthetic:40959 [TASKS] the project's own

Synthetic posts in PsyQA's layout lie in files of 1,250, and a shard gets 2,500 of them, so that there are
more shards of the same size. They count as real data: de-identified, with rule-made chains. Each construction
has a process of its own; peak memory is that of its largest process (from /proc, so Linux only). A line a
size, and JSON at the end: minutes, GiB, seconds of each step, bytes of shards in all, and the exponents of
power laws through all sizes (1 is linear).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from bench_dataset import high_water
from joblib import Parallel, cpu_count, delayed, parallel_config
from matplotlib.ticker import LogLocator

from empathy_lib.core.config import DatasetConfig
from empathy_lib.core.files import cache_dir, read_json
from empathy_lib.dataset.build import build_dataset
from empathy_lib.dataset.shards import source, steps, trove
from empathy_lib.dataset.shards.files import Job
from empathy_lib.dataset.shards.plan import Plan
from empathy_lib.dataset.sources import read_source

A_FILE, A_SHARD = 1_250, 2_500  # posts
COST = ("construction_minutes", "peak_gib")


def write_source(folder: Path, posts: int) -> None:
    """Files of synthetic posts of many seeds, in PsyQA's layout."""
    for number in range(posts // A_FILE):
        items = read_source(DatasetConfig(questions=A_FILE, duplicate_rate=0.03), number).items[:A_FILE]
        records = (
            {
                "question": item.question,
                "keywords": item.topic,
                "answers": [{"answer_text": text} for text in item.references],
            }
            for item in items
        )
        lines = (json.dumps(record, ensure_ascii=False) for record in records)
        (folder / f"{number:05d}.jsonl").write_text("\n".join(lines), encoding="utf-8")


def by_shards(config: DatasetConfig, folder: Path, work: Path, tasks: int) -> dict[str, object]:
    """Run all steps and put the folder together; seconds of each, and bytes of what the shards took."""
    started, seconds = time.monotonic(), {}
    by_file = source.reads_by_file(config, tasks)
    job = Job(trove.fresh(work, config, 1, tasks), config, 1, tasks, by_file)
    for name, executor in trove.executors(job, Plan("local", tasks)).items():
        begun = time.monotonic()
        executor.run()
        seconds[name] = round(time.monotonic() - begun, 2)
    begun = time.monotonic()
    steps.finish(job, folder, started)
    seconds["finish"] = round(time.monotonic() - begun, 2)
    used = sum(path.stat().st_size for path in work.rglob("*") if path.is_file())
    return {"tasks": tasks, "seconds": seconds, "work_bytes": used}


def config_of(data: str) -> DatasetConfig:
    """All of a source, or so many synthetic posts."""
    name, _, posts = data.partition(":")
    if name == "synthetic":
        return DatasetConfig(data=name, questions=int(posts))
    return DatasetConfig(data=data, questions=10**9)


def one(kind: str, data: str, folder: str, tasks: str) -> dict[str, object]:
    """Build once; minutes, the peak of the largest process, and what the steps say."""
    config, out = config_of(data), Path(folder) / kind
    with parallel_config("loky", idle_worker_timeout=86_400):  # one that idles out is not counted
        started, told = time.monotonic(), {}
        if kind == "default":
            build_dataset(config, 1, out)
        else:
            told = by_shards(config, out, Path(folder) / "work", int(tasks))
        minutes = (time.monotonic() - started) / 60
        workers = Parallel(n_jobs=cpu_count())(delayed(high_water)() for _ in range(cpu_count()))
    peaks = {"peak_gib": round(max(high_water(), *workers), 3), "main_gib": round(high_water(), 3)}
    return {"minutes": round(minutes, 3), **peaks, **told}


def in_a_process(*words: str) -> dict[str, object]:
    """What :func:`one` gives, in a process of its own."""
    command = [sys.executable, __file__, "--one", *words]
    made = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", check=True)
    return json.loads(made.stdout.splitlines()[-1])


def equal(one: Path, other: Path) -> bool:
    """Whether two dataset folders hold the same, but for what a run took."""
    names = [{path.name for path in folder.iterdir()} for folder in (one, other)]
    reports = [read_json(folder / "report.json") for folder in (one, other)]
    plain = [{key: value for key, value in report.items() if key not in COST} for report in reports]
    same = ((one / name).read_bytes() == (other / name).read_bytes() for name in names[0] - {"report.json"})
    return names[0] == names[1] and plain[0] == plain[1] and all(same)


def compare(data: Path, folder: Path, tasks: int) -> dict[str, object]:
    """Both constructions of a corpus."""
    made = {kind: in_a_process(kind, str(data), str(folder), str(tasks)) for kind in ("default", "shards")}
    report = read_json(folder / "default" / "report.json")
    told = {key: report[key] for key in ("read", "kept", "questions", "duplicates")}
    return {"equal": equal(folder / "default", folder / "shards"), **told, **made}


def draw(rows: list[dict], path: str) -> None:
    """Minutes and peak memory of both, by posts."""
    figure, axes = plt.subplots(1, 2, figsize=(8.6, 3.8), layout="constrained")
    posts = np.array([row["posts"] for row in rows])
    for axis, key, label in zip(
        axes, ("minutes", "peak_gib"), ("minutes", "GiB, largest process"), strict=True
    ):
        for kind, colour in (("default", "#0072B2"), ("shards", "#D55E00")):
            values = [row[kind][key] for row in rows]
            axis.plot(posts, values, "o-", color=colour, label=kind)
        first = rows[0]["default"][key]
        axis.plot(posts, first / posts[0] * posts, "--", color="#666666", label="linear from the smallest")
        axis.set(xscale="log", yscale="log", xlabel="posts read", ylabel=label)
        axis.set_xticks(posts, [f"{count:,}" for count in posts], minor=False)
        axis.minorticks_off()
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.legend()
    figure.suptitle("Construction, synthetic posts, one run each on 2 cores", fontsize=10)
    figure.savefig(path, dpi=150)


def main(path: str, sizes: list[int]) -> None:
    """All sizes, smallest first."""
    rows = []
    for posts in sizes:
        with tempfile.TemporaryDirectory(dir=cache_dir()) as scratch:
            data, folder = Path(scratch) / "source", Path(scratch) / "built"
            data.mkdir()
            folder.mkdir()
            write_source(data, posts)
            rows.append({"posts": posts, **compare(data, folder, posts // A_SHARD)})
        print(rows[-1], flush=True)
    exponents = {}
    if len(rows) > 1:
        for kind in ("default", "shards"):
            for key in ("minutes", "peak_gib"):
                values = np.log([[row["posts"], row[kind][key]] for row in rows])
                exponents[f"{kind}.{key}"] = round(float(np.polyfit(values[:, 0], values[:, 1], 1)[0]), 2)
    draw(rows, path)
    print(json.dumps({"sizes": rows, "exponents": exponents}))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--one", *words]:
            print(json.dumps(one(*words)))
        case ["--data", data, *tasks]:
            with tempfile.TemporaryDirectory(dir=cache_dir()) as folder:
                print(json.dumps(compare(Path(data), Path(folder), int(*tasks or [8]))))
        case [path, *sizes]:
            main(path, [int(size) for size in sizes or (5_000, 20_000, 80_000)])
        case _:
            sys.exit(__doc__)
