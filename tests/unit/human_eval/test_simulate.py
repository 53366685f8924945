import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from empathy_lib.core.errors import UserError
from empathy_lib.core.paper import DIMENSIONS
from empathy_lib.human_eval.agreement import rater_quality
from empathy_lib.human_eval.checks import without_checks
from empathy_lib.human_eval.cube import to_cube, win_credit
from empathy_lib.human_eval.design import build_study
from empathy_lib.human_eval.power import papers_interval, power_table
from empathy_lib.human_eval.ranking import ranking_table
from empathy_lib.human_eval.ratings import is_simulated
from empathy_lib.human_eval.simulate import (
    answer_study,
    first_place,
    simulate_cube,
    simulate_ratings,
    strengths_for,
    truth,
)
from empathy_lib.human_eval.strengths import estimate_strengths

STRENGTHS = pd.DataFrame(
    {d: np.roll([-1.0, -0.3, 0.1, 1.2], n) for n, d in enumerate(DIMENSIONS)},
    index=["base", "bm25", "grpo", "sft"],
)


def items(n):
    return [f"q{i:03d}" for i in range(n)]


def test_layout_and_label():
    ratings = simulate_ratings(STRENGTHS, 3, items(5), np.random.default_rng(0))
    assert len(ratings) == 3 * 5 * 4 * 4
    assert is_simulated(ratings) and ratings["rater"].str.startswith("simulated-").all()
    for _, ranks in ratings.groupby(["rater", "item", "dimension"])["rank"]:
        assert sorted(ranks) == [1, 2, 3, 4]


def test_seeded():
    draw = lambda seed: simulate_ratings(STRENGTHS, 3, items(5), np.random.default_rng(seed))  # noqa: E731
    pd.testing.assert_frame_equal(draw(1), draw(1))
    assert not draw(1).equals(draw(2))


def test_without_effects_first_places_follow_the_softmax_of_the_strengths():
    ratings = simulate_ratings(STRENGTHS, 50, items(200), np.random.default_rng(0), rater_sd=0, item_sd=0)
    cube = to_cube(ratings)
    shares = win_credit(cube.ranks, 1).mean(axis=(0, 1))  # (dimensions, systems)
    assert np.abs(shares - softmax(STRENGTHS.to_numpy().T, axis=1)).max() < 4 * 0.5 / np.sqrt(50 * 200)


def test_effects_make_opinions_of_a_rater_and_of_an_item_alike():
    def spread(axis, **effects):
        cube = to_cube(simulate_ratings(STRENGTHS, 40, items(40), np.random.default_rng(0), **effects))
        return cube.ranks[:, :, 0].mean(axis=axis).var(axis=0).mean()

    none = {"rater_sd": 0.0, "item_sd": 0.0}
    assert spread(1, **none | {"rater_sd": 1.0}) > 5 * spread(1, **none)  # means per rater
    assert spread(0, **none | {"item_sd": 1.0}) > 5 * spread(0, **none)  # means per item


def test_refuses_missing_strengths_and_empty_studies():
    with pytest.raises(UserError, match="system 'new', Fluency: no finite number"):
        simulate_ratings(STRENGTHS.reindex(["sft", "new"]), 2, items(2), np.random.default_rng(0))
    for strengths, raters, n in [(STRENGTHS, 0, 2), (STRENGTHS, 2, 0), (STRENGTHS.iloc[:1], 2, 2)]:
        with pytest.raises(UserError, match="needs 2 systems"):
            simulate_ratings(strengths, raters, items(n), np.random.default_rng(0))


def test_the_truth_is_what_a_large_study_finds():
    cube = simulate_cube(STRENGTHS, 150, items(150), np.random.default_rng(2))
    found = pd.concat(
        [
            ranking_table(cube, ks=(1,)),
            estimate_strengths(cube, overall=True)
            .assign(measure="strength")
            .rename(columns={"strength": "value"}),
        ]
    )
    both = truth(STRENGTHS).merge(found, on=["dimension", "measure", "system"])
    assert len(both) == 3 * 5 * 4
    errors = (both["true"] - both["value"]) / ((both["high"] - both["low"]) / 3.92)
    assert errors.abs().max() < 4 and 0.4 < errors.std() < 1.8


def test_without_tastes_the_truth_is_the_model_itself():
    values = STRENGTHS["Fluency"].to_numpy()
    np.testing.assert_allclose(first_place(values, 0.0), softmax(values), atol=2e-4)
    made = truth(STRENGTHS, rater_sd=0, item_sd=0).set_index(["measure", "dimension", "system"])["true"]
    np.testing.assert_allclose(made["strength"]["Fluency"], values - values.mean(), atol=1e-6)
    beaten = 1 + sum(softmax([other, values[0]])[0] for other in values[1:])
    assert made[("mean_rank", "Fluency", "base")] == pytest.approx(beaten)
    np.testing.assert_allclose(
        first_place(strengths_for([0.5, 0.3, 0.2], 0.9), 0.9), [0.5, 0.3, 0.2], atol=2e-4
    )


def test_a_study_is_answered_as_designed_and_careless_raters_are_found():
    posts = {f"q{n}": f"post {n}" for n in range(14)}
    answers = {item: {system: f"{item} {system}" for system in STRENGTHS.index} for item in posts}
    made = build_study(
        answers,
        posts,
        raters=8,
        items=12,
        rng=np.random.default_rng(1),
        systems_per_item=3,
        attention_checks=2,
    )
    ratings = answer_study(made, STRENGTHS, np.random.default_rng(2), careless=[3])
    assert is_simulated(ratings) and len(ratings) == 8 * 14 * 4 * 3
    assert not any(without_checks(ratings)["system"].str.startswith("attention")) and set(
        to_cube(ratings).systems
    ) == set(STRENGTHS.index)
    quality = rater_quality(ratings)
    careless = quality.loc["simulated-03"]
    assert "failed a check" in careless["flags"] and "fast" in careless["flags"]
    others = quality.drop("simulated-03")
    assert (others["passed"] == 2).all() and (others["checks"] == 2).all() and (quality["sheets"] == 12).all()
    assert careless["agreement"] < others["agreement"].median() - 0.1


def test_power_grows_with_the_gap_and_false_alarms_are_few():
    table = power_table(
        [(8, 12)], [0.0, 1.5], systems=3, simulations=60, rng=np.random.default_rng(0)
    ).set_index("gap")
    assert table.loc[0.0, "power"] < 0.12 and table.loc[1.5, "power"] > 0.9
    assert table.loc[0.0, "win_at_1"] == pytest.approx(1 / 3, abs=1e-3)


def test_the_papers_interval_is_wilsons_or_wider():
    table = papers_interval(
        [0.443, 0.163, 0.197, 0.197], 6, 20, [0.8], simulations=30, rng=np.random.default_rng(0)
    )
    # Wilson (1927) for 53.16 of 120
    assert table.loc[0, ["first_low", "first_high"]].tolist() == pytest.approx([0.357, 0.532], abs=0.002)
    assert (
        table.loc[1, "width"] > table.loc[0, "width"]
        and table.loc[1, "first_low"] < 0.443 < table.loc[1, "first_high"]
    )
