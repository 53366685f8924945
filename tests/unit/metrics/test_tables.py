import csv
import json
import math
import re

import pandas as pd
import pytest

from empathy_lib.core.errors import UserError
from empathy_lib.core.schema import Answer, Gold, Item
from empathy_lib.metrics import tables
from empathy_lib.metrics.registry import METRICS, PER_EXAMPLE


def items(topics: str = "甲甲甲乙丙") -> list[Item]:
    return [
        Item(id=f"q{n}", question="字" * (10 * n + 1), topic=t.strip(), answers=[Answer(text="好")])
        for n, t in enumerate(topics)
    ]


def frame(values: list[float], first: int = 0) -> pd.DataFrame:
    data = {name: values for name in PER_EXAMPLE}
    return pd.DataFrame(data, index=pd.Index([f"q{n + first}" for n in range(len(values))], name="id"))


LONG = pd.DataFrame(
    [
        ("sft", "rouge_1", 0.25, 0.2, 0.3, 9),
        ("sft", "L1", math.nan, math.nan, math.nan, 0),
        ("grpo", "rouge_1", 12.34, math.nan, math.nan, 1),
    ],
    columns=["system", "metric", "value", "low", "high", "n"],
)


def test_a_wide_table_says_what_is_missing():
    wide = tables.wide_table(LONG, ["rouge_1", "L1"])
    assert wide.loc["sft"].tolist() == ["0.250 [0.200, 0.300]", "not available"]
    assert wide.loc["grpo"].tolist() == ["12.3", "not available"]


def test_groups_of_topic_and_length():
    assert tables.topic_groups(items("丙甲乙甲乙甲"), at_least=2).tolist() == [
        *"甲甲甲乙乙",
        tables.OTHER_TOPICS,
    ]
    assert tables.topic_groups(items("    甲"), at_least=1).tolist() == ["甲"] + [tables.OTHER_TOPICS] * 4
    groups = tables.length_groups(items("甲甲甲甲甲甲"))  # lengths 1, 11, 21, 31, 41, 51
    assert groups.str.split(",").str[0].tolist() == ["short", "short", "middle", "middle", "long", "long"]
    assert tables.length_groups(items()[::-1]).index.tolist() == ["q0", "q1", "q2", "q3", "q4"], (
        "the shortest first"
    )


def test_the_breakdown_by_hand():
    groups = pd.Series(
        {"q0": "甲", "q1": "甲", "q2": "乙", "q3": tables.OTHER_TOPICS, "q4": tables.OTHER_TOPICS}
    )
    found = tables.breakdown(
        {"sft": frame([1, 0, 1, math.nan, 1]), "grpo": frame([0.5, 0.5], first=1)},
        groups,
        ["rouge_l", "well_formed"],
        resamples=50,
        seed=1,
    ).set_index(["group", "system", "metric"])
    assert list(found.index.get_level_values("group").unique()) == ["甲", "乙", tables.OTHER_TOPICS]
    assert found.loc[("甲", "sft", "rouge_l"), ["value", "n"]].tolist() == [0.5, 2]
    assert found.loc[("甲", "sft", "well_formed"), "low"] == pytest.approx(0.0945, abs=1e-3), (
        "Wilson's interval of 1 in 2"
    )
    assert found.loc[("甲", "grpo", "rouge_l"), ["value", "n"]].tolist() == [0.5, 1]
    assert found.loc[(tables.OTHER_TOPICS, "sft", "rouge_l"), "n"] == 1
    assert found.loc[(tables.OTHER_TOPICS, "grpo", "rouge_l"), "n"] == 0 and math.isnan(
        found.loc[(tables.OTHER_TOPICS, "grpo", "rouge_l"), "value"]
    )
    wide = tables.wide_breakdown(found.reset_index(), "rouge_l")
    assert wide.index.tolist() == ["甲", "乙", tables.OTHER_TOPICS] and wide["n"].tolist() == ["2", "1", "1"]
    assert (
        wide.loc["乙", ["sft", "grpo"]].tolist() == ["1.000", "0.500"]
        and wide.loc[tables.OTHER_TOPICS, "grpo"] == "not available"
    )
    with pytest.raises(UserError, match="'bleu_4' has no value per example"):
        tables.breakdown({"sft": frame([1])}, groups, ["bleu_4"], resamples=50, seed=1)


def test_a_table_is_written_three_times_with_names_escaped_and_its_caption(tmp_path):
    note = "Synthetic Empathy-QA, base gemma-3-270m, 95 % of R&D_x {n=9}"
    named = tables.wide_table(LONG, ["rouge_1", "L1"]).rename(index={"sft": "SFT & 50% | CoE_#1"})
    tables.write_table(named, tmp_path, "overlap", note)
    tex = (tmp_path / "overlap.tex").read_text(encoding="utf-8")
    for mark in (
        r"\toprule",
        r"\midrule",
        r"\bottomrule",
        r"SFT \& 50\% | CoE\_\#1",
        r"rouge\_1",
        r"\label{tab:overlap}",
        r"\resizebox{\textwidth}",
        r"\end{tabular}}",
    ):
        assert mark in tex
    assert r"\caption{Synthetic Empathy-QA, base gemma-3-270m, 95 \% of R\&D\_x \{n=9\}}" in tex
    assert not re.search(r"(?<!\\)[%#_]", tex.replace("tab:overlap", "")), "an unescaped mark"
    lines = (tmp_path / "overlap.md").read_text(encoding="utf-8").splitlines()
    assert (
        lines[0] == "| system | rouge_1 | L1 |"
        and r"| SFT & 50% \| CoE_#1 | 0.250 [0.200, 0.300] | not available |" in lines
    )
    assert lines[-1] == note
    rows = list(csv.DictReader((tmp_path / "overlap.csv").open(encoding="utf-8")))
    assert rows[0]["rouge_1"] == "0.250 [0.200, 0.300]" and {row["note"] for row in rows} == {note}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["overlap.csv", "overlap.md", "overlap.tex"], (
        "no temporary file is left"
    )


def test_a_headline_entry_is_json_and_unknown_ones_are_named():
    json.dumps(tables.headline_entry(LONG, "sft", "L1"), allow_nan=False)
    assert tables.headline_entry(LONG, "sft", "rouge_1") == {
        "value": 0.25,
        "interval": [0.2, 0.3],
        "n": 9,
        "unit": METRICS["rouge_1"].unit,
    }
    with pytest.raises(UserError, match="no score of system 'gpt'"):
        tables.headline_entry(LONG, "gpt", "rouge_1")


def test_sentence_groups_part_what_training_has_and_leave_out_what_is_not_known():
    def item(key: str, sentences: str | None) -> Item:
        labels = {
            "emotion": "e",
            "situation": "s",
            "cause": "c",
            "belief": "b",
            "bias": "x",
            "intent": "advice",
        }
        gold = None if sentences is None else Gold(**labels, sentences=sentences)
        return Item(id=key, question="问", answers=[], gold=gold)

    items = [item("a", "unseen"), item("b", "seen"), item("c", ""), item("d", None), item("e", "unseen")]
    groups = tables.sentence_groups(items)
    assert list(groups.index) == ["b", "a", "e"]
    assert list(groups) == ["sentences seen in training"] + ["sentences held out of training"] * 2
    assert tables.sentence_groups(items[2:4]).empty
