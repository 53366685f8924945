"""Scores of any system's outputs, for ``python -m empathy_lib score``: a JSONL of completions in, a JSON of
metrics out.

Knows: the fields of a line, and what is wrong with one. Does not know: how anything is scored (``metrics``).
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from empathy_lib.core import coe
from empathy_lib.core.coe import ChainOfEmpathy
from empathy_lib.core.errors import UserError
from empathy_lib.core.schema import Gold, iter_jsonl
from empathy_lib.metrics.registry import METRICS
from empathy_lib.metrics.scoring import Example, Settings, by_segment, reference_note, score_table
from empathy_lib.metrics.tables import headline_entry


class Labels(Gold):
    """Gold labels; situation is not marked, and where belief or bias are left out theirs are not
    available."""

    situation: str = ""
    belief: str = ""
    bias: str = ""


class Line(BaseModel):
    """One answered question. ``coe``: the gold labels, or a gold chain, or whether a chain was asked for at
    all."""

    model_config = ConfigDict(extra="ignore")
    id: str
    completion: str
    references: list[str] = Field(default_factory=list)
    question: str = ""
    coe: Labels | ChainOfEmpathy | bool | None = None


def read_lines(path: Path) -> list[Line]:
    """Read and check a file of completions.

    Raises:
        UserError: no such file, no line, no JSON, a field missing or of a wrong type, an id twice; names
            file, line, field, remedy.
    """
    if not path.is_file():
        raise UserError(
            f"{path}: no such file; give a JSONL of {{id, completion, references, question?, coe?}}"
        )
    lines: list[Line] = []
    seen: dict[str, int] = {}
    for number, line in iter_jsonl(path, Line, "; a line is {id, completion, references, question?, coe?}"):
        if line.id in seen:
            raise UserError(
                f"{path}, line {number}: field 'id': '{line.id}' is that of line {seen[line.id]}; give every "
                f"line its own"
            )
        seen[line.id] = number
        lines.append(line)
    if not lines:
        raise UserError(
            f"{path}: the file is empty; give a JSONL of {{id, completion, references, question?, coe?}}"
        )
    return lines


def score_lines(lines: list[Line], settings: Settings) -> tuple[dict[str, dict[str, Any]], str]:
    """``{metric: {value, interval, n, unit, direction, range, aggregation, library, version}}``, and a
    sentence on the references.

    A metric that depends on the unit has ``segment`` too, the unit of its value, and ``by_segment``: its
    value in words and in characters. A chain is looked for where a line's ``coe`` asks for one, or, where no
    line says anything of it, if any completion holds a tag of one.

    Reasoning blocks (``coe.cut_reasoning``) are cut first. ``well_formed`` has ``reasoning_cut`` too, the
    number of completions that had one, and ``reasons``: why completions are not well-formed, each counted
    once, most frequent first.
    """
    completions = [coe.cut_reasoning(line.completion) for line in lines]
    tagged = any(f"<{tag}>" in text for text in completions for tag in coe.TAGS)
    says = any(line.coe is not None for line in lines)
    examples = [
        Example(
            line.id,
            line.question,
            completion,
            [text for text in line.references if text.strip()],
            line.coe if isinstance(line.coe, Gold) else None,
            coe_expected=bool(line.coe) if says else tagged,
        )
        for line, completion in zip(lines, completions, strict=True)
    ]
    systems = {"": examples}
    table, result = score_table(systems, settings), {}
    for name, metric in METRICS.items():
        says_of_metric = {
            field: getattr(metric, field)
            for field in ("direction", "range", "aggregation", "library", "version")
        }
        result[name] = headline_entry(table, "", name) | says_of_metric
    for row in by_segment(systems, settings, table).itertuples():
        entry = result[row.metric]
        entry["segment"] = settings.segment
        entry.setdefault("by_segment", {})[row.segment] = None if math.isnan(row.value) else row.value
    faults = Counter(coe.main_fault(example.completion) for example in examples if example.coe_expected)
    result["well_formed"]["reasons"] = {reason: count for reason, count in faults.most_common() if reason}
    result["well_formed"]["reasoning_cut"] = sum(
        line.completion != completion for line, completion in zip(lines, completions, strict=True)
    )
    return result, reference_note(examples)
