"""How a sharded construction is to be run; needs no datatrove."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from empathy_lib.core.errors import UserError


@dataclass(frozen=True)
class Plan:
    """How the steps are run.

    Attributes:
        executor: ``local``, ``slurm`` or ``ray``.
        tasks: shards; the result does not depend on it, the memory of a task does.
        workers: tasks at a time; 0: as many as this machine has cores (local), or no limit.
        options: more arguments of datatrove's executor, such as Slurm's ``time`` and ``partition``;
            ``one_task`` holds others for the steps of one task.
    """

    executor: str
    tasks: int = 8
    workers: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)


def read_options(path: str | None) -> dict[str, Any]:
    """The executor's options from a YAML file; none without one.

    Raises:
        UserError: there is no such file, or it holds no fields.
    """
    if not path:
        return {}
    try:
        options = yaml.safe_load(text := Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"--executor-options {path}: {' '.join(str(error).split())}") from error
    if not isinstance(options, dict):
        raise UserError(
            f"--executor-options {path}: give fields of datatrove's executor, e.g. time: '12:00:00'"
        )
    if not isinstance(options.get("one_task") or {}, dict):
        raise UserError(f"--executor-options {path}: one_task holds fields, e.g. mem_per_cpu_gb: 16")
    if str(raw := options.get("time", "")).isdecimal() and ":" in text:
        raise UserError(
            f"--executor-options {path}: YAML reads time as the number {raw}; put it in quotes, '12:00:00'"
        )
    return options
