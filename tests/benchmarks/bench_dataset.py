"""Does the construction stay linear up to the paper's size, and does memory stay below a large source's own
size?

    .venv/bin/python tests/benchmarks/bench_dataset.py [figure.png]          four sizes up to the paper's,
    answers of PsyQA's length .venv/bin/python tests/benchmarks/bench_dataset.py --source 0.25 1 2     files
    of so many GiB in PsyQA's layout (2: about half an hour)

Clean, de-identify, annotate, deduplicate, split and write. Each size is built in a process of its own, so
that its peak memory is its own (with that of the processes beside it; read from /proc, so Linux only); the
synthetic posts are made before the clock starts. The last line is JSON: per size the answers read, minutes,
peak memory and time an answer as a ratio to the smallest size, and the exponent of a power law through all
sizes (1 is linear). De-identification is on, as for real data.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from joblib import Parallel, cpu_count, delayed, parallel_config

from empathy_lib.core.config import DatasetConfig
from empathy_lib.core.files import cache_dir, read_json
from empathy_lib.dataset.build import build_dataset
from empathy_lib.dataset.sources import read_source

SIZES = (5_000, 10_000, 20_000, 40_959)  # questions; the last is the paper's (second-hand)


def high_water() -> float:
    """GiB that this process has held at most since it was started; getrusage would count what it was forked
    from."""
    return int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1]) / 2**20


def build(config: DatasetConfig) -> dict[str, float]:
    """Build once in a scratch folder; what ``report.json`` says of it."""
    # one that idles out is not counted
    with tempfile.TemporaryDirectory() as folder, parallel_config("loky", idle_worker_timeout=86_400):
        build_dataset(config, 1, Path(folder))
        report = read_json(Path(folder) / "report.json")
        workers = sum(Parallel(n_jobs=cpu_count())(delayed(high_water)() for _ in range(cpu_count())))
    return {
        "answers": report["read"],
        "minutes": report["construction_minutes"],
        "peak_gib": round(report["peak_gib"] + workers, 2),
    }


def write_source(path: Path, gib: float) -> None:
    """A file of at least so many GiB: synthetic posts of many seeds in PsyQA's layout, a JSON list."""
    with path.open("w", encoding="utf-8") as handle:
        mark, seed = "[", 0
        while handle.tell() < gib * 2**30:
            seed += 1
            for item in read_source(DatasetConfig(questions=5_000, answer_length="long"), seed).items:
                answers = [{"answer_text": text} for text in item.references]
                record = {
                    "question": item.question,
                    "description": "",
                    "keywords": item.topic,
                    "answers": answers,
                }
                handle.write(mark + json.dumps(record, ensure_ascii=False))
                mark = ",\n"
        handle.write("]")


def in_a_process(*words: str) -> dict[str, float]:
    """What ``main`` of this file prints last for these words, in a process of its own."""
    made = subprocess.run(
        [sys.executable, __file__, *words], stdout=subprocess.PIPE, encoding="utf-8", check=True
    )
    return json.loads(made.stdout.splitlines()[-1])


def sources(sizes: list[str]) -> None:
    """Build files of several sizes and compare memory with size."""
    rows = []
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=cache_dir()) as folder:
            path = Path(folder) / "source.json"
            write_source(path, float(size))
            rows.append(
                {"file_gib": round(path.stat().st_size / 2**30, 2), **in_a_process("--path", str(path))}
            )
        print(rows[-1], flush=True)
    print(json.dumps({"sources": rows}))


def main() -> None:
    """Build all sizes, smallest first, and compare."""
    rows = []
    for size in SIZES:
        rows.append({"questions": size, **in_a_process("--size", str(size))})
        rows[-1]["time_per_answer_ratio"] = round(
            rows[-1]["minutes"] / rows[-1]["answers"] * rows[0]["answers"] / rows[0]["minutes"], 2
        )
        print(rows[-1], flush=True)
    answers, minutes = (np.array([row[key] for row in rows]) for key in ("answers", "minutes"))
    exponent = float(np.polyfit(np.log(answers), np.log(minutes), 1)[0])
    if len(sys.argv) > 1:
        figure, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
        axes.plot(answers, minutes, "o-", color="#0072B2", label="measured")
        axes.plot(
            answers,
            minutes[0] / answers[0] * answers,
            "--",
            color="#666666",
            label="linear from the smallest",
        )
        axes.set(xlabel="answers read, noise included", ylabel="minutes", ylim=0)
        axes.set_title(
            "Construction time, synthetic posts with long answers, one run on 2 cores", fontsize=10
        )
        axes.legend()
        figure.savefig(sys.argv[1], dpi=150)
    print(json.dumps({"sizes": rows, "exponent": round(exponent, 2)}))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--size", questions]:
            print(
                json.dumps(
                    build(DatasetConfig(questions=int(questions), deidentify="on", answer_length="long"))
                )
            )
        case ["--path", source]:
            print(json.dumps(build(DatasetConfig(data=source, questions=10**9))))
        case ["--source", *gib]:
            sources(gib)
        case _:
            main()
