import math

import pandas as pd
import pytest

from empathy_lib.core.statistics import PairedTest, Score
from empathy_lib.core.tables import captioned, estimate, number, p_value, shown

NAN = float("nan")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.14849, "0.148"), (9.9994, "9.999"), (12.345, "12.3"), (1234.5, "1,234"), (7, "7"), (40959, "40,959")]
    + [(-0.0004, "0.000"), (-0.148, "-0.148"), (NAN, "not available"), (0.0, "0.000")],
)
def test_a_number_has_the_digits_that_can_be_read(value, text):
    assert number(value) == text


def test_a_difference_has_its_sign_and_a_p_value_no_leading_zero():
    assert [number(x, sign=True) for x in (0.0812, -0.0812, 0.0001)] == ["+0.081", "-0.081", "0.000"]
    assert [p_value(p) for p in (0.0234, 0.00099, 0.001, 1.0, NAN)] == [
        ".023",
        "< .001",
        ".001",
        "1.000",
        "not available",
    ]


def test_an_interval_stands_beside_its_value_and_is_left_out_where_there_is_none():
    assert estimate(0.1481, 0.0992, 0.1973) == "0.148 [0.099, 0.197]"
    assert estimate(0.1481, NAN, NAN) == estimate(0.1481, None, None) == "0.148"
    assert estimate(None, 0.1, 0.2) == "not available"


def test_scores_as_columns():
    scores = {"sft": Score(0.148, 0.099, 0.197, 60), "base": Score(NAN, NAN, NAN, 0)}
    table = shown(pd.DataFrame({name: vars(score) for name, score in scores.items()}).T)
    assert table.to_dict("index") == {
        "sft": {"value": "0.148 [0.099, 0.197]", "n": "60"},
        "base": {"value": "not available", "n": "0"},
    }


def test_headline_entries_as_rows():
    entries = {
        "a": {"value": 0.5, "interval": [0.25, 0.75], "n": 8, "unit": "share"},
        "b": {"value": 512, "interval": None, "n": None, "unit": "tokens"},
    }
    table = shown(pd.DataFrame(entries).T)
    assert table.loc["a"].to_list() == ["0.500 [0.250, 0.750]", "8", "share"]
    assert table.loc["b"].to_list() == ["512", "not available", "tokens"]
    assert list(table.columns) == ["value", "n", "unit"]


def test_entries_of_which_none_has_an_interval():
    assert shown(pd.DataFrame([{"value": 0.5, "n": 3}])).iloc[0].to_list() == ["0.500", "3"]
    assert shown(pd.DataFrame([{"value": None, "interval": None}]))["value"].to_list() == ["not available"]


def test_paired_tests_as_rows_and_as_cells():
    test = PairedTest(0.0812, 0.025, 0.139, 0.0004, 120)
    table = shown(pd.DataFrame([{**vars(test), "p_holm": 0.0199}]))
    assert table.iloc[0].to_dict() == {
        "difference": "+0.081 [+0.025, +0.139]",
        "p": "< .001",
        "n": "120",
        "p_holm": ".020",
    }
    cells = shown(pd.DataFrame({"gain": [test], "share": [Score(0.5, 0.1, 0.9, 4)]}))
    assert cells.iloc[0].to_list() == ["+0.081 [+0.025, +0.139]", "0.500 [0.100, 0.900]"]


def test_text_truth_and_gaps_in_counts():
    frame = pd.DataFrame({"rule": ["<b>"], "kept": [True], "n": [3.0], "planted": [7], "x": [None]})
    assert shown(frame).iloc[0].to_list() == ["<b>", "True", "3", "7", "not available"]
    assert math.isnan(shown(pd.DataFrame({"value": []})).shape[0] or NAN), "an empty frame stays empty"


def test_a_gap_among_texts_is_empty():
    frame = pd.DataFrame({"reason": [None, "no gold labels"], "value": [0.5, None]})
    assert shown(frame).to_dict("list") == {
        "reason": ["", "no gold labels"],
        "value": ["0.500", "not available"],
    }


def test_the_frame_that_was_given_is_not_changed():
    frame = pd.DataFrame({"value": [0.5], "low": [0.4], "high": [0.6]})
    shown(frame)
    assert list(frame.columns) == ["value", "low", "high"] and frame["value"].to_list() == [0.5]


def test_a_caption_and_what_a_model_wrote_are_escaped():
    page = captioned(pd.DataFrame({"<i>": ["<script>x</script>"]}, index=["<u>"]), "of <data>").to_html()
    assert "&lt;script&gt;" in page and "&lt;i&gt;" in page and "&lt;u&gt;" in page
    assert "of &lt;data&gt;" in page and "<script>" not in page and "<u>" not in page
