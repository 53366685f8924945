"""What an answer's own words show, without a reference: variety, repetition, loops, refusal, length.

Knows: texts. Does not know: what they answer. Word lists and limits are our choice, the paper names none.

All of these are best where human answers are, which is why notebook 05 shows the references' own values
beside them: a text of random characters never repeats itself and never refuses.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from sacrebleu.metrics import BLEU

from empathy_lib.core.segment import Segmenter, Unit
from empathy_lib.core.statistics import NOT_AVAILABLE, Score, jackknife

REPEAT_NGRAM = 4  # as seq-rep-4 of Welleck et al. 2020 (arXiv 1908.04319)
LOOP_TIMES = 3
SELF_BLEU_TEXTS = 100

# A refusal speaks of the writer's own inability or nature. "请咨询专业人士" alone is no refusal: a good reply
# may say it too.
_SUBJECT = r"(?:我|本人|本助手|我们)(?:很抱歉|暂时|目前|现在|实在|恐怕|真的|也)*"
_UNABLE = (
    r"(?:无法|不能|没有?办法|没法|不便|不方便|不可以|拒绝)(?:为您|为你|给您|给你|对此|就此|在此|直接|继续)*"
)
_SERVICE = r"(?:回答|回复|提供|协助|满足|处理|完成|生成|讨论|评论|给出|作答|响应)"
_MACHINE = r"(?:AI|人工智能|(?:大型?)?语言模型|聊天机器人|智能助手|机器人)"
REFUSAL = re.compile(
    "|".join(
        [
            rf"{_SUBJECT}{_UNABLE}{_SERVICE}",
            rf"(?:抱歉|对不起|不好意思)[，,。！!\s]*(?:但是?)?(?:{_SUBJECT})?{_UNABLE}(?:{_SERVICE}|帮助?)",
            rf"(?:作为|我是)(?:一[个名款种])?[^，。！？\s]{{0,6}}{_MACHINE}",
            r"超出了?我的(?:能力|职责|服务)范围",
        ]
    ),
    re.IGNORECASE,
)
_LETTERS = re.compile(r"[^\W\d_]+")
_LOOP = re.compile(rf"(.{{4,60}}?)\1{{{LOOP_TIMES - 1},}}")


def refuses(answer: str) -> bool:
    """Whether the answer holds one of the phrases of :data:`REFUSAL`: "我无法回答…", "抱歉，不能提供…",
    "作为一个AI…"."""
    return REFUSAL.search(answer) is not None


def loops(answer: str) -> bool:
    """Whether a run of 4 to 60 letters stands at least three times back to back; digits and punctuation
    between do not break it, so that a numbered list of one sentence is a loop too."""
    return _LOOP.search("".join(_LETTERS.findall(answer))) is not None


def _ngrams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]


def repetition(answer: str, segment: Unit = "word", n: int = REPEAT_NGRAM) -> float:
    """Share of an answer's ``n``-grams that it has used before: 1 minus different n-grams over all; 0.0 for
    fewer than ``n`` tokens."""
    grams = _ngrams(Segmenter(segment).tokenize(answer), n)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def distinct(answers: Sequence[str], n: int, segment: Unit = "word") -> Score:
    """Share of different n-grams among all n-grams of all answers, with a jackknife interval over answers.

    It falls as a corpus grows, so compare systems on the same questions and read it beside ``length``. A
    bootstrap would repeat answers and so be too low by construction, often beneath the value itself; leaving
    one answer out changes the size by 1/n only.
    """
    segmenter = Segmenter(segment)
    grams = [Counter(_ngrams(segmenter.tokenize(answer), n)) for answer in answers]
    holders = Counter(gram for counter in grams for gram in counter)
    total, different = sum(map(Counter.total, grams)), len(holders)
    if total == 0:
        return NOT_AVAILABLE
    alone = [sum(holders[gram] == 1 for gram in counter) for counter in grams]
    pairs = [(different - own, total - counter.total()) for own, counter in zip(alone, grams, strict=True)]
    left_out = np.array([kept / size for kept, size in pairs if size > 0])
    score = jackknife(different / total, left_out)
    return Score(score.value, max(score.low, 0.0), min(score.high, 1.0), len(answers))


def self_bleu(texts: Sequence[str]) -> Score:
    """Mean BLEU-4 (sacreBLEU, ``zh``: characters) of each text against all others as references, 0 to 100;
    high is monotonous.

    Zhu et al. 2018 (Texygen, arXiv 1802.01886). It rises with the number of texts, so compare as many of
    each, at most a hundred or so: the time is quadratic. Interval: jackknife over texts, for the reason
    :func:`distinct` gives. Not available below two texts.
    """
    if len(texts) < 2:
        return NOT_AVAILABLE
    cut = BLEU(tokenize="zh").tokenizer
    counts = [_ngram_counts(cut(text).split()) for text in texts]
    matrix = _leave_two_out(counts)
    value = float(np.mean(np.diagonal(matrix)))
    if len(texts) == 2:
        return Score(value, np.nan, np.nan, 2)
    others = ~np.eye(len(texts), dtype=bool)
    left_out = np.array([matrix[others[:, gone], gone].mean() for gone in range(len(texts))])
    score = jackknife(value, left_out)
    return Score(score.value, max(score.low, 0.0), min(score.high, 100.0), len(texts))


def _ngram_counts(tokens: Sequence[str]) -> list[Counter[tuple[str, ...]]]:
    return [Counter(_ngrams(tokens, n)) for n in (1, 2, 3, 4)]


def _leave_two_out(counts: Sequence[list[Counter[tuple[str, ...]]]]) -> np.ndarray:
    """Sentence BLEU of text i against all others without text j, at [i, j]; the diagonal leaves out nothing
    else. Shape (n, n).

    sacrebleu would count all references anew for each of the n² scores. Which texts hold an n-gram how often
    is counted once here; leaving j out lowers a clipped count only where j alone held the highest one. The
    score itself is sacrebleu's.
    """
    held: defaultdict[tuple[str, ...], list[tuple[int, int]]] = defaultdict(list)
    for place, orders in enumerate(counts):
        for counter in orders:
            for gram, count in counter.items():
                held[gram].append((count, place))
    for holders in held.values():
        holders.sort(reverse=True)
        del holders[3:]  # without i and j at least one of the three highest is left
    lengths = np.array([orders[0].total() for orders in counts])
    matrix = np.zeros((len(counts), len(counts)))
    for i, orders in enumerate(counts):
        matches, lost = np.zeros(4, dtype=int), np.zeros((len(counts), 4), dtype=int)
        for order, counter in enumerate(orders):
            for gram, count in counter.items():
                (best, holder), (second, _) = [
                    *(entry for entry in held[gram] if entry[1] != i),
                    (0, i),
                    (0, i),
                ][:2]
                matches[order] += min(count, best)
                lost[holder, order] += min(count, best) - min(count, second)
        totals = [counter.total() for counter in orders]
        # the closest in length first
        others = [place for place in np.lexsort((lengths, abs(lengths - totals[0]))).tolist() if place != i]
        for j in range(len(counts)):
            closest = next((int(lengths[place]) for place in others if place != j), 0)
            kept = (matches - lost[j] * (i != j)).tolist()
            matrix[i, j] = BLEU.compute_bleu(
                kept, totals, totals[0], closest, smooth_method="exp", effective_order=True
            ).score
    return matrix
