"""How close an answer comes to its references: ROUGE, BLEU, chrF, embedding cosine, BERTScore.

Knows: texts and their references. Does not know: which system wrote them, or how scores become a table
(``metrics``).

An n-gram score rewards the words that a reference happens to use. Two good replies to one post may share
none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import lru_cache, partial

import numpy as np
from rapidfuzz.distance import LCSseq
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF

from empathy_lib.core.segment import Segmenter, Unit

ROUGE_NGRAMS = {"rouge_1": "rouge1", "rouge_2": "rouge2"}  # our names, the library's
ROUGE_KINDS = (*ROUGE_NGRAMS, "rouge_l")
# scores of counts that are summed over answers
SUMMED = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "sacrebleu_zh", "chrf")
Embed = Callable[[list[str]], np.ndarray]
Tokens = Callable[[list[str]], list[np.ndarray]]
Statistic = Callable[[np.ndarray], np.ndarray]


def rouge(answer: str, references: Sequence[str], segment: Unit = "word") -> dict[str, list[float]]:
    """F1 (0 to 1) of ROUGE-1, -2 and -L against each reference, tokens by :class:`Segmenter`; empty lists
    without references."""
    segmenter = Segmenter(segment)
    scorer = RougeScorer(list(ROUGE_NGRAMS.values()), tokenizer=segmenter)
    scores = [scorer.score(reference, answer) for reference in references]
    found = {name: [score[kind].fmeasure for score in scores] for name, kind in ROUGE_NGRAMS.items()}
    tokens = segmenter.tokenize(answer)
    return found | {"rouge_l": [rouge_l(tokens, segmenter.tokenize(reference)) for reference in references]}


def rouge_l(answer: Sequence[str], reference: Sequence[str]) -> float:
    """F1 (0 to 1) of the longest common subsequence of two lists of tokens; 0.0 where one is empty.

    The subsequence is rapidfuzz's: rouge_score's table in Python took most of the time of all metrics.
    """
    return 2 * LCSseq.similarity(answer, reference) / max(len(answer) + len(reference), 1)


@lru_cache(maxsize=16384)  # a reference is cut once, not once per system
def _bleu_tokens(text: str, segment: Unit) -> str:
    if segment == "char":
        return BLEU(tokenize="zh").tokenizer(text.lower())
    return " ".join(Segmenter("word", punctuation=True).tokenize(text))


def bleu_parts(
    answers: Sequence[str], references: Sequence[Sequence[str]], segment: Unit = "word"
) -> np.ndarray:
    """Counts whose sum gives corpus BLEU: shape (n, 10) = 4 matches, 4 totals, answer length, closest
    reference length.

    All references of an answer count together. Tokens: jieba words and punctuation, or what sacrebleu's
    ``zh`` makes of a text, which is single Chinese characters. A row is NaN where there is no reference.
    """
    bleu, rows = BLEU(tokenize="none", force=True), []
    for answer, group in zip(answers, references, strict=True):
        if group:
            score = bleu.corpus_score(
                [_bleu_tokens(answer, segment)], [[_bleu_tokens(reference, segment)] for reference in group]
            )
            rows.append([*score.counts, *score.totals, score.sys_len, score.ref_len])
        else:
            rows.append([np.nan] * 10)
    return np.array(rows, dtype=float).reshape(-1, 10)


def bleu_of_parts(sums: np.ndarray, order: int = 4) -> np.ndarray:
    """Corpus BLEU up to ``order``-grams (0 to 100) of summed :func:`bleu_parts`, shape (m, 10) to (m,).

    sacrebleu's formula for thousands of resamples at once, with its default smoothing: the k-th order without
    a match counts 1/2^k.
    """
    matches, totals, length, closest = sums[:, :order], sums[:, 4 : 4 + order], sums[:, 8], sums[:, 9]
    smoothed = np.where(matches > 0, matches, 0.5 ** np.cumsum(matches == 0, axis=1))
    # texts shorter than an n-gram: precision 0, so BLEU 0
    with np.errstate(divide="ignore", invalid="ignore"):
        precisions = np.where(totals > 0, smoothed / totals, 0.0)
        scores = 100 * np.exp(np.minimum(0.0, 1 - closest / length)) * np.exp(np.log(precisions).mean(axis=1))
    return np.where((matches > 0).any(axis=1), scores, 0.0)


def chrf_parts(answers: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    """Counts whose sum gives corpus chrF: shape (n, 18), against the reference with the best chrF; NaN where
    there is none."""
    # sacrebleu keeps its counts private; a test holds their sum against the public corpus score
    chrf = CHRF()
    rows = [
        chrf._extract_corpus_statistics([answer], [[reference] for reference in group])[0]
        if group
        else [np.nan] * 18
        for answer, group in zip(answers, references, strict=True)
    ]
    return np.array(rows, dtype=float).reshape(-1, 18)


def chrf_of_parts(sums: np.ndarray) -> np.ndarray:
    """Corpus chrF (0 to 100; characters up to 6-grams, beta 2) of summed :func:`chrf_parts`, shape (m, 18) to
    (m,); sacrebleu's formula."""
    answer, reference, shared = np.moveaxis(sums.reshape(-1, 6, 3), 2, 0)
    known = (answer > 0) & (reference > 0)

    def mean(of: np.ndarray) -> np.ndarray:
        parts = np.divide(shared, of, out=np.zeros_like(of), where=known)
        return parts.sum(axis=1) / np.maximum(known.sum(axis=1), 1)

    precision, recall = mean(answer), mean(reference)
    return 100 * 5 * precision * recall / np.maximum(4 * precision + recall, 1e-12)


def corpus_parts(
    answers: Sequence[str], references: Sequence[Sequence[str]], segment: Unit, names: Collection[str]
) -> dict[str, tuple[np.ndarray, Statistic]]:
    """For each score of ``names`` that is one of :data:`SUMMED`: its counts, one row an answer, and what
    makes a score of their sum."""
    wanted = [name for name in SUMMED if name in names]
    units = {"char" if name == "sacrebleu_zh" else segment for name in wanted if name != "chrf"}
    counts = {unit: bleu_parts(answers, references, unit) for unit in units}
    parts: dict[str, tuple[np.ndarray, Statistic]] = {}
    for name in wanted:
        if name == "chrf":
            parts[name] = chrf_parts(answers, references), chrf_of_parts
        elif name == "sacrebleu_zh":
            parts[name] = counts["char"], bleu_of_parts
        else:
            parts[name] = counts[segment], partial(bleu_of_parts, order=int(name[-1]))
    return parts


def cosines(answers: Sequence[str], references: Sequence[Sequence[str]], embed: Embed) -> list[list[float]]:
    """Cosine of each answer to each of its references; 0 for an empty text. Each text is embedded once."""
    texts = sorted(
        {text for answer, group in zip(answers, references, strict=True) for text in (answer, *group) if text}
    )
    vectors = np.asarray(embed(texts), dtype=float) if texts else np.zeros((0, 1))
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    place = {text: row for row, text in enumerate(texts)}
    unit = lambda text: vectors[place[text]] if text else np.zeros(vectors.shape[1])  # noqa: E731
    return [
        [float(unit(answer) @ unit(reference)) for reference in group]
        for answer, group in zip(answers, references, strict=True)
    ]


def greedy_match(answer: np.ndarray, reference: np.ndarray) -> float:
    """F1 of BERTScore (Zhang et al. 2020, arXiv 1904.09675) without its idf weights and its baseline.

    Each token of the answer is matched to the reference's most similar one (mean: precision), and the other
    way round (recall).

    Args:
        answer, reference: token vectors of unit length, shapes (a, d) and (r, d).

    Returns:
        -1 to 1; 0.0 where a text has no token, or where precision and recall do not sum to more than 0.
    """
    if not len(answer) or not len(reference):
        return 0.0
    similar = np.asarray(answer, dtype=np.float32) @ np.asarray(reference, dtype=np.float32).T
    precision, recall = float(similar.max(axis=1).mean()), float(similar.max(axis=0).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def bert_scores(
    answers: Sequence[str], references: Sequence[Sequence[str]], tokens: Tokens
) -> list[list[float]]:
    """:func:`greedy_match` of each answer with each of its references."""
    scores = []
    for start in range(0, len(answers), 32):  # token vectors are large: hold those of a few answers at a time
        part = list(zip(answers[start : start + 32], references[start : start + 32], strict=True))
        texts = sorted({text for answer, group in part for text in (answer, *group)})
        vectors = dict(zip(texts, tokens(texts), strict=True))
        scores += [
            [greedy_match(vectors[answer], vectors[reference]) for reference in group]
            for answer, group in part
        ]
    return scores
