"""Tables of scores: for reading, by topic and length of post, and as CSV, Markdown and LaTeX.

Knows: the long table of ``metrics.score_table`` and frames of ``metrics.per_example``. Does not know: how
anything is scored. Needs no model library, so that ``report`` may use it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from empathy_lib.core.errors import UserError
from empathy_lib.core.files import tamed, write_text
from empathy_lib.core.run import generator
from empathy_lib.core.schema import Item
from empathy_lib.core.statistics import Score, as_entry, bootstrap_mean, wilson_share
from empathy_lib.core.text import visible_length
from empathy_lib.dataset.glosses import bilingual
from empathy_lib.metrics.registry import METRICS, PER_EXAMPLE
from empathy_lib.reward.marking import ALL_MARKS, NO_GOLD

_LATEX = str.maketrans(
    {mark: rf"\{mark}" for mark in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
)
_FIGURE = re.compile(r"[-+]?[\d.,]+( \[[-+\d., ]+\])?")  # a difference may begin with a sign
OTHER_TOPICS = "all other topics"


def _cell(value: float, low: float, high: float) -> str:
    if math.isnan(value):
        return "not available"
    digits = 3 if abs(value) < 10 else 1
    interval = "" if math.isnan(low) else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{value:.{digits}f}{interval}"


def wide_table(table: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """A long table for reading: a row per system, a column per metric, "value [low, high]" or "not
    available"."""
    cells = table[table["metric"].isin(metrics)].copy()
    cells["cell"] = [_cell(row.value, row.low, row.high) for row in cells.itertuples()]
    wide = cells.pivot(index="system", columns="metric", values="cell").reindex(
        index=table["system"].unique(), columns=list(metrics)
    )
    return wide.fillna("not available")


def wide_breakdown(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One metric of :func:`breakdown` for reading: a row per group with its size ``n``, a column per
    system."""
    part = table[table["metric"] == metric]
    cells = wide_table(
        part.assign(system=part["group"], metric=part["system"]), list(part["system"].unique())
    )
    cells.insert(0, "n", part.groupby("group")["n"].max().astype(str))
    return cells.rename_axis(index="group", columns=None)


def headline_entry(table: pd.DataFrame, system: str, metric: str) -> dict[str, object]:
    """One figure as ``headline.json`` keeps it: ``{value, interval, n, unit}``; None where not available,
    a mark of a chain with the ``reason``.

    Raises:
        UserError: the table has no such system or metric.
    """
    found = table[(table["system"] == system) & (table["metric"] == metric)]
    if found.empty:
        raise UserError(
            f"no score of system '{system}', metric '{metric}'; the table has "
            f"{', '.join(table['system'].unique())}"
        )
    row = found.iloc[0]
    entry = as_entry(Score(row["value"], row["low"], row["high"], int(row["n"])), METRICS[metric].unit)
    if metric not in ALL_MARKS or entry["value"] is not None:
        return entry
    formed = table[(table["system"] == system) & (table["metric"] == "well_formed")]
    plain = not formed.empty and int(formed.iloc[0]["n"]) == 0
    return entry | {"reason": "no chain was asked for" if plain else NO_GOLD}


def topic_groups(items: Sequence[Item], at_least: int = 5) -> pd.Series:
    """Topic of each item by id, with its English name where it has one, the largest first; topics with fewer
    than ``at_least`` items, and items without one, come last as :data:`OTHER_TOPICS`."""
    names = {item.id: bilingual(item.topic) if item.topic else "" for item in items}
    counts = Counter(names.values())
    topics = {key: name if name and counts[name] >= at_least else OTHER_TOPICS for key, name in names.items()}
    order = sorted(topics.items(), key=lambda entry: (entry[1] == OTHER_TOPICS, -counts[entry[1]], entry[1]))
    return pd.Series(dict(order), dtype=str)


def length_groups(items: Sequence[Item]) -> pd.Series:
    """Short, middle or long post of each item by id, the shortest first: the thirds of these posts by number
    of characters."""
    lengths = pd.Series({item.id: visible_length(item.question) for item in items}, dtype=float).sort_values(
        kind="stable"
    )
    low, high = np.quantile(lengths, [1 / 3, 2 / 3])
    names = [f"short, up to {low:.0f}", f"middle, up to {high:.0f}", f"long, above {high:.0f}"]
    return pd.Series(np.select([lengths <= low, lengths <= high], names[:2], names[2]), index=lengths.index)


def sentence_groups(items: Sequence[Item]) -> pd.Series:
    """Whether training posts have the sentences (cause, emotion, closing) of each item's post, by id; items
    of which that is not known are left out."""
    names = {"seen": "sentences seen in training", "unseen": "sentences held out of training"}
    known = [item for item in items if item.gold is not None and item.gold.sentences]
    known.sort(key=lambda item: item.gold.sentences)
    return pd.Series({item.id: names[item.gold.sentences] for item in known}, dtype=str)


def breakdown(
    frames: Mapping[str, pd.DataFrame],
    groups: pd.Series,
    metrics: Sequence[str],
    *,
    resamples: int,
    seed: int,
) -> pd.DataFrame:
    """Scores of each system within groups of questions.

    Args:
        frames: scores of ``metrics.per_example`` by system.
        groups: id of a question to its group; groups keep the order in which they first appear.
        metrics: of ``metrics.PER_EXAMPLE``; a corpus score of four answers would say nothing.

    Returns:
        Columns ``group, system, metric, value, low, high, n``; ``n`` counts the answers that have the score.

    Raises:
        UserError: a metric has no value per example.
    """
    if wrong := [name for name in metrics if name not in PER_EXAMPLE]:
        raise UserError(f"metric '{wrong[0]}' has no value per example; use one of {', '.join(PER_EXAMPLE)}")
    rows = []
    for group in groups.unique():
        for system, frame in frames.items():
            part = frame.loc[frame.index.intersection(groups.index[groups == group])]
            for name in metrics:
                rng = generator(seed, f"breakdown {group} {name}")
                share = METRICS[name].aggregation == "share"
                score = (
                    wilson_share(part[name])
                    if share
                    else bootstrap_mean(part[name], resamples=resamples, rng=rng)
                )
                rows.append({"group": group, "system": system, "metric": name, **vars(score)})
    return pd.DataFrame(rows, columns=["group", "system", "metric", "value", "low", "high", "n"])


def markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table; cells must be free of line breaks and ``|``."""
    head = list(head)
    lines = [head, ["---"] * len(head), *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def latex(table: pd.DataFrame, text: str, label: str) -> str:
    """A booktabs table, as wide as the text (needs graphicx); names, cells and caption are escaped. Chinese
    names need xeCJK or ctex."""
    body = table.to_latex(
        index=False, escape=True, caption=text.translate(_LATEX), label=f"tab:{label}", position="htbp"
    )
    return body.replace(r"\begin{tabular}", r"\resizebox{\textwidth}{!}{\begin{tabular}").replace(
        r"\end{tabular}", r"\end{tabular}}"
    )


def write_table(table: pd.DataFrame, folder: Path, name: str, text: str) -> None:
    """Write a table of texts as ``name.csv``, ``name.md`` and ``name.tex``, each whole or not at all.

    Args:
        table: its index is written too, as the first columns.
        text: the caption, which says what is synthetic, simulated or small; in the CSV it is a column
            ``note``. A topic is named by whoever made the corpus: no cell is a formula, a tag or a command.
    """
    flat = table.reset_index()
    safe = lambda value: " ".join(str(value).split()).replace("|", r"\|").replace("<", "&lt;")  # noqa: E731
    rows = [[safe(cell) for cell in row] for row in flat.itertuples(index=False)]
    cells = flat.map(lambda cell: cell if _FIGURE.fullmatch(str(cell)) else tamed(str(cell)))
    write_text(folder / f"{name}.csv", cells.assign(note=tamed(text)).to_csv(index=False))
    write_text(
        folder / f"{name}.md", markdown(map(safe, flat.columns), rows) + f"\n\n{text.replace('<', '&lt;')}\n"
    )
    write_text(folder / f"{name}.tex", latex(flat, text, name))
