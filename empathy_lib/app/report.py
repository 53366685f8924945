"""What a finished run shows to readers of the repository: executed notebooks, figures, and the README's
results table.

Knows: ``headline.json``, the README's markers, which texts of an executed notebook name this machine. Does
not know: how any figure came about; a figure that is not in ``headline.json`` is shown as "not available",
never as a number.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat

from empathy_lib.core.config import load_profile
from empathy_lib.core.errors import UserError
from empathy_lib.core.run import NOTEBOOKS, ROOT, read_json, write_json, write_text
from empathy_lib.core.style import SYSTEM_LABELS
from empathy_lib.dataset.card import write_card
from empathy_lib.metrics.tables import markdown

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
NOT_AVAILABLE = "not available"
SAMPLE_ITEMS = 12
Headline = dict[str, dict[str, Any]]
_NOTE = (
    "Small print below a value: its 95 % interval. All figures are on synthetic questions written by this "
    "project and on a small base "
    "model; they are no clinical result. Distinct-2, copy rate and r_answer are best near the references' "
    "own values, not highest: "
    "a high r_answer can be bought by copying the post."
)
_KERNEL_FILE = re.compile(r"\S*/ipykernel_\d+/\d+\.py")


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _three(value: float) -> str:
    return f"{value:.3f}"


def _one(value: float) -> str:
    return f"{value:.1f}"


_COLUMNS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("Well-formed CoE", "metrics.{}.well_formed", _percent),
    ("CoE accuracy L1", "coe_accuracy.{}.L1", _percent),
    ("L2 cause", "coe_accuracy.{}.cause", _percent),
    ("L2 bias", "coe_accuracy.{}.bias", _percent),
    ("L2 belief", "coe_accuracy.{}.belief", _percent),
    ("L3", "coe_accuracy.{}.L3", _percent),
    ("ROUGE-L", "metrics.{}.rouge_l", _three),
    ("BLEU-4", "metrics.{}.bleu_4", _one),
    ("Distinct-2", "metrics.{}.distinct_2", _three),
    ("Copy rate", "copy_rate.{}", _percent),
    ("r_answer", "r_answer.{}", _three),
)
_REWARD_ROWS = (
    ("Pairwise accuracy, random negatives", "rm.pairwise_accuracy.random", _percent),
    ("Pairwise accuracy, same-topic negatives", "rm.pairwise_accuracy.same_topic", _percent),
    ("Pairwise accuracy, the post copied whole", "rm.pairwise_accuracy.copy_whole", _percent),
    ("Pairwise accuracy, a part of the post copied", "rm.pairwise_accuracy.copy_partial", _percent),
    ("Pairwise accuracy, the post rephrased", "rm.pairwise_accuracy.copy_rephrased", _percent),
    ("AUC", "rm.auc", _three),
    (
        "Independent judge: pairwise accuracy, same-topic negatives",
        "judge.pairwise_accuracy.same_topic",
        _percent,
    ),
    ("r_answer, GRPO minus SFT", "grpo.r_answer_minus_sft", _three),
    ("Independent judge's cosine, GRPO minus SFT", "grpo.judge_minus_sft", _three),
    ("Cosine by the judge of another kind, GRPO minus SFT", "grpo.kind_judge_minus_sft", _three),
    ("The same, GRPO minus the best of 2 from SFT", "grpo.kind_judge_minus_best_of_2", _three),
    ("Well-formed, GRPO minus SFT", "grpo.well_formed_minus_sft", _percent),
    ("Copy rate, GRPO minus SFT", "grpo.copy_rate_minus_sft", _percent),
)


def _known(value: Any) -> bool:
    return isinstance(value, int | float) and not math.isnan(value)


def _cell(headline: Headline, key: str, show: Callable[[float], str]) -> str:
    """A value with its 95 % interval below it; "not available" where the key is missing or its value is null
    or NaN."""
    entry = headline.get(key, {})
    if not _known(entry.get("value")):
        return NOT_AVAILABLE
    interval = entry.get("interval")
    spread = (
        f"<br><sub>{show(interval[0])} to {show(interval[1])}</sub>"
        if interval and all(map(_known, interval))
        else ""
    )
    return show(entry["value"]) + spread


def results_table(headline: Headline) -> str:
    """The README's three tables as Markdown: systems, reward model, cost of each notebook.

    Args:
        headline: ``{key: {"value", "interval": [low, high] | None, "n", "unit", "notebook"}}``, shares and F1
            from 0 to 1, BLEU from 0 to 100.
    """
    systems = [
        [label, *(_cell(headline, key.format(name), show) for _, key, show in _COLUMNS)]
        for name, label in SYSTEM_LABELS.items()
    ]
    reward = []
    for label, key, show in _REWARD_ROWS:
        entry = headline.get(key, {})
        seeds = f", mean of {entry['seeds']} seeds" if entry.get("seeds", 1) > 1 else ""
        reward.append([label + seeds, _cell(headline, key, show), str(entry.get("n") or NOT_AVAILABLE)])
    cost = [
        [name, *(_cell(headline, f"{kind}.{name}", _one) for kind in ("wall_minutes", "peak_gib"))]
        for name in NOTEBOOKS
    ]
    minutes = [headline.get(f"wall_minutes.{name}", {}).get("value") for name in NOTEBOOKS]
    total = _one(sum(minutes)) if all(map(_known, minutes)) else NOT_AVAILABLE
    return "\n\n".join(
        [
            _NOTE,
            markdown(["System", *(title for title, _, _ in _COLUMNS)], systems),
            markdown(["Reward model and GRPO", "Value", "n"], reward),
            markdown(["Notebook", "Minutes", "Peak memory, GiB"], [*cost, ["**all six**", total, ""]]),
        ]
    )


def update_readme(readme: Path, headline: Headline) -> None:
    """Replace what stands between the README's markers by :func:`results_table`.

    Raises:
        UserError: the file or a marker is missing.
    """
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise UserError(
            f"{readme}: needs the lines {BEGIN} and {END}, once each and in this order; add them where the "
            f"table belongs"
        )
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    write_text(readme, f"{before}{BEGIN}\n{results_table(headline)}\n{END}{after}")


def scrub(value: Any, replacements: dict[str, str]) -> Any:
    """``value`` (a notebook, list or text) with every path of this machine replaced, the longest first, in
    all its texts."""
    if isinstance(value, str):
        for old in sorted(replacements, key=len, reverse=True):
            value = value.replace(old, replacements[old]).replace(
                old.encode("unicode_escape").decode("ascii"), replacements[old]
            )
        # the pattern is slow on a figure's base64
        return _KERNEL_FILE.sub("cell.py", value) if "/ipykernel_" in value else value
    if isinstance(value, dict):
        return type(value)({key: scrub(item, replacements) for key, item in value.items()})
    return [scrub(item, replacements) for item in value] if isinstance(value, list) else value


def machine_paths(run_dir: Path, root: Path, profile: str) -> dict[str, str]:
    """The folders that tell where a run was made, each with what a reader may see instead."""
    folders = {run_dir: f"runs/{profile}", Path(sys.prefix): ".venv", root: ".", Path.home(): "~"}
    if os.environ.get("EMPATHY_CACHE"):
        folders[Path(os.environ["EMPATHY_CACHE"])] = "~/.cache/empathy-r1"
    return {str(folder): shown for folder, shown in folders.items() if folder != Path(folder.anchor)}


def publish(run_dir: Path, parameters: dict[str, Any], root: Path = ROOT) -> list[Path]:
    """Copy a complete run into the repository: executed notebooks without machine paths, figures, headline,
    data card, README.

    Args:
        run_dir: the run's folder.
        parameters: the papermill parameters of the run; notebooks executed with others are refused.
        root: the repository.

    Returns:
        The paths written.

    Raises:
        UserError: the run is not complete, its posts are not synthetic, or the README has no markers.
    """
    statistics = read_json(run_dir / "01_dataset" / "statistics.json")
    if not statistics["synthetic"]:
        raise UserError(
            f"{run_dir}: holds real posts, which are not published; only a run on synthetic data can be"
        )
    executed = {name: _executed(run_dir / "notebooks" / f"{name}.ipynb", parameters) for name in NOTEBOOKS}
    headline = read_json(run_dir / "headline.json")
    update_readme(root / "README.md", headline)
    target, figures = root / "notebooks" / "executed" / parameters["profile"], root / "figures"
    target.mkdir(parents=True, exist_ok=True)
    figures.mkdir(exist_ok=True)
    replacements = machine_paths(run_dir, root, parameters["profile"])
    for name, notebook in executed.items():
        clean = scrub(notebook, replacements)
        clean.metadata.papermill.update(
            input_path=f"notebooks/{name}.ipynb",
            output_path=f"notebooks/executed/{parameters['profile']}/{name}.ipynb",
        )
        write_text(target / f"{name}.ipynb", nbformat.writes(clean) + "\n")
    for old in figures.glob("0[1-6]_*.p[nd][gf]"):
        old.unlink()
    for figure in sorted((run_dir / "figures").glob("*.p[nd][gf]")):  # each figure as PNG and as PDF
        shutil.copyfile(figure, figures / figure.name)
    write_json(figures / "headline.json", headline)
    profile = load_profile(parameters["profile"], parameters["overrides"])
    write_card(root / "data", statistics, profile.dataset, profile.seed, files={"train": "sample.jsonl"})
    sample = (
        (run_dir / "01_dataset" / "test.jsonl")
        .read_text(encoding="utf-8")
        .splitlines(keepends=True)[:SAMPLE_ITEMS]
    )
    write_text(root / "data" / "sample.jsonl", "".join(sample))
    return [target, figures, root / "data", root / "README.md"]


def _executed(path: Path, parameters: dict[str, Any]) -> nbformat.NotebookNode:
    """An executed notebook that ran to its end with these parameters."""
    remedy = "run the same command without --from"
    if not path.is_file():
        raise UserError(f"{path}: this notebook was not executed; {remedy}")
    notebook = nbformat.read(path, as_version=4)
    record = notebook.metadata.get("papermill", {})
    if record.get("exception") or not record.get("end_time"):
        raise UserError(f"{path}: stopped at a failing cell; {remedy}")
    if record.get("parameters") != parameters:
        raise UserError(f"{path}: was executed with other parameters; {remedy}")
    return notebook
