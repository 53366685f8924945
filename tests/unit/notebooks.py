"""Run a notebook's cells in this process, as a reader would who edits them: for tests, on a tiny model."""

import ast
import json
import os
import random
from pathlib import Path
from typing import Any

from empathy_lib.core.run import NOTEBOOKS, ROOT

# Small enough that a notebook takes seconds, with every stage that `smoke` has.
TINY = {
    "base_model.trim_min_count": 1,
    "base_model.max_length": 1200,
    "dataset.questions": 60,
    "generation.max_new_tokens": 12,
    "sft.max_steps": 2,
    "reward.max_steps": 2,
    "reward.comparisons": [],
    "grpo.max_steps": 2,
    "grpo.comparisons": ["no_coe", "best_of_n", "more_sft", "chain"],
    "metrics.max_questions": 4,
    "metrics.samples": 1,
    "human_eval.items": 3,
    "human_eval.raters": 3,
    "human_eval.attention_checks": 0,
    "human_eval.simulations": 2,
    "human_eval.bootstrap": 20,
}


def cells_of(number: str) -> list[str]:
    """The code cells of a notebook, its parameters and what papermill replaces them by left out."""
    name = next(name for name in NOTEBOOKS if name.startswith(number))
    notebook = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return ["".join(cell["source"]) for cell in code if "parameters" not in cell["metadata"].get("tags", [])]


class Kernel:
    """The names of a notebook, and running its cells."""

    def __init__(self, run_dir: Path, overrides: dict[str, Any]):
        parameters = {"profile": "smoke", "run_dir": str(run_dir), "overrides": overrides}
        self.names: dict[str, Any] = {"__name__": "__main__", **parameters}

    def run(self, cells: list[str]) -> "Kernel":
        """Run cells in order, in the notebooks' folder."""
        here = Path.cwd()
        os.chdir(ROOT / "notebooks")
        try:
            for number, cell in enumerate(cells):
                exec(compile(cell, f"<cell {number}>", "exec"), self.names)
        finally:
            os.chdir(here)
        return self


def edited(cells: list[str], old: str, new: str) -> list[str]:
    """Cells of which one, and only one, holds ``old`` once."""
    assert sum(cell.count(old) for cell in cells) == 1, old
    return [cell.replace(old, new) for cell in cells]


def legal_shuffle(cells: list[str], seed: int) -> list[str]:
    """Another order in which each cell still comes after those whose names it needs or replaces.

    Cells that build, read or count stages keep their order among themselves: they share the run's folder.
    """
    facts = [_facts(cell) for cell in cells]
    before = {
        later: {
            early
            for early in range(later)
            if facts[early][1] & (facts[later][0] | facts[later][1]) or facts[early][0] & facts[later][1]
        }
        for later in range(len(cells))
    }
    draw, order = random.Random(seed), []
    while len(order) < len(cells):
        ready = [c for c in range(len(cells)) if c not in order and before[c] <= set(order)]
        order.append(draw.choice(ready))
    assert order != sorted(order), "nothing could be shuffled"
    return [cells[place] for place in order]


def _facts(cell: str) -> tuple[set[str], set[str]]:
    """Names that a cell reads, and those it binds or changes in place."""
    read, bound = set(), set()
    for node in ast.walk(ast.parse(cell)):
        if isinstance(node, ast.Name):
            (bound if isinstance(node.ctx, ast.Store) else read).add(node.id)
        elif isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name):
                bound.add(node.value.id)
        elif isinstance(node, ast.FunctionDef):
            bound.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {alias.asname or alias.name for alias in node.names}
    if "run" in read and ("build" in read | bound or any(word in cell for word in _SHARED)):
        bound.add("<run>")
    return read, bound


_SHARED = (
    "run.build",
    "run.stage",
    "run.headline",
    "run.manifest",
    "complete(",
    "complete_all(",
    "load_reward",
)
