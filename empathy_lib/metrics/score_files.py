"""What notebook 05 leaves behind: completions of all systems, scores per example, the tables with intervals.

Knows: the files of ``05_metrics``. Does not know: how anything is scored (``metrics``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from empathy_lib.core.errors import UserError
from empathy_lib.core.files import tamed, untamed
from empathy_lib.core.schema import Item
from empathy_lib.metrics.scoring import Example, Settings, by_segment, mean_frames, score_table

COMPLETIONS, EXAMPLES, SCORES, BY_SEGMENT = (
    "completions.jsonl",
    "per_example.csv",
    "scores.csv",
    "scores_by_segment.csv",
)


def write_completions(path: Path, items: Sequence[Item], completions: Mapping[str, Sequence[str]]) -> None:
    """Write ``{id, system, completion}`` a line, system by system; notebook 06 reads it."""
    with Path(path).open("w", encoding="utf-8") as handle:
        for system, texts in completions.items():
            for item, text in zip(items, texts, strict=True):
                handle.write(
                    json.dumps({"id": item.id, "system": system, "completion": text}, ensure_ascii=False)
                    + "\n"
                )


def write_scores(
    folder: Path,
    systems: Mapping[str, Sequence[Example]],
    settings: Settings,
    further: Mapping[str, Sequence[Sequence[Example]]] | None = None,
) -> None:
    """Score all systems: ``per_example.csv`` (system, id, a column per metric), ``scores.csv`` (long table)
    and ``scores_by_segment.csv`` (the same in words and in characters, for the metrics that depend on it).

    Args:
        further: more samples of a system on the same questions; scores per example are means over all of its
            samples, scores of a whole corpus those of the first.
    """
    frames = mean_frames(systems, settings, further or {})
    rows = pd.concat(frames, names=["system"])
    rows.index = rows.index.map(lambda names: tuple(map(tamed, names)))
    rows.to_csv(Path(folder) / EXAMPLES)
    table = score_table(systems, settings, frames)
    table.to_csv(Path(folder) / SCORES, index=False)
    by_segment(systems, settings, table, further).to_csv(Path(folder) / BY_SEGMENT, index=False)


def read_scores(folder: Path) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Both tables of :func:`write_scores`: frames per system as ``per_example`` gives them, and the long
    table.

    Raises:
        UserError: a file is missing.
    """
    for name in (EXAMPLES, SCORES):
        if not (Path(folder) / name).is_file():
            raise UserError(f"{folder}/{name}: no such file; delete {folder} and run notebook 05 again")
    rows = pd.read_csv(
        Path(folder) / EXAMPLES,
        converters={"system": untamed, "id": untamed},
        keep_default_na=False,  # an id may be "NA"
        na_values=[""],
        float_precision="round_trip",
    )
    frames = {
        name: part.drop(columns="system").set_index("id") for name, part in rows.groupby("system", sort=False)
    }
    return frames, pd.read_csv(Path(folder) / SCORES, float_precision="round_trip")
