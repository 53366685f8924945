"""Near-duplicate search against brute force, and the laws of the normal form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from empathy_lib.core.text import fingerprint, jaccard, normalise, shingles
from empathy_lib.dataset import deduplicate
from empathy_lib.dataset.deduplicate import compare_all, near_duplicate_pairs

TEXT = st.text("我你他难过害怕工作 ，。？！abAB１２…", max_size=60)


@given(TEXT)
def test_normal_form_ignores_punctuation_width_and_case(text):
    assert normalise(normalise(text)) == normalise(text)
    if any(ch.isalnum() for ch in text):
        assert normalise(text + "！ ") == normalise(text)


def test_normal_form_keeps_a_text_of_punctuation():
    assert normalise("……") != normalise("？？")


@given(TEXT, TEXT)
def test_jaccard_is_symmetric_and_one_for_equals(a, b):
    left, right = shingles(a), shingles(b)
    assert jaccard(left, right) == jaccard(right, left)
    assert 0 <= jaccard(left, right) <= 1
    assert jaccard(left, left) == 1


def test_jaccard_counts_5_grams():
    # 3 of 4 and 4 grams in common
    assert jaccard(shingles("abcdefgh"), shingles("abcdefgx")) == pytest.approx(3 / 5)


def test_pairs_equal_brute_force_on_edited_texts():
    rng = np.random.default_rng(7)
    alphabet = list("天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏闰余成岁律吕调阳")
    posts = ["".join(rng.choice(alphabet, size=120)) for _ in range(25)]
    texts = posts + [
        "".join(ch for ch in post if rng.random() > rate)
        for post in posts
        for rate in (0.0, 0.01, 0.03, 0.06)
    ]
    wanted = compare_all(texts, 0.7)
    assert near_duplicate_pairs(texts, 0.7) == wanted
    assert len(wanted) > 25


@pytest.mark.parametrize("size", ["_KEPT", "_TOGETHER"])
def test_a_cache_or_a_part_smaller_than_the_candidates_changes_no_pair(monkeypatch, size):
    texts = [f"天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往{mark}" for mark in "秋收冬藏闰余"]
    monkeypatch.setattr(deduplicate, size, 1)
    assert near_duplicate_pairs(texts, 0.7) == compare_all(texts, 0.7)
    assert len(compare_all(texts, 0.7)) == 15


@settings(max_examples=50)
@given(st.lists(TEXT, max_size=6))
def test_fingerprints_are_equal_where_normal_forms_are(texts):
    for one in texts:
        for other in texts:
            assert (fingerprint(one) == fingerprint(other)) == (normalise(one) == normalise(other))


def test_comparing_all_finds_the_pairs_at_and_above_the_threshold():
    assert compare_all(["abcdefgh", "abcdefgx", "天地玄黄宇宙洪荒"], 0.6) == [(0, 1, pytest.approx(3 / 5))]
    assert compare_all(["abcdefgh", "abcdefgx"], 0.61) == []


@settings(max_examples=30, deadline=None)
@given(st.lists(TEXT, max_size=8), st.sampled_from([0.5, 0.7, 1.0]))
def test_every_pair_is_ordered_and_above_the_threshold(texts, threshold):
    for i, j, similarity in near_duplicate_pairs(texts, threshold):
        assert i < j
        assert similarity == jaccard(shingles(texts[i]), shingles(texts[j])) >= threshold
