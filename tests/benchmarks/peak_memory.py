"""Which stage takes how much memory? The peak of every stage of a run while a command builds it.

    .venv/bin/python tests/benchmarks/peak_memory.py RUN_FOLDER COMMAND …
    .venv/bin/python tests/benchmarks/peak_memory.py runs/laptop .venv/bin/python -m empathy_lib reproduce

A stage is at work while its folder is called ``….building``; what lies between stages is ``between``. Sampled
ten times a second: resident memory of the largest process of the command's (a notebook's kernel). What a
stage has on top of its notebook's start is what it holds; a start that grows is what an earlier stage left.
The last line is JSON: of each stage the most, and what was there when it began, in GiB.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil

SECONDS = 0.1


def largest(command: psutil.Process) -> float:
    """Resident GiB of the command's largest process."""
    sizes = [0]
    for process in [command, *command.children(recursive=True)]:
        try:
            sizes.append(process.memory_info().rss)
        except psutil.NoSuchProcess:
            continue
    return max(sizes) / 2**30


def at_work(run: Path) -> str:
    """The stage that is built now, or ``between``; of two, one within the other, the inner."""
    found = [path.relative_to(run).as_posix() for path in run.glob("**/*.building") if path.is_dir()]
    return max(found, key=len).removesuffix(".building") if found else "between"


def watch(run: Path, words: list[str]) -> dict[str, dict[str, float]]:
    """Run the command and sample it; ``{stage: {"start", "peak"}}``, in the order they began."""
    seen: dict[str, dict[str, float]] = {}
    started = subprocess.Popen(words)
    command = psutil.Process(started.pid)
    while started.poll() is None:
        try:
            size = largest(command)
        except psutil.NoSuchProcess:
            break
        entry = seen.setdefault(at_work(run), {"start": size, "peak": 0.0})
        entry["peak"] = max(entry["peak"], size)
        time.sleep(SECONDS)
    if started.wait():
        sys.exit(started.returncode)
    return {stage: {key: round(value, 2) for key, value in entry.items()} for stage, entry in seen.items()}


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    peaks = watch(Path(sys.argv[1]), sys.argv[2:])
    for stage, entry in peaks.items():
        print(f"{stage:32} start {entry['start']:6.2f}  peak {entry['peak']:6.2f} GiB")
    print(json.dumps(peaks))
