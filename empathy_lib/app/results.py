"""A run's figures as Markdown: the tables and the claim that README and docs/results.md show.

Knows: ``headline.json`` and which of its figures a reader sees first. Does not know: how a figure came about;
one that is not in ``headline.json`` is shown as "not available", never as a number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from empathy_lib.core.run import NOTEBOOKS
from empathy_lib.core.style import SYSTEM_LABELS
from empathy_lib.metrics.tables import markdown

NOT_AVAILABLE = "not available"
Headline = dict[str, dict[str, Any]]
ORIGIN = {
    True: "synthetic questions written by this project",
    False: "posts of the public corpus {source} ({licence}), its chains {chains}",
}
CHAINS = {"gold": "the source's own", "rules": "rule-made", "teacher": "written by a language model"}
_NOTE = (
    "Small print below a value: its 95 % interval. All figures are on {origin}, and on a small base model; "
    "they are no clinical result. Distinct-2, copy rate and r_answer are best near the references' own "
    "values, not highest: a high r_answer can be bought by copying the post."
)


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
    ("Pairwise accuracy, same-sub-topic negatives", "rm.pairwise_accuracy.same_subtopic", _percent),
    ("Pairwise accuracy, BM25's answer", "rm.pairwise_accuracy.bm25", _percent),
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


# What a notebook asks, and the figure that stands for it.
_NOTEBOOKS = (
    ("How is a dataset with reasoning made, and checked?", "01_funnel"),
    ("Can a small model learn to write the chain?", "02_well_formed"),
    ("Does a contrastive encoder know whose answer it is?", "03_cosines"),
    ("What does GRPO gain, and by which judge?", "04_grpo"),
    ("What do automatic metrics see, and miss?", "05_coe_accuracy"),
    ("How large must a study with people be?", "06_win_and_mean_rank"),
)


def notebooks_table(headline: Headline) -> str:
    """The README's table of notebooks: question, minutes, a small figure."""
    rows = []
    for name, (question, figure) in zip(NOTEBOOKS, _NOTEBOOKS, strict=True):
        minutes = _cell(headline, f"wall_minutes.{name}", _one)
        picture = (
            f'<a href="figures/{figure}.png"><img src="figures/{figure}.png" width="160" alt="{figure}"></a>'
        )
        rows.append([f"[{name}](notebooks/{name}.ipynb)", question, minutes, picture])
    return markdown(["Notebook", "Question", "Minutes", "A figure of it"], rows)


def claim(headline: Headline) -> str:
    """What GRPO bought, by which judge, at which price, in sentences that a reader can check."""

    def difference(key: str) -> str:
        entry = headline.get(key, {})
        if not _known(entry.get("value")):
            return NOT_AVAILABLE
        low, high = entry["interval"]
        return f"{entry['value']:+.3f} [{low:+.3f}, {high:+.3f}]"

    gain = headline.get("grpo.r_answer_minus_sft", {})
    seeds, minutes = gain.get("seeds", 1), headline.get("wall_minutes.04_grpo", {}).get("value")
    price = f"{minutes:.0f} minutes of notebook 04" if _known(minutes) else "a time that is not available"
    return (
        f"**GRPO minus SFT**, {seeds} training{'s' * (seeds > 1)}, {gain.get('n') or NOT_AVAILABLE} held-out "
        f"posts, 95 % intervals: r_answer, which it was paid for, {difference('grpo.r_answer_minus_sft')}; "
        f"the cosine of a judge that it never met (same base) {difference('grpo.judge_minus_sft')}; copy "
        f"rate {difference('grpo.copy_rate_minus_sft')}; for {price} on two CPU cores. "
        f"Synthetic posts, a small model, no person asked."
    )


def results_table(headline: Headline, origin: str = ORIGIN[True]) -> str:
    """Three tables as Markdown, with a note above: systems, reward model, cost of each notebook.

    Args:
        headline: ``{key: {"value", "interval": [low, high] | None, "n", "unit", "notebook"}}``, shares and F1
            from 0 to 1, BLEU from 0 to 100.
        origin: whose posts, in words.
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
            _NOTE.format(origin=origin),
            markdown(["System", *(title for title, _, _ in _COLUMNS)], systems),
            markdown(["Reward model and GRPO", "Value", "n"], reward),
            markdown(["Notebook", "Minutes", "Peak memory, GiB"], [*cost, ["**all six**", total, ""]]),
        ]
    )
