"""How long `score` takes, and what ROUGE-L and a permutation test of BLEU would take the slow way; CPU
seconds, all in one run.

    .venv/bin/python tests/benchmarks/bench_metrics.py [answers]

Texts of the synthesis: an answer is another post's reference, so that lengths are real. Slow ways:
rouge_score's table in Python, and sacrebleu's formula called once a swap. Both ways must agree. The last line
is JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import astuple
from itertools import pairwise
from typing import Any

import numpy as np
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU

from empathy_lib.app.score import Line, score_lines
from empathy_lib.core.config import DatasetConfig
from empathy_lib.core.run import generator
from empathy_lib.core.segment import Segmenter
from empathy_lib.core.statistics import paired_sums
from empathy_lib.dataset.sources import read_source
from empathy_lib.metrics import overlap
from empathy_lib.metrics.scoring import Settings

SEED, RESAMPLES, SWAPS = 1, 1000, 9999


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of ``work``, which is free of other jobs' share of the machine, and its result."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def slow_bleu(sums: np.ndarray) -> np.ndarray:
    """sacrebleu's own formula, row by row."""
    rows = np.rint(sums).astype(int).tolist()
    return np.array(
        [BLEU.compute_bleu(row[:4], row[4:8], row[8], row[9], smooth_method="exp").score for row in rows]
    )


def _two_systems(pairs: list[tuple[str, list[str]]]) -> tuple[list[str], list[str]]:
    return [answer for answer, _ in pairs], [group[0][:80] for _, group in pairs]


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 120
    items = list(read_source(DatasetConfig(questions=count + 1), SEED).items)
    pairs = [(other.references[0], item.references) for item, other in pairwise(items)]
    lines = [
        Line(id=item.id, completion=a, references=r, question=item.question)
        for item, (a, r) in zip(items, pairs, strict=False)
    ]
    score_lines(lines[:2], Settings(bootstrap=10))  # jieba's dictionary is read once
    whole, _ = timed(lambda: score_lines(lines, Settings(bootstrap=RESAMPLES)))

    slow, tokens = RougeScorer(["rougeL"], tokenizer=Segmenter("char")), Segmenter("char").tokenize
    # both read it from the cache
    cut = [(tokens(answer), [tokens(reference) for reference in group]) for answer, group in pairs]
    quick_s, quick = timed(
        lambda: [overlap.rouge_l(answer, reference) for answer, group in cut for reference in group]
    )
    slow_s, table = timed(
        lambda: [slow.score(r, answer)["rougeL"].fmeasure for answer, group in pairs for r in group]
    )
    assert np.allclose(quick, table)

    first, second = (
        overlap.bleu_parts(answers, [group for _, group in pairs]) for answers in _two_systems(pairs)
    )
    fast_s, one = timed(
        lambda: paired_sums(
            first, second, overlap.bleu_of_parts, rng=generator(SEED, "bleu"), resamples=SWAPS
        )
    )
    loop_s, other = timed(
        lambda: paired_sums(first, second, slow_bleu, rng=generator(SEED, "bleu"), resamples=SWAPS)
    )
    assert np.allclose(astuple(one), astuple(other))

    print(f"score, {count} answers, both units: {whole:.2f} s")
    print(f"ROUGE-L in characters: {quick_s:.3f} s; with rouge_score: {slow_s:.2f} s")
    print(f"permutation test of BLEU-4, {SWAPS} swaps: {fast_s:.3f} s; row by row: {loop_s:.2f} s")
    found = {
        "answers": count,
        "score_s": whole,
        "rouge_l_s": quick_s,
        "rouge_l_slow_s": slow_s,
        "bleu_s": fast_s,
        "bleu_slow_s": loop_s,
    }
    ratios = {"rouge_l_ratio": slow_s / quick_s, "bleu_ratio": loop_s / fast_s}
    print(json.dumps({key: round(float(value), 4) for key, value in (found | ratios).items()}))


if __name__ == "__main__":
    main()
