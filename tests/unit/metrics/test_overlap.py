"""Scores against references: by hand, and as the reference libraries give them."""

import numpy as np
import pytest
import torch
from bert_score.utils import greedy_cos_idf
from nltk.translate.bleu_score import SmoothingFunction, corpus_bleu
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF

from empathy_lib.core.run import generator
from empathy_lib.core.segment import Segmenter
from empathy_lib.metrics import overlap

KINDS = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}  # our names, the library's
ANSWERS = ["先休息一下，再和领导谈谈吧。", "抱抱你，今晚先好好睡一觉。", "OK 慢慢来，你已经做得很好了！"]
REFERENCES = [
    ["先休息一下，再和领导谈谈。", "抱抱你，先别急。"],
    ["抱抱你，先好好睡一觉吧。"],
    ["慢慢来，你做得很好了。", "你已经做得很好。", "ok，别急。"],
]
# sacrebleu takes references in streams; an answer with fewer has None in the later ones
STREAMS = [[group[k] if k < len(group) else None for group in REFERENCES] for k in range(3)]


def summed(parts: np.ndarray) -> np.ndarray:
    return parts.sum(axis=0, keepdims=True)


def test_rouge_by_hand_in_characters():
    # answer 我很难过呢 (5), reference 我真的很难过 (6): shared 我很难过 = 4, as bigrams 很难 难过 = 2 of 4
    # and 5
    scores = overlap.rouge("我很难过呢", ["我真的很难过"], "char")
    assert scores["rouge_1"] == [pytest.approx(2 * 4 / 11)]
    assert scores["rouge_2"] == [pytest.approx(2 * 2 / 9)]
    assert scores["rouge_l"] == [pytest.approx(2 * 4 / 11)]


def test_our_tokenizer_sees_chinese_and_the_default_does_not():
    text = "我很难过"
    assert RougeScorer(["rouge1"]).score(text, text)["rouge1"].fmeasure == 0.0
    for unit in ("word", "char"):
        assert overlap.rouge(text, [text], unit)["rouge_1"] == [1.0]


@pytest.mark.parametrize("unit", ["word", "char"])
def test_rouge_is_the_librarys_on_texts_cut_by_us(unit):
    class Spaces:
        def tokenize(self, text):
            return text.split()

    cut = lambda text: " ".join(Segmenter(unit).tokenize(text))  # noqa: E731
    library = RougeScorer(["rouge1", "rouge2", "rougeL"], tokenizer=Spaces())
    for answer, group in zip(ANSWERS, REFERENCES, strict=True):
        ours = overlap.rouge(answer, group, unit)
        for place, reference in enumerate(group):
            theirs = library.score(cut(reference), cut(answer))
            for name, kind in KINDS.items():
                assert ours[name][place] == pytest.approx(theirs[kind].fmeasure)


@pytest.mark.parametrize("unit", ["word", "char"])
def test_the_quick_rouge_l_is_the_librarys_on_long_and_empty_texts(unit):
    rng = generator(0, "texts")
    made = ["".join(rng.choice(list("我你很难过，。累了吧 ok1"), size)) for size in (0, 1, 40, 150, 150, 300)]
    slow = RougeScorer(["rougeL"], tokenizer=Segmenter(unit))
    for answer in made:
        expected = [slow.score(reference, answer)["rougeL"].fmeasure for reference in made]
        assert overlap.rouge(answer, made, unit)["rouge_l"] == pytest.approx(expected)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("unit", ["word", "char"])
def test_bleu_parts_sum_to_sacrebleus_corpus_score(unit, order):
    cut = Segmenter("word", punctuation=True)
    prepare = (
        (lambda text: text and " ".join(cut.tokenize(text)))
        if unit == "word"
        else (lambda text: text and text.lower())
    )
    bleu = BLEU(tokenize="none" if unit == "word" else "zh", max_ngram_order=order)
    expected = bleu.corpus_score(
        list(map(prepare, ANSWERS)), [list(map(prepare, stream)) for stream in STREAMS]
    ).score
    parts = overlap.bleu_parts(ANSWERS, REFERENCES, unit)
    assert overlap.bleu_of_parts(summed(parts), order)[0] == pytest.approx(expected)

    def tokens(text: str) -> list[str]:
        whole = prepare(text)
        return (whole if unit == "word" else BLEU(tokenize="zh").tokenizer(whole)).split()

    theirs = corpus_bleu(
        [[tokens(r) for r in group] for group in REFERENCES],
        [tokens(a) for a in ANSWERS],
        weights=[1 / order] * order,
    )
    assert expected == pytest.approx(100 * theirs) and expected > 10


def test_bleu_of_few_matches_is_smoothed_as_sacrebleu_does():
    answer, reference = "我们今晚一起吃饭", "我们明天散步"
    expected = BLEU(tokenize="zh", force=True).corpus_score([answer], [[reference]]).score
    assert overlap.bleu_of_parts(overlap.bleu_parts([answer], [[reference]], "char"))[0] == pytest.approx(
        expected
    )
    assert expected > 0
    by_nltk = corpus_bleu([[list(reference)]], [list(answer)], smoothing_function=SmoothingFunction().method3)
    assert expected == pytest.approx(100 * by_nltk)


def test_bleu_1_by_hand():
    # 我很难过呢 against 我真的很难过: 4 of 5 characters match; brevity exp(1 - 6/5)
    score = overlap.bleu_of_parts(overlap.bleu_parts(["我很难过呢"], [["我真的很难过"]], "char"), 1)[0]
    assert score == pytest.approx(100 * 0.8 * np.exp(1 - 6 / 5))


def test_chrf_is_sacrebleus_corpus_score_and_a_copy_has_100():
    parts = overlap.chrf_parts(ANSWERS, REFERENCES)
    assert overlap.chrf_of_parts(summed(parts))[0] == pytest.approx(
        CHRF().corpus_score(ANSWERS, STREAMS).score
    )
    assert overlap.chrf_of_parts(overlap.chrf_parts(["抱抱你。"], [["好", "抱抱你。"]]))[0] == pytest.approx(
        100
    )


def test_scores_of_many_sums_at_once_are_sacrebleus_one_by_one():
    rng = generator(0, "sums")
    totals = rng.integers(0, 9, (400, 4))
    matches = rng.binomial(totals, rng.choice([0.0, 0.1, 0.9], (400, 1)))
    sums = np.hstack([matches, totals, rng.integers(0, 9, (400, 2))])
    sums[:, 8] = np.where(totals.any(axis=1), np.maximum(sums[:, 8], 1), 0)  # no n-gram without a token
    for order in (1, 2, 3, 4):
        one = [
            BLEU.compute_bleu(r[:order], r[4 : 4 + order], r[8], r[9], "exp", max_ngram_order=order).score
            for r in sums.tolist()
        ]
        assert (
            overlap.bleu_of_parts(sums.astype(float), order) == pytest.approx(one)
            and 0 < np.mean(np.array(one) == 0) < 1
        )
    sizes = rng.integers(0, 4, (400, 6, 2))
    counts = np.concatenate([sizes, rng.binomial(sizes.min(axis=2), 0.5)[..., None]], axis=2).reshape(400, 18)
    one = [CHRF()._compute_f_score(row) for row in counts.tolist()]
    assert overlap.chrf_of_parts(counts.astype(float)) == pytest.approx(one)


def test_chrf_by_hand():
    # 甲乙 against 甲丙: of the characters one of two matches both ways, of the bigrams none: precision =
    # recall = (1/2 + 0) / 2
    assert overlap.chrf_of_parts(overlap.chrf_parts(["甲乙"], [["甲丙"]]))[0] == pytest.approx(25)


def test_an_answer_without_references_has_no_parts():
    for parts in (
        overlap.bleu_parts(["好", "好"], [[], ["好"]]),
        overlap.chrf_parts(["好", "好"], [[], ["好"]]),
    ):
        assert np.isnan(parts[0]).all() and not np.isnan(parts[1]).any()


def test_greedy_match_by_hand():
    answer, reference = np.array([[1, 0], [0, 1]]), np.array([[1, 0], [0.6, 0.8], [-1, 0]])
    # answer to reference: 1 and 0.8; reference to answer: 1, 0.8 and 0
    precision, recall = 0.9, 1.8 / 3
    assert overlap.greedy_match(answer, reference) == pytest.approx(
        2 * precision * recall / (precision + recall)
    )
    assert overlap.greedy_match(answer, -answer) == 0.0, "no similarity at all"
    assert overlap.greedy_match(answer, answer[:0]) == 0.0
    assert overlap.greedy_match(reference, reference) == pytest.approx(1.0)


def test_greedy_match_is_bert_scores_own():
    rng = generator(0, "token vectors")
    answer, reference = (rng.normal(size=(tokens, 8)) + 0.3 for tokens in (5, 9))

    def batch(vectors):  # with a mask, and equal weights in the place of idf
        return torch.tensor(vectors)[None], torch.ones(1, len(vectors)), torch.ones(1, len(vectors))

    *_, expected = greedy_cos_idf(*batch(reference), *batch(answer))
    unit = [vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (answer, reference)]
    assert (
        overlap.greedy_match(*unit) == pytest.approx(expected.item(), abs=1e-5)
        and 0.2 < expected.item() < 0.95
    )


def test_bert_scores_pair_each_answer_with_its_own_references():
    letters = {"甲": [1, 0], "乙": [0, 1]}
    seen = []

    def tokens(texts):
        seen.extend(texts)
        return [np.array([letters[char] for char in text], dtype=float).reshape(-1, 2) for text in texts]

    answers = ["甲", "乙", ""] * 20
    scores = overlap.bert_scores(answers, [["甲", "甲乙"], [], ["甲"]] * 20, tokens)
    assert scores == [[1.0, pytest.approx(2 / 3)], [], [0.0]] * 20
    assert len(seen) == 2 * 4, "each text once in each of two batches"
