import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from empathy_lib.core.paper import DIMENSIONS
from empathy_lib.human_eval import differences, power, ranking, strengths
from empathy_lib.human_eval import figures as plots
from empathy_lib.human_eval import figures as study_size
from empathy_lib.human_eval.simulate import SIMULATED_NOTE, simulate_ratings

SYSTEMS = ["base", "grpo", "a system of someone else"]
STRENGTHS = pd.DataFrame({d: [-1.0, 0.0, 1.0] for d in DIMENSIONS}, index=SYSTEMS)


@pytest.fixture
def ratings():
    return simulate_ratings(STRENGTHS, 3, ["q1", "q2", "q3"], np.random.default_rng(0))


def text_of(figure):
    return " ".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def marks_of(figure):
    """In how many of its panels SIMULATED stands."""
    return sum("SIMULATED" in [text.get_text() for text in axes.texts] for axes in figure.axes)


def all_figures(ratings, note):
    table = ranking.ranking_table(ratings)
    recovered, correlation = strengths.recovery(strengths.estimate_strengths(ratings), STRENGTHS)
    return [
        plots.plot_win_and_rank(table, note),
        plots.plot_places(ranking.rank_shares(ratings), note),
        plots.plot_dimensions(table, note),
        plots.plot_recovery(recovered, correlation, note),
        plots.plot_win_matrix(ranking.win_matrix(ratings), note),
        plots.plot_critical_difference(differences.nemenyi(ratings), note),
        plots.plot_without_each_rater(ranking.leave_one_rater_out(ratings), note),
    ]


def test_real_raters_leave_no_watermark(ratings):
    for figure in all_figures(ratings, "Ratings of SIMULATED raters.csv: 3 raters × 3 items."):
        assert marks_of(figure) == 0 and "3 raters × 3 items." in text_of(figure)
    plt.close("all")


def test_every_figure_says_who_the_raters_are_and_names_the_systems(ratings):
    figures = all_figures(ratings, f"{SIMULATED_NOTE} 3 raters × 3 items.")
    panels = [2, 1, 4, 1, 1, 1, 2]
    for figure, count in zip(figures, panels, strict=True):
        assert SIMULATED_NOTE in text_of(figure) and marks_of(figure) == count
        assert "SFT + GRPO" in text_of(figure) and "a system of someone else" in text_of(figure)
    assert "44.30%" in text_of(figures[0]) and "16.30%" in text_of(figures[0])
    assert all(dimension in text_of(figures[2]) for dimension in DIMENSIONS)
    plt.close("all")


def test_one_rater_one_dimension_has_no_intervals_but_a_figure(ratings):
    alone = ratings[(ratings["rater"] == "simulated-01") & (ratings["dimension"] == "Fluency")]
    table = ranking.ranking_table(alone)
    assert "Fluency" in text_of(plots.plot_dimensions(table, "note"))
    assert "note" in text_of(plots.plot_win_and_rank(table, "note"))
    plt.close("all")


def test_figures_of_sizes_say_how_many_studies(ratings):
    rng = np.random.default_rng(0)
    sizes = study_size.plot_power(
        power.power_table([(3, 4), (4, 4)], [0, 1], systems=3, simulations=4, rng=rng), SIMULATED_NOTE
    )
    holds = study_size.plot_coverage(
        power.coverage(STRENGTHS, 3, 4, simulations=4, rng=rng, resamples=10), SIMULATED_NOTE
    )
    for figure in (sizes, holds):
        assert SIMULATED_NOTE in text_of(figure) and "4 s" in text_of(figure) and marks_of(figure) == 1
    assert "3 × 4" in text_of(sizes) and "bootstrap" in text_of(holds)
    plt.close("all")
