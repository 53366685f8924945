"""Does the construction stay linear up to the paper's size? Clean, de-identify, annotate, deduplicate, split and write, at four sizes.

    .venv/bin/python tests/benchmarks/bench_dataset.py [figure.png]

Each size is built in a process of its own, so that its peak memory is its own; the synthetic posts are made before the clock starts.
The last line is JSON: per size the answers read, minutes, peak memory and time an answer as a ratio to the smallest size, and the
exponent of a power law through all sizes (1 is linear). De-identification is on, as for real data.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from empathy_lib.artefacts import read_json
from empathy_lib.config import DatasetConfig
from empathy_lib.empathy_qa.build import build_dataset

SIZES = (5_000, 10_000, 20_000, 40_959)  # questions; the last is the paper's (second-hand)


def build(questions: int) -> dict[str, float]:
    """Build once in a scratch folder; what ``report.json`` says of it."""
    with tempfile.TemporaryDirectory() as folder:
        build_dataset(DatasetConfig(questions=questions, deidentify="on"), 1, Path(folder))
        report = read_json(Path(folder) / "report.json")
    return {"answers": report["read"], "minutes": report["construction_minutes"], "peak_gib": report["peak_gib"]}


def main() -> None:
    """Build all sizes, smallest first, and compare."""
    rows = []
    for size in SIZES:
        made = subprocess.run([sys.executable, __file__, "--size", str(size)], capture_output=True, encoding="utf-8", check=True)
        rows.append({"questions": size, **json.loads(made.stdout.splitlines()[-1])})
        rows[-1]["time_per_answer_ratio"] = round(rows[-1]["minutes"] / rows[-1]["answers"] * rows[0]["answers"] / rows[0]["minutes"], 2)
        print(rows[-1], flush=True)
    answers, minutes = (np.array([row[key] for row in rows]) for key in ("answers", "minutes"))
    exponent = float(np.polyfit(np.log(answers), np.log(minutes), 1)[0])
    if len(sys.argv) > 1:
        figure, axes = plt.subplots(figsize=(6, 3.8), layout="constrained")
        axes.plot(answers, minutes, "o-", color="#0072B2", label="measured")
        axes.plot(answers, minutes[0] / answers[0] * answers, "--", color="#666666", label="linear from the smallest")
        axes.set(
            xlabel="answers read, noise included", ylabel="minutes", ylim=0, title="Construction time, synthetic posts, one run on 2 cores"
        )
        axes.legend()
        figure.savefig(sys.argv[1], dpi=150)
    print(json.dumps({"sizes": rows, "exponent": round(exponent, 2)}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--size"]:
        print(json.dumps(build(int(sys.argv[2]))))
    else:
        main()
