import matplotlib

matplotlib.use("Agg")

import math

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from empathy_lib.core.errors import UserError
from empathy_lib.core.style import SYSTEM_LABELS, use_style
from empathy_lib.metrics import figures as plots
from empathy_lib.metrics.coe_levels import LEVELS
from empathy_lib.reward.marking import ALL_MARKS, MARKED


@pytest.fixture(autouse=True, scope="module")
def _style():
    use_style()
    yield
    plt.close("all")


def table(values: dict[tuple[str, str], float]) -> pd.DataFrame:
    rows = [
        (system, metric, value, value - 0.05, value + 0.05, 10) for (system, metric), value in values.items()
    ]
    return pd.DataFrame(rows, columns=["system", "metric", "value", "low", "high", "n"])


def texts(figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def test_intervals_draws_each_value_and_says_what_is_missing():
    data = table(
        {
            ("sft", "rouge_1"): 0.2,
            ("sft_no_coe", "rouge_1"): 0.3,
            ("sft", "L1"): 0.6,
            ("sft_no_coe", "L1"): math.nan,
        }
    )
    figure = plots.intervals(data, ["rouge_1", "L1"], "Synthetic, n=10")
    dots = lambda axes: [float(line.get_xdata()[0]) for line in axes.lines if line.get_marker() == "o"]  # noqa: E731
    assert dots(figure.axes[0]) == [0.2, 0.3] and dots(figure.axes[1]) == [0.6]
    shown = texts(figure)
    assert (
        shown.count("not available") == 1
        and "Synthetic, n=10" in shown
        and SYSTEM_LABELS["sft_no_coe"] in shown
    )
    with pytest.raises(UserError, match="no metric 'rouge9'"):
        plots.intervals(data, ["rouge9"], "x")


def test_breakdown_draws_each_group_and_leaves_out_what_is_missing():
    by_topic = pd.concat(
        [table({("sft", "rouge_l"): 0.2, ("grpo", "rouge_l"): math.nan}).assign(group="职场")]
    )
    by_topic = pd.concat(
        [by_topic, table({("sft", "rouge_l"): 0.4, ("grpo", "rouge_l"): 0.3}).assign(group="家庭")]
    )
    by_length = table({("sft", "rouge_l"): 0.25, ("grpo", "rouge_l"): 0.35}).assign(group="short, up to 90")
    figure = plots.breakdown(
        {"by topic": by_topic, "by length": by_length}, "rouge_l", ["sft", "grpo"], "Synthetic, n=10"
    )
    dots = lambda axes: sorted(float(line.get_xdata()[0]) for line in axes.lines if line.get_marker() == "o")  # noqa: E731
    assert dots(figure.axes[0]) == [0.2, 0.3, 0.4] and dots(figure.axes[1]) == [0.25, 0.35]
    shown = texts(figure)
    assert all(
        part in shown
        for part in (
            "职场 (n=10)",
            "short, up to 90 (n=10)",
            "Synthetic, n=10",
            SYSTEM_LABELS["grpo"],
            "by topic",
        )
    )


def test_reward_and_copying_leaves_out_systems_without_a_reward():
    data = table({("sft", "cosine"): 0.6, ("reference", "cosine"): 0.64, ("base", "cosine"): math.nan})
    data = pd.concat([data, table({(system, "copy_rate"): 0.03 for system in ("sft", "reference", "base")})])
    figure = plots.reward_and_copying(data, "Synthetic, n=10", guard=0.1)
    shown = texts(figure)
    assert (
        SYSTEM_LABELS["sft"] in shown
        and SYSTEM_LABELS["base"] not in shown
        and "copy guard of training (10%)" in shown
    )
    upright = [
        [float(line.get_xdata()[0]) for line in axes.lines if line.get_linestyle() in (":", "--")]
        for axes in figure.axes
    ]
    assert upright == [[0.64], [0.03, 0.1]], "the references' values, and the guard"


def test_coe_accuracy_shows_every_level_and_leaves_out_plain_systems():
    data = table(
        {
            (system, name): 0.7 if system == "sft" else math.nan
            for system in ("sft", "bm25")
            for name in MARKED
        }
    )
    level = {name: dict.fromkeys(ALL_MARKS, place / 10) for place, name in enumerate(LEVELS, 1)}
    level["constant"] |= {"cause": 0.9}  # which pasting does not beat
    shuffled = {"sft": dict.fromkeys(MARKED, 0.1)}
    figure = plots.coe_accuracy(data, level, shuffled, "Synthetic, n=10")
    drawn = {
        line.get_label(): float(line.get_xdata()[0])
        for line in figure.axes[0].lines
        if line.get_label()[0] != "_"
    }
    assert {LEVELS[name]: level[name]["L1"] for name in plots.LEVEL_LINES}.items() <= drawn.items()
    assert [" †" in axes.get_title() for axes in figure.axes] == [name != "cause" for name in MARKED]
    shown = texts(figure)
    assert SYSTEM_LABELS["bm25"] not in shown and "best constant guess" in shown and "posts shuffled" in shown
    with pytest.raises(UserError, match="no item has gold labels"):
        plots.coe_accuracy(data[data["system"] == "bm25"], level, {}, "x")
