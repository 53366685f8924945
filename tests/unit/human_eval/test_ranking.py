import time
from functools import partial
from itertools import permutations

import choix
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import stats
from statsmodels.stats.sandwich_covariance import cov_cluster_2groups

from empathy_lib.core.errors import UserError
from empathy_lib.core.paper import DIMENSIONS
from empathy_lib.human_eval import agreement, differences, power, ranking, strengths
from empathy_lib.human_eval.agreement import kendall_w
from empathy_lib.human_eval.cube import ALL, average_rank, groups, to_cube, win_credit
from empathy_lib.human_eval.intervals import Bootstrap, two_way
from empathy_lib.human_eval.ratings import COLUMNS
from empathy_lib.human_eval.simulate import simulate_ratings

NAN = float("nan")
SYSTEMS = ["base", "bm25", "few_shot", "grpo", "sft", "sft_no_coe"]
STRENGTHS = pd.DataFrame(
    {d: np.roll([-1.0, -0.6, -0.2, 0.2, 0.6, 1.0], n) for n, d in enumerate(DIMENSIONS)}, index=SYSTEMS
)
RANKINGS = arrays(
    float, array_shapes(min_dims=1, max_dims=3, min_side=2, max_side=6), elements=st.integers(1, 6).map(float)
)


def rng(seed=0):
    return np.random.default_rng(seed)


def items(n):
    return [f"q{i:03d}" for i in range(n)]


def table(rows):
    return pd.DataFrame(rows, columns=list(COLUMNS))


def rankings(*rows, dimension="Fluency"):
    """Ratings from (rater, item, {system: rank})."""
    return table([(r, i, dimension, s, rank) for r, i, given in rows for s, rank in given.items()])


def value(result, measure, system, dimension=ALL):
    rows = result[
        (result["measure"] == measure) & (result["system"] == system) & (result["dimension"] == dimension)
    ]
    return rows["value"].item()


@pytest.mark.parametrize(
    ("ranks", "k", "credit"),
    [
        ([1, 2, 3], 1, [1, 0, 0]),
        ([1, 1, 3], 1, [1 / 2, 1 / 2, 0]),
        ([1, 1, 2], 2, [1, 1, 0]),
        ([1, 1, 1], 2, [2 / 3, 2 / 3, 2 / 3]),
        ([1, 2, 2, 4], 2, [1, 1 / 2, 1 / 2, 0]),
        ([4, 9, 9, 2], 3, [1, 1 / 2, 1 / 2, 1]),  # only the order counts
        ([1, NAN, 2], 1, [1, NAN, 0]),
    ],
)
def test_win_credit_by_hand(ranks, k, credit):
    np.testing.assert_allclose(win_credit(np.array(ranks, float), k), credit)


@pytest.mark.parametrize(
    ("ranks", "average"),
    [
        ([2, 1, 3], [2, 1, 3]),
        ([1, 1, 3], [1.5, 1.5, 3]),
        ([1, 1, 2], [1.5, 1.5, 3]),
        ([1, 1, 1], [2, 2, 2]),
        ([1, 2, NAN], [1, 3, NAN]),  # the one system that is there better than all others, the other worse
        ([1, 2, 3, NAN], [1, 2.5, 4, NAN]),
        ([1, 1, NAN], [2, 2, NAN]),
    ],
)
def test_average_rank_by_hand(ranks, average):
    np.testing.assert_allclose(average_rank(np.array(ranks, float)), average)


@given(RANKINGS)
@settings(deadline=None)
def test_invariants_of_complete_rankings(ranks):
    systems = ranks.shape[-1]
    for k in range(1, systems + 1):
        np.testing.assert_allclose(win_credit(ranks, k).sum(axis=-1), k)
    np.testing.assert_allclose(average_rank(ranks), stats.rankdata(ranks, axis=-1))
    wins = [win_credit(ranks, k) for k in range(systems)]  # a rank is one more than the number of K it fails
    np.testing.assert_allclose(systems - sum(wins), average_rank(ranks))


def test_ranking_table_by_hand_with_ties_and_missing():
    result = ranking.ranking_table(
        rankings(
            ("r1", "q1", {"a": 1, "b": 2, "c": 3}),
            ("r1", "q2", {"a": 1, "b": 1, "c": 3}),
            ("r2", "q1", {"a": 2, "b": 1}),  # c not ranked
            ("r2", "q2", {"c": 1}),  # compared with nothing: left out
        )
    )
    assert value(result, "win_at_1", "a") == pytest.approx((1 + 0.5 + 0) / 3)
    assert value(result, "win_at_1", "b") == pytest.approx((0 + 0.5 + 1) / 3)
    assert value(result, "win_at_1", "c") == 0
    assert value(result, "win_at_2", "c") == 0
    assert value(result, "mean_rank", "a") == pytest.approx((1 + 1.5 + 3) / 3)
    assert value(result, "mean_rank", "c") == 3
    assert result.set_index(["measure", "system", "dimension"])["n"].loc["win_at_1", "c", ALL] == 2


def test_all_is_the_unweighted_mean_of_the_dimensions():
    many = [rankings(("r1", f"q{n}", {"a": 1, "b": 2})) for n in range(3)]
    one = rankings(("r1", "q0", {"a": 2, "b": 1}), dimension="Comforting")
    result = ranking.ranking_table(pd.concat([*many, one]))
    assert value(result, "win_at_1", "a", "Fluency") == 1
    assert value(result, "win_at_1", "a", "Comforting") == 0
    assert value(result, "win_at_1", "a") == 0.5
    assert result["dimension"].unique().tolist() == [ALL, "Fluency", "Comforting"]


def test_intervals_contain_the_value_and_need_two_of_each():
    result = ranking.ranking_table(simulate_ratings(STRENGTHS / 2, 5, items(12), rng()))
    assert (
        (result["low"] <= result["value"])
        & (result["value"] <= result["high"])
        & (result["low"] < result["high"])
    ).all()
    alone = ranking.ranking_table(simulate_ratings(STRENGTHS, 1, items(12), rng()))
    assert alone["low"].isna().all() and alone["value"].notna().all()


def test_a_system_that_never_won_has_no_interval():
    """[0, 0] would claim certainty."""
    always = rankings(*[(f"r{r}", f"q{i}", {"a": 1, "b": 2}) for r in range(3) for i in range(3)])
    result = ranking.ranking_table(always)
    assert result["value"].notna().all() and result["low"].isna().all() and result["high"].isna().all()


def test_intervals_are_the_plain_bootstrap_of_both_clusters():
    """The vectorised sums agree with resampling rows one at a time."""
    ratings = simulate_ratings(STRENGTHS, 4, items(6), rng())
    ratings = ratings.drop(ratings.index[::7])
    result = ranking.ranking_table(ratings, ks=(1,), bootstrap=Bootstrap(50, rng(5)))
    cube = to_cube(ratings)
    draw = rng(5)
    by_rater, by_item = (draw.multinomial(n, np.full(n, 1 / n), size=50) for n in (4, 6))
    credit = win_credit(cube.ranks, 1)
    slow = []
    for raters, chosen in zip(by_rater, by_item, strict=True):
        again = credit[np.repeat(np.arange(4), raters)][:, np.repeat(np.arange(6), chosen)]
        slow.append(np.nanmean(np.nanmean(again, axis=(0, 1)), axis=0))
    tail = stats.norm.cdf(-3.1824 * np.sqrt(4 / 3))  # t of 3 degrees of freedom, and 4 raters
    low, high = np.quantile(slow, [tail, 1 - tail], axis=0)
    rows = result[(result["dimension"] == ALL) & (result["measure"] == "win_at_1")]
    np.testing.assert_allclose(rows["low"], low, rtol=1e-5)
    np.testing.assert_allclose(rows["high"], high, rtol=1e-5)


def test_two_way_variance_by_hand():
    """Two raters, two items, one dimension, system a first in three of four: V = V_rater + V_item -
    V_cell."""
    given = rankings(*[("r1", "q1", {"a": 1, "b": 2}), ("r1", "q2", {"a": 1, "b": 2})])
    given = pd.concat([given, rankings(("r2", "q1", {"a": 1, "b": 2}), ("r2", "q2", {"a": 2, "b": 1}))])
    row = (
        ranking.ranking_table(given, ks=(1,))
        .query("dimension == 'all' and measure == 'win_at_1' and system == 'a'")
        .iloc[0]
    )
    # Errors of the cells: 1/4, 1/4, 1/4, -3/4, each over 4. Raters' sums 1/8, -1/8, and so the items':
    # V_rater = V_item = 2 · 2/64.
    by_cluster, by_cell = 2 * (2 / 64), (3 / 16 + 9 / 16) / 16
    variance = max(2 * by_cluster - by_cell, by_cluster)
    half = stats.t.ppf(0.975, 1) * np.sqrt(variance) / (0.75 * 0.25)  # on the logit scale
    logit = np.log(0.75 / 0.25)
    assert [row["low"], row["high"]] == pytest.approx(
        [1 / (1 + np.exp(half - logit)), 1 / (1 + np.exp(-half - logit))]
    )


@pytest.mark.parametrize(
    ("errors", "variance"),
    [
        # raters' sums ±3, items' 1, 0, -1: the whole formula
        ([[2, 1, 0], [-1, -1, -1]], 2 * 18 + 1.5 * 2 - 8),
        # raters' sums ±1, items' 1, -2, 1, and 30 in the cells: the smaller of 4 and 9 is the least
        ([[3, 0, -2], [-2, -2, 3]], 2 * 2),
        ([[3, -3, 0], [-2, 3, -1]], 1.5 * 2),  # raters' sums 0: of no use
    ],
)
def test_the_variance_is_never_below_the_smaller_of_both(errors, variance):
    influence = np.array(errors, float)
    low, high = two_way(np.array(0.0), influence, np.ones_like(influence, bool))
    assert [low, high] == pytest.approx(np.sqrt(variance) * np.array([-1, 1]) * stats.t.ppf(0.975, 1))


def test_both_intervals_agree_on_a_study_of_a_good_size():
    cube = to_cube(simulate_ratings(STRENGTHS, 25, items(60), rng()))
    for make in (partial(ranking.ranking_table, ks=(1,)), strengths.estimate_strengths):
        one, other = make(cube), make(cube, bootstrap=Bootstrap(300, rng()))
        ratio = (one["high"] - one["low"]) / (other["high"] - other["low"])
        assert 0.85 < ratio.median() < 1.2 and ratio.between(0.6, 1.6).all()


@pytest.mark.parametrize(("raters", "number", "tastes"), [(20, 30, 0.5), (6, 15, 0.5), (20, 30, 0.0)])
def test_intervals_hold_the_truth(raters, number, tastes):
    """Over 60 studies the standard error of a coverage is about 0.015; the whole measurement is
    tests/benchmarks/bench_coverage.py."""
    table = power.coverage(
        STRENGTHS, raters, number, simulations=60, rng=rng(7), rater_sd=tastes, item_sd=tastes
    )
    assert set(table["measure"]) == {"win_at_1", "mean_rank", "strength"}
    assert table["coverage"].between(0.91, 0.985).all(), table
    assert (table["width"] > 0).all() and (table["studies"] == 60).all()


def test_win_matrix_by_hand():
    given = rankings(
        ("r1", "q1", {"a": 1, "b": 2, "c": 2}),
        ("r2", "q1", {"a": 2, "b": 1}),
        ("r2", "q2", {"a": 1, "b": 2, "c": 3}),
    )
    table = ranking.win_matrix(given).set_index(["a", "b"])
    assert table.loc[("a", "b"), "wins"] == pytest.approx(2 / 3) and table.loc[
        ("b", "a"), "wins"
    ] == pytest.approx(1 / 3)
    assert table.loc[("b", "c"), "wins"] == 0.75 and table.loc[("b", "c"), "n"] == 2
    assert len(table) == 6


def test_leaving_a_rater_out_by_hand():
    given = rankings(
        ("r1", "q1", {"a": 1, "b": 2}), ("r2", "q1", {"a": 1, "b": 2}), ("r3", "q1", {"a": 2, "b": 1})
    )
    table = ranking.leave_one_rater_out(given).set_index(["without", "system"])
    assert table.loc[(ranking.NOBODY, "a"), "win_at_1"] == pytest.approx(2 / 3)
    assert table.loc[("r3", "a"), "win_at_1"] == 1 and table.loc[("r1", "a"), "win_at_1"] == 0.5
    assert table.loc[("r3", "b"), "place"] == 2 and table.loc[("r1", "b"), "place"] == 1


def test_nemenyi_gives_demsars_figures():
    """AUC of four classifiers on 14 data sets: Demšar (2006), JMLR 7, table 6, whose ranks part the rounded
    tie of voting (.975)."""
    auc = """.763 .768 .771 .798|.599 .591 .590 .569|.954 .971 .968 .967|.628 .661 .654 .657
    .882 .888 .886 .898|.936 .931 .916 .931|.661 .668 .609 .685|.583 .583 .563 .625|.775 .838 .866 .875
    1 1 1 1|.940 .962 .965 .962|.619 .666 .614 .669|.972 .981 .9751 .975|.957 .978 .946 .970"""
    table = pd.DataFrame(
        [[-float(x) for x in row.split()] for row in auc.replace("\n", "|").split("|")],
        columns=["C4.5", "+m", "+cf", "+m+cf"],
    )
    test = differences.nemenyi_of(table)
    assert test.ranks.round(3).tolist() == [3.143, 2.000, 2.893, 1.964]
    assert test.critical_difference == pytest.approx(1.25, abs=0.005) and test.items == 14
    assert (
        (test.p.to_numpy() < 0.05)
        == (np.abs(np.subtract.outer(*[test.ranks.to_numpy()] * 2)) > test.critical_difference)
    ).all()


def test_bradley_terry_gives_agrestis_figures():
    """Baseball, American League 1987: Agresti (2002), Categorical Data Analysis, table 10.10; log-abilities
    relative to Baltimore."""
    wins = [[0, 7, 9, 7, 7, 9, 11], [6, 0, 7, 5, 11, 9, 9], [4, 6, 0, 7, 7, 8, 12], [6, 8, 6, 0, 6, 7, 10]]
    wins += [[6, 2, 6, 7, 0, 7, 12], [4, 4, 5, 6, 6, 0, 6], [2, 4, 1, 3, 1, 7, 0]]
    fitted = strengths.fit(np.array(wins, float), pseudo=0.0)
    assert (fitted - fitted[-1]).round(2).tolist() == [1.58, 1.44, 1.29, 1.25, 1.11, 0.68, 0.0]


def test_bradley_terry_on_pairs_agrees_with_plackett_luce():
    cube = to_cube(simulate_ratings(STRENGTHS[["Fluency"]], 30, items(100), rng(), rater_sd=0, item_sd=0))
    orders = [list(np.argsort(row)) for row in cube.ranks[:, :, 0].reshape(-1, len(SYSTEMS))]
    fitted = strengths.estimate_strengths(cube)["strength"].to_numpy()
    np.testing.assert_allclose(fitted, choix.ilsr_rankings(len(SYSTEMS), orders, alpha=1e-4), atol=0.06)


def ordinal_alpha(units):
    """Krippendorff (2004), Content Analysis, chapter 11: 1 - observed/expected disagreement; a unit is a list
    of values."""
    units = [unit for unit in units if len(unit) > 1]
    values = sorted({value for unit in units for value in unit})
    count = {value: sum(unit.count(value) for unit in units) for value in values}
    total = sum(count.values())

    def distance(a, b):
        between = [count[value] for value in values if min(a, b) <= value <= max(a, b)]
        return (sum(between) - (count[a] + count[b]) / 2) ** 2 if a != b else 0.0

    observed = (
        sum(distance(a, b) / (len(unit) - 1) for unit in units for a, b in permutations(unit, 2)) / total
    )
    expected = sum(count[a] * count[b] * distance(a, b) for a in values for b in values) / (
        total * (total - 1)
    )
    return 1 - observed / expected


def test_the_definition_gives_krippendorffs_figure():
    """Four observers, twelve units, some missing: Krippendorff (2011), Computing Krippendorff's
    alpha-reliability."""
    observers = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]
    units = [[int(value) for value in unit if value != "."] for unit in zip(*observers, strict=True)]
    assert ordinal_alpha(units) == pytest.approx(0.815, abs=5e-4)


def test_krippendorffs_alpha_by_its_definition_with_ties_and_missing():
    ratings = simulate_ratings(STRENGTHS[["Fluency"]], 4, items(6), rng())
    ratings["rank"] = ratings["rank"].replace({2.0: 1.0})
    ratings = ratings.drop(ratings.index[::9])
    cube = to_cube(ratings)
    ranks = average_rank(cube.ranks)[:, :, 0].reshape(4, -1)
    units = [[float(value) for value in unit if not np.isnan(value)] for unit in ranks.T]
    assert agreement.agreement(ratings)["krippendorff_alpha"].item() == pytest.approx(ordinal_alpha(units))


def test_clustering_matters():
    """With strong tastes, intervals that took opinions as independent would be far too narrow."""
    ratings = simulate_ratings(STRENGTHS[["Fluency"]], 8, items(40), rng(), rater_sd=1.5, item_sd=0)
    rows = ranking.ranking_table(ratings, ks=(1,)).query("dimension == 'all' and measure == 'win_at_1'")
    independent = 2 * 1.96 * np.sqrt(rows["value"] * (1 - rows["value"]) / (8 * 40))
    assert ((rows["high"] - rows["low"]) > 1.5 * independent).mean() > 0.6


def test_rank_shares_by_hand():
    shares = ranking.rank_shares(
        rankings(("r1", "q1", {"a": 1, "b": 2, "c": 3}), ("r2", "q1", {"a": 1, "b": 1, "c": 2}))
    )
    assert shares.loc["a"].tolist() == [0.75, 0.25, 0]
    assert shares.loc["b"].tolist() == [0.25, 0.75, 0]
    assert shares.loc["c"].tolist() == [0, 0, 1]


def test_omnibus_agrees_with_friedman_by_hand():
    # three items, each ranked a < b < c by its one rater: chi2 = 12/(3·3·4)·(3²+6²+9²) − 3·3·4 = 6
    result = differences.omnibus(rankings(*[("r1", f"q{n}", {"a": 1, "b": 2, "c": 3}) for n in range(3)]))
    assert result["statistic"].tolist() == pytest.approx([6, 6])
    assert result["p_these_raters"].iloc[0] == pytest.approx(stats.chi2.sf(6, 2))
    assert result[["df", "items"]].iloc[0].tolist() == [2, 3]


def test_omnibus_finds_differences_and_none():
    strong = differences.omnibus(simulate_ratings(STRENGTHS, 10, items(30), rng())).set_index("dimension")
    assert (strong.loc[list(DIMENSIONS), "p_these_raters"] < 1e-6).all()
    null = [
        differences.omnibus(simulate_ratings(STRENGTHS * 0, 4, items(20), rng(seed), rater_sd=0))
        .set_index("dimension")
        .loc["Fluency", "p_these_raters"]
        for seed in range(80)
    ]
    assert stats.kstest(null, "uniform").pvalue > 0.01


@pytest.mark.parametrize(
    "given",
    [
        rankings(("r1", "q1", {"a": 1, "b": 2, "c": 3})),  # one item
        rankings(*[("r1", f"q{n}", {"a": 1, "b": 2}) for n in range(4)]),  # two systems
        rankings(*[("r1", f"q{n}", {"a": 1, "b": 1, "c": 1}) for n in range(4)]),  # only ties
    ],
)
def test_omnibus_is_not_available_where_it_says_nothing(given):
    assert differences.omnibus(given)["p_these_raters"].isna().all()


def test_p_of_a_difference_by_hand():
    """Three raters, three items, ranks of two systems: a is better but for r1 on q1."""
    gaps = np.full((3, 3), -1.0)
    gaps[0, 0] = 1.0
    given = rankings(
        *[
            (f"r{r}", f"q{i}", {"a": 1, "b": 2} if gaps[r, i] < 0 else {"a": 2, "b": 1})
            for r in range(3)
            for i in range(3)
        ]
    )
    row = differences.pairwise(given).iloc[0]
    # errors of the cells: 16/81, eight times -2/81; raters' sums 12/81, -6/81, -6/81, and so the items'
    by_cluster, by_cell = (144 + 36 + 36) / 81**2 * 3 / 2, (256 + 8 * 4) / 81**2
    t = (7 / 9) / np.sqrt(2 * by_cluster - by_cell)
    assert row["difference"] == pytest.approx(-7 / 9) and row["n"] == 9
    assert row["p"] == pytest.approx(2 * stats.t.sf(t, 2)) == row["p_holm"]
    assert (row["low"] < 0 < row["high"]) == (row["p"] > 0.05)


def test_where_nothing_varies_the_sign_test_speaks():
    """All of four raters agree on all of five items: 2 / 2^4; ties everywhere: 1; one rater: nothing."""
    cells = [(f"r{r}", f"q{i}") for r in range(4) for i in range(5)]
    result = differences.pairwise(rankings(*[(*cell, {"a": 1, "b": 2, "c": 2}) for cell in cells]))
    assert result["p"].tolist() == pytest.approx([1 / 8, 1 / 8, 1]) and result["low"].isna().all()
    alone = differences.pairwise(rankings(*[("r1", f"q{i}", {"a": 1, "b": 2}) for i in range(5)]))
    assert alone["p"].isna().all() and alone["p_holm"].isna().all() and alone["difference"].item() == -1


def test_two_way_variance_agrees_with_statsmodels():
    """The published two-way sandwich of a mean; statsmodels scales all three parts alike, so the clusters'
    own n/(n-1) are put in here."""
    cube = to_cube(simulate_ratings(STRENGTHS[["Fluency"]], 9, items(14), rng(3)))
    gap = average_rank(cube.ranks)[..., 0, 0] - average_rank(cube.ranks)[..., 0, 5]
    rater, item = (index.ravel() for index in np.indices(gap.shape))
    fit = sm.OLS(gap.ravel(), np.ones((gap.size, 1))).fit()
    both, by_rater, by_item = (
        part.item() for part in cov_cluster_2groups(fit, rater, group2=item, use_correction=False)
    )
    by_cell = by_rater + by_item - both
    variance = by_rater * 9 / 8 + by_item * 14 / 13 - by_cell
    assert variance > min(by_rater * 9 / 8, by_item * 14 / 13)  # else the floor would be tested
    row = differences.pairwise(cube, dimension="Fluency").set_index(["a", "b"]).loc[("base", "sft_no_coe")]
    half = stats.t.ppf(0.975, 8) * np.sqrt(variance)
    assert [row["low"], row["high"]] == pytest.approx([gap.mean() - half, gap.mean() + half])
    assert row["p"] == pytest.approx(2 * stats.t.sf(abs(gap.mean()) / np.sqrt(variance), 8))


def test_equal_systems_are_seldom_called_different():
    """Item-wise tests, which take the raters as given, find differences in most such studies; the whole
    measurement is tests/benchmarks/bench_coverage.py."""
    found = power.false_alarms([(8, 30)], systems=6, simulations=15, rng=rng(1)).iloc[0]
    assert found["familywise"] <= 0.1 and found["pairs"] <= 0.07
    assert found["friedman_these_raters"] > 0.3


def test_groups_of_systems_that_comparisons_connect():
    both = pd.concat(
        [
            rankings(("r1", "q1", {"a": 1, "b": 2}), ("r2", "q1", {"b": 1, "c": 2}), ("r2", "q2", {"d": 1})),
            rankings(("r1", "q1", {"a": 1, "b": 2}), ("r2", "q1", {"c": 1, "d": 2}), dimension="Warmth"),
        ]
    )
    cube = to_cube(both)
    assert cube.dimensions == ["Fluency", "Warmth"]
    assert groups(cube, "Fluency") == [["a", "b", "c"], ["d"]]
    assert groups(cube, "Warmth") == groups(cube) == [["a", "b"], ["c", "d"]]


def test_strengths_of_groups_that_were_never_compared_are_fitted_apart():
    """6 of 8 wins within either group, half a win added each way: log-odds of 6.5 to 2.5; no word across."""
    rows = [
        (rater, f"q{n}", {first: 1, second: 2} if n else {first: 2, second: 1})
        for rater in ("r1", "r2")
        for first, second in (("a", "b"), ("c", "d"))
        for n in range(4)
    ]
    half = np.log(6.5 / 2.5) / 2
    for interval in (None, Bootstrap(20, rng())):
        result = strengths.estimate_strengths(rankings(*rows), bootstrap=interval)
        assert result["strength"].tolist() == pytest.approx([half, -half, half, -half])
    alone = strengths.estimate_strengths(rankings(*[row for row in rows if "a" in row[2]]))
    whole = strengths.estimate_strengths(
        rankings(*[(row[0], row[1] + "".join(row[2]), row[2]) for row in rows])
    )
    assert alone["strength"].tolist() == whole["strength"].tolist()[:2]


def test_pairwise_on_simulated_truth():
    result = differences.pairwise(simulate_ratings(STRENGTHS, 12, items(30), rng()), dimension="Fluency")
    far = result[(result["a"] == "base") & (result["b"] == "sft_no_coe")].iloc[0]
    assert far["p_holm"] < 1e-4 and 0 < far["low"] < far["difference"] < far["high"]
    assert len(result) == 15 and (result["p_holm"] >= result["p"]).all()


def test_kendall_w_by_hand():
    assert kendall_w(np.array([[1, 2, 3], [1, 2, 3], [1, 2, 3.0]])) == pytest.approx(1)
    assert kendall_w(np.array([[1, 2, 3], [3, 2, 1.0]])) == pytest.approx(0)
    # rank sums 4, 5, 9 around 6: S = 14; W = 12·14 / (9·24)
    assert kendall_w(np.array([[1, 2, 3], [1, 2, 3], [2, 1, 3.0]])) == pytest.approx(12 * 14 / 216)
    assert kendall_w(np.array([[1, 2, 3], [1, 2, 3], [NAN, 1, 2]])) == pytest.approx(1)
    assert np.isnan(kendall_w(np.array([[1, 1, 1], [1, 1, 1.0]])))
    assert np.isnan(kendall_w(np.array([[1, 2, 3.0]])))


@given(arrays(float, st.tuples(st.integers(3, 6), st.integers(3, 6)), elements=st.integers(1, 5).map(float)))
@settings(deadline=None)
def test_kendall_w_is_friedman_scaled(ranks):
    """W = chi-squared / (raters · (systems − 1)), ties included."""
    raters, systems = ranks.shape
    w = kendall_w(ranks)
    if np.isnan(w):
        assert (ranks == ranks[:, :1]).all()
    else:
        assert w == pytest.approx(
            stats.friedmanchisquare(*ranks.T).statistic / (raters * (systems - 1)), abs=1e-9
        )
        assert -1e-9 <= w <= 1 + 1e-9


def test_agreement_from_none_to_full():
    same = rankings(*[(f"r{r}", f"q{i}", {"a": 1, "b": 2, "c": 3}) for r in range(4) for i in range(5)])
    full = agreement.agreement(same).iloc[0]
    assert full["kendall_w"] == pytest.approx(1) and full["krippendorff_alpha"] == pytest.approx(1)
    assert full["kendall_w_chance"] == 0.25 and full["items"] == 5
    null = agreement.agreement(simulate_ratings(STRENGTHS * 0, 10, items(60), rng(), rater_sd=0, item_sd=0))
    assert np.abs(null["kendall_w"] - 0.1).max() < 0.03
    assert np.abs(null["krippendorff_alpha"]).max() < 0.03


def test_agreement_of_one_rater_is_not_available():
    alone = agreement.agreement(simulate_ratings(STRENGTHS, 1, items(3), rng()))
    assert alone["kendall_w"].isna().all() and alone["krippendorff_alpha"].isna().all()


def test_strengths_of_two_systems_are_the_log_odds():
    rows = [("r1", f"q{n}", {"a": 1, "b": 2} if n < 75 else {"a": 2, "b": 1}) for n in range(100)]
    result = strengths.estimate_strengths(rankings(*rows)).set_index("system")["strength"]
    assert result["a"] - result["b"] == pytest.approx(np.log(75.5 / 25.5), abs=1e-6)
    assert result.sum() == pytest.approx(0, abs=1e-9)


def test_known_strengths_are_recovered():
    ratings = simulate_ratings(STRENGTHS, 20, items(100), rng(), rater_sd=0, item_sd=0)
    fitted = strengths.estimate_strengths(ratings)
    result, correlation = strengths.recovery(fitted, STRENGTHS)
    assert correlation > 0.99
    assert np.abs(result["true"] - result["strength"]).max() < 0.12
    assert ((result["low"] <= result["true"]) & (result["true"] <= result["high"])).mean() >= 0.85


def test_recovery_with_tastes_is_weaker_but_there():
    ratings = simulate_ratings(STRENGTHS, 20, items(100), rng())
    result, correlation = strengths.recovery(strengths.estimate_strengths(ratings), STRENGTHS)
    assert correlation > 0.9
    assert result["strength"].std() < result["true"].std()


def test_a_system_that_never_wins_stays_finite_and_one_never_compared_is_nan():
    rows = [("r1", f"q{n}", {"a": 1, "b": 2}) for n in range(30)]
    result = strengths.estimate_strengths(rankings(*rows, ("r2", "q0", {"c": 1}))).set_index("system")
    assert np.isfinite(result.loc["b", "strength"]) and np.isnan(result.loc["c", "strength"])


def test_missing_at_random_changes_little():
    ratings = simulate_ratings(STRENGTHS, 10, items(60), rng())
    thinned = ratings.sample(frac=0.8, random_state=1)
    whole, part = (ranking.ranking_table(given, ks=()) for given in (ratings, thinned))
    assert np.abs(whole["value"] - part["value"]).max() < 0.35
    fits = [strengths.estimate_strengths(given)["strength"] for given in (ratings, thinned)]
    assert np.abs(fits[0] - fits[1]).max() < 0.2


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (rankings(("r1", "q1", {"a": 1})), "only 1 system"),
        (
            pd.concat([rankings(("r1", "q1", {"a": 1, "b": 2}))] * 2, ignore_index=True),
            "r1, q1, Fluency, a is there twice",
        ),
    ],
)
def test_bad_frames_are_named(given, says):
    with pytest.raises(UserError, match=says):
        to_cube(given)


def test_order_of_rows_changes_nothing():
    ratings = simulate_ratings(STRENGTHS, 4, items(6), rng())
    shuffled = ratings.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(*(ranking.ranking_table(given) for given in (ratings, shuffled)))


def test_the_papers_size_takes_seconds():
    ratings = simulate_ratings(STRENGTHS, 20, items(100), rng())
    started = time.process_time()
    ranking.ranking_table(ratings, bootstrap=Bootstrap(1000, rng()))
    assert time.process_time() - started < 10
