"""Does a run that is killed again and again end as an unbroken one? SFT, reward model, judge and GRPO under
``kill -9``.

    .venv/bin/python tests/benchmarks/kill_and_resume.py [kills] [seed]        (20 kills: about 25 minutes on
    2 cores)

Runs notebooks 01 to 04 once unbroken, then again and again from an empty folder, each killed with all its
processes at random moments and started again until it ends, until the kills are used up. The profile is smoke
with more steps and a checkpoint at every step. The last line is JSON: the kills that hit each notebook, and
for each broken run whether headline figures (all but minutes and memory) and all weights are equal.
"""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import psutil

from empathy_lib.core.files import read_json
from empathy_lib.core.identity import file_digest

STEPS = [
    f"{stage}.{field}={value}"
    for stage in ("sft", "reward", "grpo")
    for field, value in (("max_steps", 6), ("checkpoint_steps", 1))
]
SECONDS = (8.0, 60.0)  # before a kill; a kernel needs about eight to be up
TRAINING = 3  # notebooks that train: each gets an equal share of the kills


def start(folder: Path, log: Path) -> subprocess.Popen:
    """The run; the same command goes on with it."""
    words = [
        sys.executable,
        "-m",
        "empathy_lib",
        "reproduce",
        "--profile",
        "smoke",
        "--to",
        "04",
        "--run-dir",
        str(folder),
    ]
    words += [word for step in (*STEPS, "sft.max_items=24") for word in ("--set", step)]
    return subprocess.Popen(words, stdout=log.open("a"), stderr=subprocess.STDOUT)


def figures(folder: Path) -> dict[str, object]:
    """Headline figures that must not depend on interruptions."""
    costs = ("wall_minutes.", "peak_gib.")
    return {
        key: entry for key, entry in read_json(folder / "headline.json").items() if not key.startswith(costs)
    }


def weights(folder: Path) -> dict[str, str]:
    """Digest of every file of weights."""
    return {
        str(path.relative_to(folder)): file_digest(path) for path in sorted(folder.rglob("*.safetensors"))
    }


def notebook_of(log: Path) -> str:
    """The notebook that runs now."""
    begun = [line.split(":")[0] for line in log.read_text().splitlines() if ": started" in line]
    return begun[-1] if begun else "before the first notebook"


def broken_run(folder: Path, log: Path, rng: random.Random, hit: Counter[str], kills: int) -> None:
    """One run to its end, killed at random moments while there are kills left; ``hit`` counts them by
    notebook."""
    log.write_text("")
    run = start(folder, log)
    while run.poll() is None:
        try:
            run.wait(rng.uniform(*SECONDS) if sum(hit.values()) < kills else None)
        except subprocess.TimeoutExpired:
            if hit[notebook := notebook_of(log)] >= math.ceil(kills / TRAINING):
                continue
            for process in [*psutil.Process(run.pid).children(recursive=True), run]:  # the kernel too
                process.kill()
            run.wait()
            hit[notebook] += 1
            print(f"kill {sum(hit.values())}: {notebook}", flush=True)
            run = start(folder, log)
    if run.returncode:
        sys.exit(log.read_text())


def main(kills: int, seed: int) -> None:
    """Compare an unbroken run with as many broken ones as it takes to use up the kills."""
    rng, hit, same = random.Random(seed), Counter(), []
    with tempfile.TemporaryDirectory() as scratch:
        whole, log = Path(scratch) / "whole", Path(scratch) / "log"
        broken_run(whole, log, rng, hit, kills=0)
        while sum(hit.values()) < kills:
            broken = Path(scratch) / f"杀 broken {len(same)}"
            broken_run(broken, log, rng, hit, kills)
            same.append(
                {"headline": figures(whole) == figures(broken), "weights": weights(whole) == weights(broken)}
            )
        print(
            json.dumps(
                {
                    "kills": dict(hit),
                    "figures": len(figures(whole)),
                    "weight_files": len(weights(whole)),
                    "equal": same,
                }
            )
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20, int(sys.argv[2]) if len(sys.argv) > 2 else 1)
