"""Automatic metrics: what each one is, and the scores of a system with their intervals.

Knows: the registry of metrics, per-example and corpus scores, tables of several systems. Does not know: where completions come
from (``systems``), how intervals and tests are computed (``statistics``), how a chain is marked (``coe_accuracy``).

Texts are scored by the **answer only** (``coe.answer_of``): the chain is no part of what the references hold. Only ``well_formed``
and the CoE accuracies look at the chain. A score that cannot be had (no reference, no gold, no encoder, a system that is not asked
for a chain) is NaN and shown as "not available", never 0.
"""

from __future__ import annotations

import importlib.metadata
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU

from empathy_lib import __version__, coe
from empathy_lib.artefacts import generator
from empathy_lib.coe_accuracy import Marker, default_marker
from empathy_lib.copying import copy_rate
from empathy_lib.empathy_qa.schema import Gold, Item
from empathy_lib.errors import UserError
from empathy_lib.segment import Segmenter
from empathy_lib.statistics import NOT_AVAILABLE, Score, bootstrap_mean, bootstrap_sums, holm, jackknife, paired_permutation, wilson_share

Embed = Callable[[list[str]], np.ndarray]
Reward = Callable[[list[str], list[str]], np.ndarray]
Unit = Literal["word", "char"]
OURS = "empathy_lib"


@dataclass(frozen=True)
class Metric:
    """What a score means. ``direction`` "human" says: best near the references' own value, not as far as it goes."""

    name: str
    title: str
    direction: Literal["higher", "lower", "human"]
    range: str
    unit: str
    aggregation: Literal["mean", "share", "corpus"]
    library: str
    needs_gold: bool = False

    @property
    def version(self) -> str:
        """Version of the library that computes it."""
        return __version__ if self.library == OURS else importlib.metadata.version(self.library)


def _rouge(kind: str) -> list[Metric]:
    title = f"ROUGE-{kind.removeprefix('rouge_').upper()} F1"
    best = Metric(kind, f"{title}, best reference", "higher", "0 to 1", "F1", "mean", "rouge-score")
    return [best, Metric(f"{kind}_mean", f"{title}, mean of references", "higher", "0 to 1", "F1", "mean", "rouge-score")]


ROUGE_KINDS = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}  # our names, the library's
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in [
        *(metric for kind in ROUGE_KINDS for metric in _rouge(kind)),
        Metric("bleu_4", "BLEU-4, all references", "higher", "0 to 100", "BLEU", "corpus", "sacrebleu"),
        Metric("distinct_1", "Distinct-1", "human", "0 to 1", "share", "corpus", OURS),
        Metric("distinct_2", "Distinct-2", "human", "0 to 1", "share", "corpus", OURS),
        Metric("embedding", "Embedding cosine, best reference", "higher", "-1 to 1", "cosine", "mean", "numpy"),
        Metric("embedding_mean", "Embedding cosine, mean of references", "higher", "-1 to 1", "cosine", "mean", "numpy"),
        Metric("r_answer", "r_answer, as GRPO is paid", "human", "-1 to 1", "reward", "mean", OURS),
        Metric("cosine", "Reward model's cosine of post and answer", "human", "-1 to 1", "cosine", "mean", OURS),
        Metric("copy_rate", "Copy rate (8-grams of the post)", "human", "0 to 1", "share", "mean", OURS),
        Metric("length", "Length in characters", "human", "0 up", "characters", "mean", OURS),
        Metric("well_formed", "Well-formed CoE", "higher", "0 to 1", "share", "share", OURS),
        Metric("L1", "L1 names the gold emotion, at most two in all", "higher", "0 to 1", "share", "share", OURS, needs_gold=True),
        Metric("L1_any", "L1 names the gold emotion among any number", "higher", "0 to 1", "share", "share", OURS, needs_gold=True),
        Metric("L2", "L2 names the gold cause", "higher", "0 to 1", "share", "share", OURS, needs_gold=True),
        Metric("L3", "L3 names the gold intent and no other", "higher", "0 to 1", "share", "share", OURS, needs_gold=True),
    ]
}
PER_EXAMPLE = tuple(name for name, metric in METRICS.items() if metric.aggregation != "corpus")


@dataclass(frozen=True)
class Example:
    """One answered question. ``coe_expected`` is False for systems that are not asked for a chain."""

    id: str
    question: str
    completion: str
    references: list[str]
    gold: Gold | None = None
    coe_expected: bool = True

    @property
    def answer(self) -> str:
        """The text that is scored."""
        return coe.answer_of(self.completion)


@dataclass(frozen=True)
class Settings:
    """How scores are computed; the same for all systems of a table.

    Without ``embed`` (embedding score), ``reward`` (``r_answer``) or ``cosine`` theirs are not available.
    """

    segment: Unit = "word"
    bootstrap: int = 1000
    seed: int = 20250918
    embed: Embed | None = None
    reward: Reward | None = None
    cosine: Reward | None = None
    marker: Marker | None = None


def registry_table(*, versions: bool = True) -> pd.DataFrame:
    """The registry, one row per metric; ``versions=False`` leaves out what differs between machines."""
    rows = []
    for metric in METRICS.values():
        row = {
            "metric": metric.name,
            "better": metric.direction,
            "range": metric.range,
            "unit": metric.unit,
            "aggregation": metric.aggregation,
        }
        row |= {"needs gold": "yes" if metric.needs_gold else "no", "computed by": metric.library}
        rows.append(row | ({"version": metric.version} if versions else {}))
    return pd.DataFrame(rows).set_index("metric")


def examples_of(items: Sequence[Item], completions: Sequence[str], *, coe_expected: bool = True) -> list[Example]:
    """Join items and a system's completions, which come in the same order.

    Raises:
        UserError: there are more of one than of the other.
    """
    if len(items) != len(completions):
        raise UserError(f"{len(completions)} completions for {len(items)} questions; delete 05_metrics and run notebook 05 again")
    return [
        Example(item.id, item.question, text, item.references, item.gold, coe_expected)
        for item, text in zip(items, completions, strict=True)
    ]


def reference_examples(items: Iterable[Item], rng: np.random.Generator) -> list[Example]:
    """The yardstick: of each item's references one drawn at random answers, and the others are its references.

    It has one reference fewer than the systems, which lowers its best-reference scores a little; where a question has only
    one, scores against references are not available, but reward, copy rate and length are.
    """
    examples = []
    for item in items:
        drawn = int(rng.integers(len(item.answers)))
        answer = item.answers[drawn]
        completion = coe.render(answer.coe, answer.text) if answer.coe else answer.text
        others = [text for place, text in enumerate(item.references) if place != drawn]
        examples.append(Example(item.id, item.question, completion, others, item.gold, answer.coe is not None))
    return examples


def reference_note(examples: Sequence[Example]) -> str:
    """How many references stand behind the scores; for captions."""
    counts = [len(example.references) for example in examples]
    if not counts or max(counts) <= 1:
        return "one reference a question: n-gram scores are not comparable with multi-reference ones"
    return f"{min(counts)} to {max(counts)} references a question, {np.mean(counts):.1f} on average"


def rouge(answer: str, references: Sequence[str], segment: Unit = "word") -> dict[str, list[float]]:
    """F1 of ROUGE-1, -2 and -L against each reference, tokens by :class:`Segmenter`; empty lists without references."""
    scorer = RougeScorer(list(ROUGE_KINDS.values()), tokenizer=Segmenter(segment))
    scores = [scorer.score(reference, answer) for reference in references]
    return {name: [score[kind].fmeasure for score in scores] for name, kind in ROUGE_KINDS.items()}


def _bleu(segment: Unit) -> BLEU:
    # words are cut by us and joined by spaces; single characters are what sacrebleu's "zh" makes of Chinese
    return BLEU(tokenize="none" if segment == "word" else "zh", lowercase=True, force=True)


def bleu_parts(examples: Sequence[Example], segment: Unit = "word") -> np.ndarray:
    """Counts whose sum gives corpus BLEU-4: shape (n, 10) = 4 matches, 4 totals, answer length, closest reference length."""
    bleu, segmenter = _bleu(segment), Segmenter("word", punctuation=True)
    prepare = (lambda text: " ".join(segmenter.tokenize(text))) if segment == "word" else (lambda text: text)
    rows = []
    for example in examples:
        if example.references:
            score = bleu.corpus_score([prepare(example.answer)], [[prepare(reference)] for reference in example.references])
            rows.append([*score.counts, *score.totals, score.sys_len, score.ref_len])
    return np.array(rows, dtype=float).reshape(-1, 10)


def bleu_of_parts(sums: np.ndarray) -> np.ndarray:
    """Corpus BLEU-4 (0 to 100) of summed :func:`bleu_parts`, shape (m, 10) to (m,)."""
    compute = lambda row: BLEU.compute_bleu(row[:4], row[4:8], int(row[8]), int(row[9])).score  # noqa: E731
    return np.array([compute([int(count) for count in row]) for row in sums])


def distinct(answers: Sequence[str], n: int, segment: Unit = "word") -> Score:
    """Share of different n-grams among all n-grams of all answers, with a jackknife interval over answers.

    It falls as a corpus grows, so compare systems on the same questions and read it beside ``length``. A bootstrap would repeat
    answers and so be too low by construction, often beneath the value itself; leaving one answer out changes the size by 1/n only.
    """
    segmenter = Segmenter(segment)
    tokens = [segmenter.tokenize(answer) for answer in answers]
    grams = [Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1)) for words in tokens]
    holders = Counter(gram for counter in grams for gram in counter)
    total, different = sum(map(Counter.total, grams)), len(holders)
    if total == 0:
        return NOT_AVAILABLE
    alone = [sum(holders[gram] == 1 for gram in counter) for counter in grams]
    pairs = [(different - own, total - counter.total()) for own, counter in zip(alone, grams, strict=True)]
    left_out = np.array([kept / size for kept, size in pairs if size > 0])
    score = jackknife(different / total, left_out)
    return Score(score.value, max(score.low, 0.0), min(score.high, 1.0), len(answers))


def _cosines(examples: Sequence[Example], embed: Embed) -> list[list[float]]:
    """Cosine of each answer to each of its references; 0 for an empty answer. Each text is embedded once."""
    texts = sorted({text for example in examples for text in (example.answer, *example.references) if text})
    vectors = np.asarray(embed(texts), dtype=float) if texts else np.zeros((0, 1))
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    place = {text: row for row, text in enumerate(texts)}
    unit = lambda text: vectors[place[text]] if text else np.zeros(vectors.shape[1])  # noqa: E731
    return [[float(unit(example.answer) @ unit(reference)) for reference in example.references] for example in examples]


def _best_and_mean(name: str, values: Sequence[float]) -> dict[str, float]:
    return {name: max(values), f"{name}_mean": float(np.mean(values))} if values else {name: math.nan, f"{name}_mean": math.nan}


def per_example(examples: Sequence[Example], settings: Settings) -> pd.DataFrame:
    """Scores of each example: index the example's id, columns :data:`PER_EXAMPLE`, NaN where not available."""
    marker = settings.marker or default_marker()
    cosines = _cosines(examples, settings.embed) if settings.embed else [[] for _ in examples]
    posts, answers = [example.question for example in examples], [example.answer for example in examples]
    judged = {
        name: list(judge(posts, answers)) if judge and examples else [math.nan] * len(examples)
        for name, judge in (("r_answer", settings.reward), ("cosine", settings.cosine))
    }
    rows = []
    for place, (example, cosine) in enumerate(zip(examples, cosines, strict=True)):
        row: dict[str, float] = {}
        for kind, values in rouge(example.answer, example.references, settings.segment).items():
            row |= _best_and_mean(kind, values)
        row |= _best_and_mean("embedding", cosine)
        row |= {name: float(values[place]) for name, values in judged.items()}
        row["copy_rate"] = copy_rate(example.answer, example.question) if example.question else math.nan
        row["length"] = float(sum(not char.isspace() for char in example.answer))
        row["well_formed"] = float(coe.is_well_formed(example.completion)) if example.coe_expected else math.nan
        row |= marker.mark(example.completion, example.gold if example.coe_expected else None)
        rows.append(row)
    return pd.DataFrame(rows, columns=list(PER_EXAMPLE), index=pd.Index([e.id for e in examples], name="id"), dtype=float)


def score_system(examples: Sequence[Example], settings: Settings, frame: pd.DataFrame | None = None) -> dict[str, Score]:
    """All metrics of one system; pass ``frame`` of :func:`per_example` to save computing it again."""
    frame = per_example(examples, settings) if frame is None else frame
    scores: dict[str, Score] = {}
    for name, metric in METRICS.items():
        # drawn by metric, not by system: systems on the same questions share their resamples
        rng = generator(settings.seed, f"bootstrap {name}")
        if name == "bleu_4":
            parts = bleu_parts(examples, settings.segment)
            scores[name] = bootstrap_sums(parts, bleu_of_parts, resamples=settings.bootstrap, rng=rng)
        elif metric.aggregation == "corpus":
            scores[name] = distinct([example.answer for example in examples], int(name[-1]), settings.segment)
        elif metric.aggregation == "share":
            scores[name] = wilson_share(frame[name])
        else:
            scores[name] = bootstrap_mean(frame[name], resamples=settings.bootstrap, rng=rng)
    return scores


def score_table(
    systems: Mapping[str, Sequence[Example]], settings: Settings, frames: Mapping[str, pd.DataFrame] | None = None
) -> pd.DataFrame:
    """Long table of all systems: columns ``system, metric, value, low, high, n``, rows in the order given and registered."""
    rows = []
    for system, examples in systems.items():
        scores = score_system(examples, settings, frames[system] if frames else None)
        rows += [{"system": system, "metric": name, **vars(score)} for name, score in scores.items()]
    return pd.DataFrame(rows, columns=["system", "metric", "value", "low", "high", "n"])


def _cell(value: float, low: float, high: float) -> str:
    if math.isnan(value):
        return "not available"
    digits = 3 if abs(value) < 10 else 1
    interval = "" if math.isnan(low) else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{value:.{digits}f}{interval}"


def wide_table(table: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """:func:`score_table` for reading: a row per system, a column per metric, "value [low, high]" or "not available"."""
    cells = table[table["metric"].isin(metrics)].copy()
    cells["cell"] = [_cell(row.value, row.low, row.high) for row in cells.itertuples()]
    return cells.pivot(index="system", columns="metric", values="cell").reindex(index=table["system"].unique(), columns=list(metrics))


def compare(
    frames: Mapping[str, pd.DataFrame], pairs: Sequence[tuple[str, str]], metrics: Sequence[str], *, seed: int, resamples: int = 9999
) -> pd.DataFrame:
    """Paired permutation tests of ``first - second`` on the questions both answered, Holm-corrected over the whole table.

    Only for metrics with a value per example (:data:`PER_EXAMPLE`); BLEU and Distinct have none.
    """
    rows = []
    for first, second in pairs:
        both = frames[first].index.intersection(frames[second].index)
        for name in metrics:
            rng = generator(seed, f"permutation {first} {second} {name}")
            test = paired_permutation(frames[first].loc[both, name], frames[second].loc[both, name], rng=rng, resamples=resamples)
            rows.append({"pair": f"{first} - {second}", "metric": name, **vars(test)})
    table = pd.DataFrame(rows, columns=["pair", "metric", "difference", "low", "high", "p", "n"])
    return table.assign(p_holm=holm(table["p"]))


def headline_entry(table: pd.DataFrame, system: str, metric: str) -> dict[str, object]:
    """One figure as ``headline.json`` keeps it: ``{value, interval, n, unit}``; None where not available.

    Raises:
        UserError: the table has no such system or metric.
    """
    found = table[(table["system"] == system) & (table["metric"] == metric)]
    if found.empty:
        raise UserError(f"no score of system '{system}', metric '{metric}'; the table has {', '.join(table['system'].unique())}")
    row = found.iloc[0]
    number = lambda value: None if math.isnan(value) else float(value)  # noqa: E731
    interval = None if math.isnan(row["low"]) else [float(row["low"]), float(row["high"])]
    return {"value": number(row["value"]), "interval": interval, "n": int(row["n"]), "unit": METRICS[metric].unit}
