"""The registry of automatic metrics: what each one means, its direction, range, aggregation and library.

Knows: names, and how a score is to be read. Does not know: how a score is computed or of what (``scoring``).
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd

from empathy_lib import __version__
from empathy_lib.core.quality import SELF_BLEU_TEXTS
from empathy_lib.metrics.overlap import ROUGE_KINDS, SUMMED

OURS = "empathy_lib"


@dataclass(frozen=True)
class Metric:
    """What a score means. ``direction`` "human" says: best near the references' own value, not as far as it
    goes."""

    name: str
    title: str
    direction: Literal["higher", "lower", "human"]
    range: str
    unit: str
    aggregation: Literal["mean", "share", "corpus"]
    library: str
    needs_gold: bool = False
    segmented: bool = False  # its value depends on whether words or characters are counted

    @property
    def version(self) -> str:
        """Version of the library that computes it."""
        return __version__ if self.library == OURS else importlib.metadata.version(self.library)

    @property
    def uncertainty(self) -> str:
        """Where its 95 % interval comes from."""
        if self.name in SUMMED or self.aggregation == "mean":
            return "bootstrap over posts"
        return "Wilson over posts" if self.aggregation == "share" else "jackknife over answers"


def _per_reference(
    name: str, title: str, range_: str, unit: str, library: str, *, segmented: bool = False
) -> list[Metric]:
    """A score against each reference is given twice: the best reference's, and the mean over references."""
    best = Metric(
        name, f"{title}, best reference", "higher", range_, unit, "mean", library, segmented=segmented
    )
    return [best, replace(best, name=f"{name}_mean", title=f"{title}, mean of references")]


def _bleu(order: int) -> Metric:
    return Metric(
        f"bleu_{order}",
        f"BLEU-{order}, all references",
        "higher",
        "0 to 100",
        "BLEU",
        "corpus",
        "sacrebleu",
        segmented=True,
    )


def _distinct(n: int) -> Metric:
    return Metric(
        f"distinct_{n}", f"Distinct-{n}", "human", "0 to 1", "share", "corpus", OURS, segmented=True
    )


def _accuracy(name: str, title: str) -> Metric:
    return Metric(name, title, "higher", "0 to 1", "share", "share", OURS, needs_gold=True)


def _rouge(kind: str) -> list[Metric]:
    library = "rapidfuzz" if kind == "rouge_l" else "rouge-score"
    return _per_reference(
        kind, f"ROUGE-{kind.removeprefix('rouge_').upper()} F1", "0 to 1", "F1", library, segmented=True
    )


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in [
        *(metric for kind in ROUGE_KINDS for metric in _rouge(kind)),
        *map(_bleu, (1, 2, 3, 4)),
        Metric(
            "sacrebleu_zh",
            "sacreBLEU zh (characters), all references",
            "higher",
            "0 to 100",
            "BLEU",
            "corpus",
            "sacrebleu",
        ),
        Metric(
            "chrf", "chrF, best reference of each answer", "higher", "0 to 100", "chrF", "corpus", "sacrebleu"
        ),
        *map(_distinct, (1, 2, 3)),
        Metric(
            "self_bleu",
            f"Self-BLEU of {SELF_BLEU_TEXTS} answers at most",
            "human",
            "0 to 100",
            "BLEU",
            "corpus",
            "sacrebleu",
        ),
        *_per_reference("embedding", "Embedding cosine", "-1 to 1", "cosine", "numpy"),
        *_per_reference("bert_score", "BERTScore F1", "-1 to 1", "F1", OURS),
        Metric("r_answer", "r_answer, as GRPO is paid", "human", "-1 to 1", "reward", "mean", OURS),
        Metric(
            "cosine", "Reward model's cosine of post and answer", "human", "-1 to 1", "cosine", "mean", OURS
        ),
        Metric(
            "kind_judge",
            "Cosine of post and answer by the judge of another kind",
            "human",
            "-1 to 1",
            "cosine",
            "mean",
            "transformers",
        ),
        *_per_reference(
            "kind_embedding", "Cosine by the judge of another kind", "-1 to 1", "cosine", "transformers"
        ),
        Metric("copy_rate", "Copy rate (8-grams of the post)", "human", "0 to 1", "share", "mean", OURS),
        Metric(
            "fluency",
            "Mean log-probability under the untrained base",
            "human",
            "0 down",
            "nats a token",
            "mean",
            "transformers",
        ),
        Metric("length", "Reading length in characters", "human", "0 up", "characters", "mean", OURS),
        Metric(
            "repetition",
            "Repeated 4-grams within an answer",
            "lower",
            "0 to 1",
            "share",
            "mean",
            OURS,
            segmented=True,
        ),
        Metric("loops", "Answers that loop", "lower", "0 to 1", "share", "share", OURS),
        Metric("refusal", "Answers that refuse", "lower", "0 to 1", "share", "share", OURS),
        Metric("well_formed", "Well-formed CoE", "higher", "0 to 1", "share", "share", OURS),
        Metric(
            "grounding_emotion",
            "Emotions of L1 that the post names",
            "higher",
            "0 to 1",
            "share",
            "mean",
            OURS,
        ),
        Metric("grounding_cause", "L2 speaks of the post", "higher", "0 to 1", "share", "share", OURS),
        _accuracy("L1", "L1 names the gold emotion, at most two in all"),
        _accuracy("L1_any", "L1 names the gold emotion among any number"),
        _accuracy("cause", "L2 is nearest to the gold cause, of all causes"),
        _accuracy("cause_subtopic", "L2 is nearest to the gold cause, of the sub-topic's"),
        _accuracy("bias", "L2 names the gold bias and no other"),
        _accuracy("belief", "L2 is nearest to the gold belief, of all beliefs"),
        _accuracy("belief_subtopic", "L2 is nearest to the gold belief, of the sub-topic's"),
        _accuracy("L3", "L3 names the gold intent and no other"),
        _accuracy("gist_recall", "L2 holds half the bigrams of the gold cause's gist"),
    ]
}
PER_EXAMPLE = tuple(name for name, metric in METRICS.items() if metric.aggregation != "corpus")
SEGMENTED = tuple(name for name, metric in METRICS.items() if metric.segmented)


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
            "interval": metric.uncertainty,
        }
        row |= {
            "tokens": "word or char" if metric.segmented else "",
            "needs gold": "yes" if metric.needs_gold else "no",
        }
        row["computed by"] = metric.library
        rows.append(row | ({"version": metric.version} if versions else {}))
    return pd.DataFrame(rows).set_index("metric")
