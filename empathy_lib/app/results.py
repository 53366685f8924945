"""A run's figures as Markdown: the tables and the claim that README and docs/results.md show.

Knows: ``headline.json`` and which of its figures a reader sees first. Does not know: how a figure came about;
one that is not in ``headline.json`` is shown as "not available", never as a number.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

from empathy_lib.core.run import NOTEBOOKS
from empathy_lib.core.style import COMPARED_LABELS, SYSTEM_LABELS, system_label
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


_Columns = tuple[tuple[str, str, Callable[[float], str]], ...]  # title, key with gaps for names, format
_COLUMNS: _Columns = (
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
    ("Cosine by the judge of another kind, GRPO minus SFT", "grpo.kind_judge_minus_sft", _three),
    ("The same, GRPO minus the best of 2 from SFT", "grpo.kind_judge_minus_best_of_2", _three),
    ("Well-formed, GRPO minus SFT", "grpo.well_formed_minus_sft", _percent),
    ("Copy rate, GRPO minus SFT", "grpo.copy_rate_minus_sft", _percent),
)

# Notebook 04's comparisons: of one training ({}: the system), of all seeds ({}: the system, minus which).
_MEASURES = (
    ("Well-formed CoE", "well_formed", _percent),
    ("r_answer", "r_answer", _three),
    ("Judge of the same base", "judge", _three),
    ("Judge of another kind", "kind_judge", _three),
    ("Copy rate", "copy_rate", _percent),
    ("Fluency, nats a token", "fluency", _three),
)
_ONE_TRAINING = tuple((title, f"ablation.{key}.{{}}", show) for title, key, show in _MEASURES[:-1])
_EVERY_SEED = tuple((title, f"{{}}.{key}_minus_{{}}", show) for title, key, show in _MEASURES)


def _known(value: Any) -> bool:
    return isinstance(value, int | float) and not math.isnan(value)


def _cell(headline: Headline, key: str, show: Callable[[float], str], missing: str = NOT_AVAILABLE) -> str:
    """A value with its 95 % interval below it; ``missing`` where the key is missing or its value is null or
    NaN."""
    entry = headline.get(key, {})
    if not _known(entry.get("value")):
        return missing
    interval = entry.get("interval")
    spread = (
        f"<br><sub>{show(interval[0])} to {show(interval[1])}</sub>"
        if interval and all(map(_known, interval))
        else ""
    )
    return show(entry["value"]) + spread


# The figure that stands for a notebook.
_FIGURES = (
    "01_funnel",
    "02_well_formed",
    "03_cosines",
    "04_grpo",
    "05_coe_accuracy",
    "06_power",
)
# What README and README.zh-CN say around the figures.
_WORDS: dict[str, dict[str, Any]] = {
    "en": {
        "head": ["Notebook", "Question", "Minutes", "A figure of it"],
        "questions": (
            "How is a dataset with reasoning made, and checked?",
            "Can a small model learn to write the chain?",
            "Does a contrastive encoder know whose answer it is?",
            "What does GRPO gain, and by which judge?",
            "What do automatic metrics see, and miss?",
            "How large must a study with people be?",
        ),
        "missing": NOT_AVAILABLE,
        "training": "{} training",
        "trainings": "{} trainings",
        "price": "{:.0f} minutes a training",
        "no price": "a time that is not available",
        "kind": "of a judge of another kind ({encoder}) {}; ",
        "smooth": (
            " Paid the cosine itself (`smooth`), the same four: {r_answer}; {judge}; {kind_judge}; "
            "{copy_rate}."
        ),
        "claim": (
            "**GRPO minus SFT**, {trainings}, {n} held-out posts, 95 % intervals: r_answer, the share "
            "that its reward passes, {r_answer}; the cosine of a judge that it never met (same base) "
            "{judge}; {kind}copy rate {copy_rate}; for {price} on two CPU cores. Synthetic posts, a small "
            "model, no person asked."
        ),
    },
    "zh-CN": {
        "head": ["笔记本", "问题", "分钟", "其中一图"],
        "questions": (
            "带推理过程的数据集怎样构建，怎样检查？",
            "小模型能学会写共情链吗？",
            "对比学习的编码器能认出回复属于哪个帖子吗？",
            "GRPO 提升了什么，由谁来评判？",
            "自动指标看得到什么，看不到什么？",
            "真人评估需要多大规模？",
        ),
        "missing": "暂无",
        "training": "{} 次训练",
        "trainings": "{} 次训练",
        "price": "每次训练 {:.0f} 分钟",
        "no price": "暂无记录的时间",
        "kind": "另一类评判模型（{encoder}）的余弦相似度：{}；",
        "smooth": (
            "直接以余弦相似度为奖励时（`smooth`），上述四项依次为："
            "{r_answer}；{judge}；{kind_judge}；{copy_rate}。"
        ),
        "claim": (
            "**GRPO 减去 SFT**：{trainings}，{n} 个留出的帖子，95 % 区间。"
            "训练所用的奖励（通过阈值的回复占比）r_answer：{r_answer}；"
            "训练中从未见过的评判模型（同一基座）的余弦相似度：{judge}；{kind}复制率：{copy_rate}；"
            "代价：两个 CPU 核上，{price}。帖子是合成的，模型很小，没有请真人评判。"
        ),
    },
}


def notebooks_table(headline: Headline, language: str = "en") -> str:
    """The README's table of notebooks: question, minutes, a small figure."""
    rows, words = [], _WORDS[language]
    for name, question, figure in zip(NOTEBOOKS, words["questions"], _FIGURES, strict=True):
        minutes = _cell(headline, f"wall_minutes.{name}", _one, words["missing"])
        picture = (
            f'<a href="figures/{figure}.png"><img src="figures/{figure}.png" width="160" alt="{figure}"></a>'
        )
        rows.append([f"[{name}](notebooks/{name}.ipynb)", question, minutes, picture])
    return markdown(words["head"], rows)


def claim(headline: Headline, language: str = "en") -> str:
    """What GRPO bought, by which judge, at which price, in sentences that a reader can check."""
    words, missing = _WORDS[language], _WORDS[language]["missing"]
    gain, by_kind = (headline.get(f"grpo.{name}_minus_sft", {}) for name in ("r_answer", "kind_judge"))
    seeds, minutes = gain.get("seeds", 1), headline.get("wall_minutes.04_grpo", {}).get("value")
    own = _minus_sft(headline, "grpo", missing)
    kind, encoder = own["kind_judge"], by_kind.get("encoder", "e5")  # which an older run does not name
    said = words["claim"].format(
        trainings=words["trainings" if seeds > 1 else "training"].format(seeds),
        n=gain.get("n") or missing,
        price=words["price"].format(minutes) if _known(minutes) else words["no price"],
        kind="" if kind == missing else words["kind"].format(kind, encoder=encoder),
        **own,
    )
    if "grpo_smooth.r_answer_minus_sft" in headline:
        said += words["smooth"].format(**_minus_sft(headline, "grpo_smooth", missing))
    return said


def _minus_sft(headline: Headline, system: str, missing: str) -> dict[str, str]:
    """What a policy gained on SFT, by measure, each signed and with its 95 % interval."""
    said = {}
    for name in ("r_answer", "judge", "kind_judge", "copy_rate"):
        entry = headline.get(f"{system}.{name}_minus_sft", {})
        known = _known(entry.get("value"))
        said[name] = (
            "{:+.3f} [{:+.3f}, {:+.3f}]".format(entry["value"], *entry["interval"]) if known else missing
        )
    return said


def system_table(headline: Headline, system: str, beside: tuple[str, ...] = ("base", "reference")) -> str:
    """One system's figures as a Markdown table: each with its interval and n, and other systems' beside."""
    columns = [SYSTEM_LABELS[system], "n", *(SYSTEM_LABELS[name] for name in beside)]
    rows = []
    for title, key, show in _COLUMNS:
        own, others = key.format(system), [_cell(headline, key.format(name), show) for name in beside]
        rows.append([title, _cell(headline, own, show), _n(headline, own), *others])
    return markdown(["Figure", *columns], rows)


def gain_table(headline: Headline) -> str:
    """What GRPO changed against SFT, as a Markdown table."""
    return markdown(["Paired difference", "Value", "n"], _reward_rows(headline, "grpo."))


def _reward_rows(headline: Headline, prefix: str = "") -> list[list[str]]:
    """Label, value and n of what notebooks 03 and 04 measured; ``prefix``: of these keys alone."""
    rows = []
    for label, key, show in _REWARD_ROWS:
        if key.startswith(prefix):
            number = headline.get(key, {}).get("seeds", 1)
            seeds = f", mean of {number} seeds" if number > 1 else ""
            rows.append([label + seeds, _cell(headline, key, show), _n(headline, key)])
    return rows


def _n(headline: Headline, key: str) -> str:
    """How many posts a figure is of."""
    return str(headline.get(key, {}).get("n") or NOT_AVAILABLE)


def harm_table(headline: Headline, system: str) -> str:
    """The figures ``harm.*`` of a system as a Markdown table; empty where the run has none."""
    prefix = f"harm.{system}."
    rows = [
        [key.removeprefix(prefix).replace("_", " "), _cell(headline, key, _percent), _n(headline, key)]
        for key in headline
        if key.startswith(prefix)
    ]
    return markdown(["Harm", "Value", "n"], rows) if rows else ""


def _rows(headline: Headline, columns: _Columns, of: dict[str, tuple[str, ...]]) -> list[list[str]]:
    """A row for each label of ``of``, a cell for each column: the figure whose key names what the label
    stands for."""
    return [
        [label, *(_cell(headline, key.format(*names), show) for _, key, show in columns)]
        for label, names in of.items()
    ]


def _comparisons(headline: Headline) -> list[str]:
    """Tables of notebook 04's comparisons: each trained once, one answer a post; and those that have every
    seed, as GRPO has, minus SFT, minus the best of 2 of its samples, minus GRPO. Empty for an older run."""
    once = {
        system_label(name): (name,)
        for name in ("base", "sft_no_coe", "sft", *COMPARED_LABELS, "grpo")
        if f"ablation.r_answer.{name}" in headline
    }
    over_seeds = {
        f"{system_label(name)}, minus {system_label(other)}": (name, other)
        for other, name in itertools.product(("sft", "best_of_2", "grpo"), ("grpo", *COMPARED_LABELS))
        if f"{name}.kind_judge_minus_{other}" in headline
    }
    pairs = over_seeds.values()
    trained = (headline[f"{name}.kind_judge_minus_{other}"].get("seeds", 1) for name, other in pairs)
    seeds = max(trained, default=1)
    heads = "One training, one answer a post", f"Difference, {seeds} training{'s' if seeds > 1 else ''} each"
    tables = zip(heads, (_ONE_TRAINING, _EVERY_SEED), (once, over_seeds), strict=True)
    return [
        markdown([head, *(title for title, _, _ in columns)], _rows(headline, columns, of))
        for head, columns, of in tables
        if of
    ]


def results_table(headline: Headline, origin: str = ORIGIN[True]) -> str:
    """Tables as Markdown, with a note above: systems, reward model, comparisons, cost of each notebook.

    Args:
        headline: ``{key: {"value", "interval": [low, high] | None, "n", "unit", "notebook"}}``, shares and F1
            from 0 to 1, BLEU from 0 to 100.
        origin: whose posts, in words.
    """
    systems = _rows(headline, _COLUMNS, {label: (name,) for name, label in SYSTEM_LABELS.items()})
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
            markdown(["Reward model and GRPO", "Value", "n"], _reward_rows(headline)),
            *_comparisons(headline),
            markdown(["Notebook", "Minutes", "Peak memory, GiB"], [*cost, ["**all six**", total, ""]]),
        ]
    )
