"""The scores of a system with their intervals, and of several in one long table.

Knows: per-example and corpus scores, paired tests. Does not know: what a metric means (``registry``), where
completions come from (``systems``), how a score is computed (``overlap``, ``quality``, ``reward.marking``,
``reward.grounding``), how intervals and tests are (``statistics``), how a table is read or written
(``tables``).

Texts are scored by the **answer only** (``coe.answer_of``): the chain is no part of what the references hold.
Only ``well_formed``, the CoE accuracies and CoE grounding look at the chain. A score that cannot be had (no
reference, no gold, no encoder, a system that is not asked for a chain) is NaN and shown as "not available",
never 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import pandas as pd

from empathy_lib.core import coe
from empathy_lib.core.copying import copy_rate
from empathy_lib.core.errors import UserError
from empathy_lib.core.quality import SELF_BLEU_TEXTS, distinct, loops, refuses, repetition, self_bleu
from empathy_lib.core.run import generator
from empathy_lib.core.schema import Gold, Item
from empathy_lib.core.segment import Unit
from empathy_lib.core.statistics import (
    Score,
    bootstrap_mean,
    bootstrap_sums,
    holm,
    paired_permutation,
    paired_sums,
    wilson_share,
)
from empathy_lib.core.text import visible_length
from empathy_lib.metrics.overlap import (
    SUMMED,
    Embed,
    Statistic,
    Tokens,
    bert_scores,
    corpus_parts,
    cosines,
    rouge,
)
from empathy_lib.metrics.registry import METRICS, PER_EXAMPLE, SEGMENTED
from empathy_lib.reward.grounding import grounding
from empathy_lib.reward.marking import Marker, default_marker

Reward = Callable[[list[str], list[str]], np.ndarray]


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

    Without ``embed`` (embedding cosine), ``tokens`` (BERTScore), ``reward`` (``r_answer``), ``cosine``,
    ``kind`` and ``kind_embed`` (the judge of another kind: of post and answer, of single texts) or
    ``fluency`` (texts to nats a token) theirs are not available.
    """

    segment: Unit = "word"
    bootstrap: int = 1000
    seed: int = 20250918
    embed: Embed | None = None
    tokens: Tokens | None = None
    reward: Reward | None = None
    cosine: Reward | None = None
    kind: Reward | None = None
    kind_embed: Embed | None = None
    fluency: Callable[[list[str]], np.ndarray] | None = None
    marker: Marker | None = None


def examples_of(
    items: Sequence[Item], completions: Sequence[str], *, coe_expected: bool = True
) -> list[Example]:
    """Join items and a system's completions, which come in the same order.

    Raises:
        UserError: there are more of one than of the other.
    """
    if len(items) != len(completions):
        raise UserError(
            f"{len(completions)} completions for {len(items)} questions; delete 05_metrics and run notebook "
            f"05 again"
        )
    return [
        Example(item.id, item.question, text, item.references, item.gold, coe_expected)
        for item, text in zip(items, completions, strict=True)
    ]


def reference_note(examples: Sequence[Example]) -> str:
    """How many references stand behind the scores; for captions."""
    counts = [len(example.references) for example in examples]
    if not any(counts):
        return "no references: scores against references are not available"
    if max(counts) == 1:
        without = f", none for {counts.count(0)} of {len(counts)}" if 0 in counts else ""
        return (
            f"one reference a question{without}: n-gram scores are not comparable with multi-reference ones"
        )
    return f"{min(counts)} to {max(counts)} references a question, {np.mean(counts):.1f} on average"


def _best_and_mean(name: str, values: Sequence[float]) -> dict[str, float]:
    return (
        {name: max(values), f"{name}_mean": float(np.mean(values))}
        if values
        else {name: math.nan, f"{name}_mean": math.nan}
    )


def _judged(judge: Reward | None, posts: list[str], answers: list[str]) -> np.ndarray:
    """Scores by a judge of post and answer, shape ``(n,)``; NaN without a judge, or without a post."""
    scores, known = np.full(len(posts), math.nan), [n for n, post in enumerate(posts) if post]
    if judge and known:
        scores[known] = judge([posts[n] for n in known], [answers[n] for n in known])
    return scores


def per_example(examples: Sequence[Example], settings: Settings) -> pd.DataFrame:
    """Scores of each example: index the example's id, columns :data:`PER_EXAMPLE`, NaN where not
    available."""
    marker = (settings.marker or default_marker()).knowing(example.gold for example in examples)
    posts, answers = [example.question for example in examples], [example.answer for example in examples]
    references = [example.references for example in examples]
    none: list[list[float]] = [[] for _ in examples]
    against = {
        "embedding": cosines(answers, references, settings.embed) if settings.embed else none,
        "kind_embedding": cosines(answers, references, settings.kind_embed) if settings.kind_embed else none,
        "bert_score": bert_scores(answers, references, settings.tokens) if settings.tokens else none,
    }
    judged = {
        name: _judged(judge, posts, answers)
        for name, judge in (
            ("r_answer", settings.reward),
            ("cosine", settings.cosine),
            ("kind_judge", settings.kind),
        )
    }
    fluent = settings.fluency(answers) if settings.fluency and examples else [math.nan] * len(examples)
    judged["fluency"] = list(fluent)
    rows = []
    for place, (example, post, answer) in enumerate(zip(examples, posts, answers, strict=True)):
        row: dict[str, float] = {}
        for kind, values in (
            rouge(answer, example.references, settings.segment) | {n: v[place] for n, v in against.items()}
        ).items():
            row |= _best_and_mean(kind, values)
        row |= {name: float(values[place]) for name, values in judged.items()}
        row["copy_rate"] = copy_rate(answer, post) if post else math.nan
        row["length"] = float(visible_length(answer))
        row["repetition"] = repetition(answer, settings.segment)
        row |= {"loops": float(loops(answer)), "refusal": float(refuses(answer))}
        row["well_formed"] = (
            float(coe.is_well_formed(example.completion)) if example.coe_expected else math.nan
        )
        row |= grounding(example.completion, post if example.coe_expected else "")
        row |= marker.mark(example.completion, example.gold if example.coe_expected else None, post)
        rows.append(row)
    return pd.DataFrame(
        rows, columns=list(PER_EXAMPLE), index=pd.Index([e.id for e in examples], name="id"), dtype=float
    )


def mean_frames(
    systems: Mapping[str, Sequence[Example]],
    settings: Settings,
    further: Mapping[str, Sequence[Sequence[Example]]],
) -> dict[str, pd.DataFrame]:
    """:func:`per_example` of each system, the mean over its samples where there are ``further`` ones."""
    frames = {}
    for name, examples in systems.items():
        samples = [per_example(each, settings) for each in (examples, *further.get(name, ()))]
        frames[name] = pd.concat(samples).groupby(level=0, sort=False).mean() if samples[1:] else samples[0]
    return frames


def score_system(
    examples: Sequence[Example],
    settings: Settings,
    frame: pd.DataFrame | None = None,
    names: Sequence[str] = tuple(METRICS),
) -> dict[str, Score]:
    """The metrics ``names`` of one system; pass ``frame`` of :func:`per_example` to save computing it
    again."""
    frame = per_example(examples, settings) if frame is None else frame
    answers = [example.answer for example in examples]
    parts = corpus_parts(answers, [example.references for example in examples], settings.segment, names)
    scores: dict[str, Score] = {}
    for name in names:
        # drawn by metric, not by system: systems on the same questions share their resamples
        rng = generator(settings.seed, f"bootstrap {name}")
        if name in SUMMED:
            counts, statistic = parts[name]
            scores[name] = bootstrap_sums(
                counts[~np.isnan(counts[:, 0])], statistic, resamples=settings.bootstrap, rng=rng
            )
        elif name == "self_bleu":
            scores[name] = self_bleu(
                [answers[place] for place in rng.permutation(len(answers))[:SELF_BLEU_TEXTS]]
            )
        elif METRICS[name].aggregation == "corpus":
            scores[name] = distinct(answers, int(name[-1]), settings.segment)
        elif METRICS[name].aggregation == "share":
            scores[name] = wilson_share(frame[name])
        else:
            scores[name] = bootstrap_mean(frame[name], resamples=settings.bootstrap, rng=rng)
    return scores


def score_table(
    systems: Mapping[str, Sequence[Example]],
    settings: Settings,
    frames: Mapping[str, pd.DataFrame] | None = None,
) -> pd.DataFrame:
    """Long table of all systems: columns ``system, metric, value, low, high, n``, rows in the order given and
    registered."""
    rows = []
    for system, examples in systems.items():
        scores = score_system(examples, settings, frames[system] if frames else None)
        rows += [{"system": system, "metric": name, **vars(score)} for name, score in scores.items()]
    return pd.DataFrame(rows, columns=["system", "metric", "value", "low", "high", "n"])


def by_segment(
    systems: Mapping[str, Sequence[Example]],
    settings: Settings,
    table: pd.DataFrame,
    further: Mapping[str, Sequence[Sequence[Example]]] | None = None,
) -> pd.DataFrame:
    """The metrics whose value depends on the unit, in words and in characters: columns ``segment, system,
    metric, value, low, high, n``.

    Those of the unit of ``settings`` are taken from ``table``, the :func:`score_table` of these systems.
    """
    other: Unit = "char" if settings.segment == "word" else "word"
    # none of them counts words
    by_model = ("embed", "tokens", "reward", "cosine", "kind", "kind_embed", "fluency")
    lean = replace(settings, segment=other, **dict.fromkeys(by_model))
    rows, frames = [], mean_frames(systems, lean, further or {})
    for system, examples in systems.items():
        scores = score_system(examples, lean, frames[system], names=SEGMENTED)
        rows += [
            {"segment": other, "system": system, "metric": name, **vars(score)}
            for name, score in scores.items()
        ]
    known = table[table["metric"].isin(SEGMENTED)].assign(segment=settings.segment)
    return pd.concat([known, pd.DataFrame(rows)])[["segment", *table.columns]].reset_index(drop=True)


def compare(
    frames: Mapping[str, pd.DataFrame],
    pairs: Sequence[tuple[str, str]],
    metrics: Sequence[str],
    *,
    seed: int,
    resamples: int = 9999,
    systems: Mapping[str, Sequence[Example]] | None = None,
    segment: Unit = "word",
) -> pd.DataFrame:
    """Paired permutation tests of ``first - second`` on the questions both answered, Holm-corrected over the
    whole table.

    Args:
        frames: scores of :func:`per_example` by system.
        pairs: which systems are compared.
        metrics: of :data:`PER_EXAMPLE`, and of :data:`SUMMED` where ``systems`` is given. Distinct and
            self-BLEU are not sums over answers and are not tested.
        systems, segment: the examples behind the frames, and what their n-grams are made of.

    Raises:
        UserError: a corpus score is asked for without ``systems``, or one that is no sum over answers.
    """
    if wrong := [name for name in metrics if name not in PER_EXAMPLE and not (systems and name in SUMMED)]:
        raise UserError(
            f"metric '{wrong[0]}' cannot be tested; give systems for {', '.join(SUMMED)}, or use one of "
            f"{', '.join(PER_EXAMPLE)}"
        )
    parts = (
        {name: _parts_by_id(systems[name], segment, metrics) for name in dict.fromkeys(chain(*pairs))}
        if systems
        else {}
    )
    rows = []
    for first, second in pairs:
        both = frames[first].index.intersection(frames[second].index)
        for name in metrics:
            rng = generator(seed, f"permutation {first} {second} {name}")
            if name in SUMMED:
                statistic = parts[first][name][1]
                a, b = (parts[system][name][0].loc[both].to_numpy() for system in (first, second))
                test = paired_sums(a, b, statistic, rng=rng, resamples=resamples)
            else:
                test = paired_permutation(
                    frames[first].loc[both, name],
                    frames[second].loc[both, name],
                    rng=rng,
                    resamples=resamples,
                )
            rows.append({"pair": f"{first} - {second}", "metric": name, **vars(test)})
    table = pd.DataFrame(rows, columns=["pair", "metric", "difference", "low", "high", "p", "n"])
    return table.assign(p_holm=holm(table["p"]))


def _parts_by_id(
    examples: Sequence[Example], segment: Unit, names: Sequence[str]
) -> dict[str, tuple[pd.DataFrame, Statistic]]:
    parts = corpus_parts(
        [example.answer for example in examples], [example.references for example in examples], segment, names
    )
    return {
        name: (pd.DataFrame(counts, index=[e.id for e in examples]), statistic)
        for name, (counts, statistic) in parts.items()
    }
