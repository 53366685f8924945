import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from empathy_lib.errors import UserError
from empathy_lib.human_eval.cube import to_cube, win_credit
from empathy_lib.human_eval.ratings import DIMENSIONS, is_simulated
from empathy_lib.human_eval.simulate import simulate_ratings

STRENGTHS = pd.DataFrame({d: np.roll([-1.0, -0.3, 0.1, 1.2], n) for n, d in enumerate(DIMENSIONS)}, index=["base", "bm25", "grpo", "sft"])


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
