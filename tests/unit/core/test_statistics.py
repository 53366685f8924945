import math
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from empathy_lib.core.run import generator
from empathy_lib.core.statistics import (
    PairedTest,
    bootstrap_mean,
    bootstrap_sums,
    holm,
    jackknife,
    paired_permutation,
    paired_sums,
    rank_correlation,
    wilson_share,
)

VALUES = st.lists(st.floats(0, 1), min_size=2, max_size=40)


@given(VALUES)
def test_bootstrap_holds_the_mean_and_stays_within_the_data(values):
    score = bootstrap_mean(values, resamples=200, rng=generator(1, "test"))
    assert score.n == len(values)
    assert score.value == pytest.approx(np.mean(values))
    assert min(values) - 1e-9 <= score.low <= score.high <= max(values) + 1e-9


def test_bootstrap_covers_the_true_mean_about_as_often_as_it_says():
    rng = generator(2, "coverage")
    scores = [bootstrap_mean(rng.normal(0.5, 0.2, 40), resamples=300, rng=rng) for _ in range(200)]
    assert 0.88 <= np.mean([score.low <= 0.5 <= score.high for score in scores]) <= 0.99


def test_bootstrap_is_seeded():
    values = generator(3, "values").random(30)
    first, again, other = (
        bootstrap_mean(values, resamples=100, rng=generator(seed, "b")) for seed in (1, 1, 2)
    )
    assert first == again
    assert (first.low, first.high) != (other.low, other.high)


def test_missing_values_are_left_out_and_nothing_is_not_zero():
    score = bootstrap_mean([1.0, math.nan, 3.0], resamples=50, rng=generator(1, "x"))
    assert (score.value, score.n) == (2.0, 2)
    nothing = bootstrap_mean([math.nan], resamples=50, rng=generator(1, "x"))
    assert math.isnan(nothing.value) and nothing.n == 0


def test_one_example_has_no_interval():
    score = bootstrap_mean([0.4], resamples=50, rng=generator(1, "x"))
    assert score.value == 0.4 and math.isnan(score.low) and math.isnan(score.high)


def test_bootstrap_of_a_ratio_weighs_by_size():
    parts = np.array([[1, 2], [8, 8]], dtype=float)
    score = bootstrap_sums(
        parts, lambda sums: sums[:, 0] / sums[:, 1], resamples=500, rng=generator(1, "ratio")
    )
    assert score.value == pytest.approx(0.9)
    assert (score.low, score.high) == (0.5, 1.0)


def test_wilson_keeps_doubt_when_all_succeed():
    score = wilson_share([1.0] * 16)
    assert score.value == 1.0
    # Wilson's lower limit at a share of one: n / (n + z²)
    assert score.low == pytest.approx(16 / (16 + 1.959964**2))
    assert score.high == pytest.approx(1.0)
    assert wilson_share([math.nan, 1.0]).n == 1
    assert wilson_share([math.nan]).n == 0


def test_jackknife_of_a_mean_is_the_standard_error():
    values = generator(4, "jack").random(50)
    left_out = (values.sum() - values) / 49
    score = jackknife(values.mean(), left_out)
    assert (score.high - score.low) / 2 == pytest.approx(
        1.959964 * values.std(ddof=1) / math.sqrt(50), rel=1e-5
    )
    assert math.isnan(jackknife(1.0, left_out[:1]).low)


def test_permutation_tells_a_shift_from_none():
    rng = generator(5, "pairs")
    base = rng.normal(0, 1, 60)
    shifted = paired_permutation(base + 0.5 + rng.normal(0, 0.2, 60), base, rng=rng, resamples=999)
    same = paired_permutation(base, base, rng=rng, resamples=999)
    assert shifted.p <= 0.005 and shifted.low > 0
    assert same.p == 1.0 and same.difference == 0.0


def test_permutation_of_few_pairs_is_exact():
    # all four signs alike: two of the 16 sign patterns are as extreme
    assert paired_permutation([1, 2, 3, 4], [0, 0, 0, 0], rng=generator(1, "x")).p == pytest.approx(2 / 16)


def test_permutation_false_alarms_are_about_five_percent():
    rng = generator(6, "null")
    p = [
        paired_permutation(rng.normal(size=20), rng.normal(size=20), rng=rng, resamples=199).p
        for _ in range(200)
    ]
    assert 0.01 <= np.mean(np.array(p) <= 0.05) <= 0.10


def test_permutation_leaves_out_missing_pairs_and_refuses_unequal_ones():
    assert paired_permutation([1, math.nan, 3], [0, 1, math.nan], rng=generator(1, "x")).n == 1
    with pytest.raises(ValueError, match="same questions"):
        paired_permutation([1, 2], [1], rng=generator(1, "x"))


def test_holm_by_hand():
    # sorted .01 .02 .04 times 3, 2, 1, kept monotone
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])


def test_holm_ignores_missing_tests():
    corrected = holm([0.01, math.nan, 0.03])
    assert corrected[[0, 2]] == pytest.approx([0.02, 0.03])
    assert math.isnan(corrected[1])
    assert np.isnan(holm([math.nan])).all()


def test_holm_never_lowers_a_p_value_and_keeps_their_order():
    p = generator(7, "holm").random(50) ** 3
    corrected = holm(p)
    assert (corrected >= p).all() and (corrected <= 1).all()
    assert (np.diff(corrected[np.argsort(p)]) >= 0).all()


@pytest.mark.parametrize("size", [1, 2, 15, 200])
def test_holm_agrees_with_statsmodels_and_collects_no_garbage(size):
    p = generator(9, f"holm {size}").random(size).round(2)  # rounded: ties
    with patch("gc.collect", side_effect=AssertionError("slow where many objects live")):
        corrected = holm(p)
    np.testing.assert_allclose(corrected, multipletests(p, method="holm")[1])


def test_paired_sums_of_a_mean_agree_with_the_test_of_means():
    rng = generator(8, "sums")
    a, b = rng.normal(0.2, 1, 30), rng.normal(0, 1, 30)
    mean = lambda sums: sums[:, 0] / 30  # noqa: E731
    by_sums = paired_sums(a[:, None], b[:, None], mean, rng=generator(1, "p"), resamples=4999)
    by_means = paired_permutation(a, b, rng=generator(1, "p"), resamples=4999)
    assert by_sums.difference == pytest.approx(by_means.difference) and by_sums.p == pytest.approx(
        by_means.p, abs=0.03
    )
    assert (by_sums.low, by_sums.high) == pytest.approx((by_means.low, by_means.high), abs=0.15)


def test_paired_sums_of_few_pairs_and_missing_ones():
    share = lambda sums: sums[:, 0] / sums[:, 1]  # noqa: E731
    a, b = np.array([[4.0, 4]] * 6), np.array([[0.0, 4]] * 6)
    test = paired_sums(a, b, share, rng=generator(1, "x"), resamples=9999)
    assert test.difference == 1.0 and test.p == pytest.approx(2 / 2**6, abs=0.01)
    a[0] = math.nan
    assert paired_sums(a, b, share, rng=generator(1, "x")).n == 5
    assert (
        math.isnan(paired_sums(a[:2], b[:2], share, rng=generator(1, "x")).p)
        and paired_sums(a[:1], b[:1], share, rng=None).n == 0
    )
    with pytest.raises(ValueError, match="same questions"):
        paired_sums(a, b[:2], share, rng=generator(1, "x"))


def test_paired_sums_false_alarms_are_about_five_percent():
    rng = generator(9, "null sums")
    ratio = lambda sums: sums[:, 0] / sums[:, 1]  # noqa: E731
    draw = lambda: np.column_stack([rng.poisson(3, 25), rng.poisson(9, 25) + 1]).astype(float)  # noqa: E731
    p = [paired_sums(draw(), draw(), ratio, rng=rng, resamples=199).p for _ in range(200)]
    assert 0.01 <= np.mean(np.array(p) <= 0.05) <= 0.10


def test_rank_correlation_is_spearmans_with_an_interval_over_groups():
    rng = generator(4, "ranks")
    a = rng.random(60)
    b = a**3 + 0.2 * rng.random(60)
    posts = [f"post {n // 3}" for n in range(60)]
    found = rank_correlation(a, b, posts, resamples=200, rng=rng)
    assert found.value == pytest.approx(stats.spearmanr(a, b).statistic) and found.n == 20
    assert found.low < found.value < found.high <= 1
    # three copies of each pair in a group of their own add no certainty
    wide = rank_correlation(a[::3], b[::3], posts[::3], resamples=500, rng=generator(1, "x"))
    thrice = [np.repeat(each[::3], 3) for each in (a, b)]
    same = rank_correlation(*thrice, posts, resamples=500, rng=generator(1, "x"))
    assert (same.low, same.high) == pytest.approx((wide.low, wide.high))


@pytest.mark.parametrize("other", [[0.5] * 4, [math.nan] * 4, [1.0, *[math.nan] * 3]])
def test_rank_correlation_of_nothing_is_not_available(other):
    found = rank_correlation([1, 2, 3, 4], other, list("abcd"), resamples=20, rng=generator(1, "x"))
    assert math.isnan(found.value) and math.isnan(found.low)


def test_rank_correlation_knows_its_sign_and_leaves_missing_pairs_out():
    against = [4.0, 3.0, math.nan, 1.0]
    found = rank_correlation([1, 2, 3, 4], against, list("abcd"), resamples=20, rng=generator(1, "x"))
    assert found.value == pytest.approx(-1) and found.n == 3


def test_a_difference_says_in_words_what_it_lacks():
    nan = math.nan
    assert str(PairedTest(0.25, -0.1, 0.6, 0.2, 6)) == "+0.250 [-0.100, +0.600]"
    assert str(PairedTest(0.25, nan, nan, nan, 1)) == "+0.250"
    assert str(PairedTest(nan, nan, nan, nan, 0)) == "not available"
