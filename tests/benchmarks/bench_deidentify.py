"""How much of planted personal data is found, and how much of what is found in real texts is personal data?

    .venv/bin/python tests/benchmarks/bench_deidentify.py                     recall on the planted cases
    .venv/bin/python tests/benchmarks/bench_deidentify.py --data CORPUS [CORPUS …] --out findings.csv
    .venv/bin/python tests/benchmarks/bench_deidentify.py --marked findings.csv        precision, once marked

The planted cases (``planted_deidentify.jsonl``) and the texts in which nothing may be replaced
(``traps_deidentify.jsonl``) were written without sight of the rules. A corpus is a file or folder of JSON,
JSON lines or text, or a ZIP of these; every text in it is mended as the construction does, and each finding
is written once, with its context. Mark the column ``right``: 1 for personal data of that type, else 0. A
marked file holds real text: keep it out of the repository.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from empathy_lib.core.statistics import wilson_share
from empathy_lib.dataset.deidentify import TYPES, find
from empathy_lib.dataset.text_rules import TEXT_RULES

HERE = Path(__file__).parent
FIELDS = ("right", "type", "before", "found", "behind", "corpus")


def recall(offset: int = 0, step: int = 1) -> dict[str, dict[str, float]]:
    """Per type: planted cases, those found in full, and the share; ``traps`` counts texts wrongly touched."""
    cases = [json.loads(line) for line in (HERE / "planted_deidentify.jsonl").open(encoding="utf-8")]
    planted, found = Counter(), Counter()
    for case in cases[offset::step]:
        start = case["text"].index(case["found"])
        covered = {i for finding in find(case["text"]) for i in range(finding.start, finding.end)}
        wanted = {i for i in range(start, start + len(case["found"])) if not case["text"][i].isspace()}
        planted[case["type"]] += 1
        found[case["type"]] += wanted <= covered
    rows = {
        kind: {"found": found[kind], "n": planted[kind], "recall": round(found[kind] / planted[kind], 3)}
        for kind in TYPES
        if planted[kind]
    }
    traps = [json.loads(line)["text"] for line in (HERE / "traps_deidentify.jsonl").open(encoding="utf-8")]
    return rows | {"traps": {"touched": sum(bool(find(text)) for text in traps), "n": len(traps)}}


def texts(path: Path) -> Iterator[str]:
    """Every text of a corpus."""
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            yield from texts(file) if file.is_file() else ()
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                yield from _parsed(name, archive.read(name).decode("utf-8", "replace"))
    else:
        yield from _parsed(path.name, path.read_text(encoding="utf-8", errors="replace"))


def _parsed(name: str, content: str) -> Iterator[str]:
    if name.endswith(".jsonl"):
        for line in content.splitlines():
            yield from _strings(json.loads(line))
    elif name.endswith(".json"):
        yield from _strings(json.loads(content))
    elif name.endswith(".txt"):
        yield content


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)


def write_findings(corpora: list[Path], out: Path) -> Counter[str]:
    """Write every finding once, with context; how many there are of each type."""
    seen, counts = set(), Counter()
    with out.open("w", encoding="utf-8", newline="") as handle:
        rows = csv.writer(handle)
        rows.writerow(FIELDS)
        for corpus in corpora:
            for text in texts(corpus):
                for mend in TEXT_RULES.values():
                    text = mend(text)
                for finding in find(text):
                    start, end = finding.start, finding.end
                    near = re.sub(r"\W", "", text[max(0, start - 6) : end + 4])
                    if (finding.type, near) not in seen:  # corpora hold the same post many times
                        seen.add((finding.type, near))
                        counts[finding.type] += 1
                        before, behind = text[max(0, start - 30) : start], text[end : end + 20]
                        rows.writerow(["", finding.type, before, text[start:end], behind, corpus.name])
    return counts


def precision(marked: Path) -> dict[str, dict[str, Any]]:
    """Per type: findings marked, those right, the share and its 95 % interval (Wilson)."""
    right, n = Counter(), Counter()
    with marked.open(encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle):
            if row["right"] in ("0", "1"):
                n[row["type"]] += 1
                right[row["type"]] += row["right"] == "1"
    return {
        kind: {
            "right": right[kind],
            "n": n[kind],
            "precision": round(right[kind] / n[kind], 3),
            "interval": [round(score.low, 3), round(score.high, 3)],
        }
        for kind in TYPES
        if n[kind]
        for score in [wilson_share([1] * right[kind] + [0] * (n[kind] - right[kind]))]
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", nargs="+", type=Path, help="corpora to take findings from")
    parser.add_argument("--out", type=Path, default=Path("findings.csv"))
    parser.add_argument("--marked", type=Path, help="findings with the column 'right' filled in")
    parser.add_argument("--half", choices=["first", "second"], help="every other planted case")
    given = parser.parse_args()
    if given.marked:
        rows = precision(given.marked)
    elif given.data:
        rows = dict(write_findings(given.data, given.out))
    else:
        rows = recall(given.half == "second", 2 if given.half else 1)
    for kind, row in rows.items():
        print(kind, row)
    print(json.dumps(rows, default=list))


if __name__ == "__main__":
    main()
