import numpy as np
import pandas as pd
import pytest

from empathy_lib.core.completions import read_completions
from empathy_lib.core.errors import UserError
from empathy_lib.core.schema import Answer, Item
from empathy_lib.metrics.score_files import (
    BY_SEGMENT,
    COMPLETIONS,
    EXAMPLES,
    read_scores,
    write_completions,
    write_scores,
)
from empathy_lib.metrics.scoring import Settings, examples_of, per_example, score_table
from empathy_lib.reward.marking import Marker

ITEMS = [
    Item(
        id=f"0{k}", question=f"问题{k}怎么办", answers=[Answer(text="先歇一歇吧。"), Answer(text="抱抱你。")]
    )
    for k in range(4)
]
COMPLETIONS_OF = {"sft": ["抱抱你", "歇一歇", "先歇歇吧", "\n多行"], "bm25": ["甲", "乙", "丙", ""]}


def test_scores_come_back_bit_for_bit(tmp_path):
    settings = Settings(bootstrap=20, marker=Marker({}, {}), reward=lambda q, a: np.arange(len(q)) / 3)
    systems = {
        name: examples_of(ITEMS, texts, coe_expected=name != "bm25") for name, texts in COMPLETIONS_OF.items()
    }
    write_scores(tmp_path, systems, settings)
    frames, table = read_scores(tmp_path)
    assert list(frames) == ["sft", "bm25"] and list(frames["sft"].index) == ["00", "01", "02", "03"]
    for name, examples in systems.items():
        pd.testing.assert_frame_equal(
            frames[name],
            per_example(examples, settings),
            check_exact=True,
            check_dtype=False,
            check_index_type=False,
        )
    pd.testing.assert_frame_equal(table, score_table(systems, settings), check_exact=True, check_dtype=False)
    (tmp_path / EXAMPLES).unlink()
    with pytest.raises(UserError, match=r"per_example\.csv: no such file"):
        read_scores(tmp_path)


def test_notebook_06_reads_what_is_written(tmp_path):
    write_completions(tmp_path / COMPLETIONS, ITEMS, COMPLETIONS_OF)
    found = read_completions(tmp_path / COMPLETIONS)
    assert found == {
        item.id: {name: texts[k] for name, texts in COMPLETIONS_OF.items()} for k, item in enumerate(ITEMS)
    }


def test_a_policys_scores_are_means_over_its_samples(tmp_path):
    settings = Settings(bootstrap=20, marker=Marker({}, {}))
    first, second = (examples_of(ITEMS, [text] * 4) for text in ("抱抱你。", "先歇一歇。"))
    write_scores(tmp_path, {"sft": first, "bm25": first}, settings, {"sft": [second]})
    frames, table = read_scores(tmp_path)
    one, two = per_example(first, settings), per_example(second, settings)
    assert frames["sft"]["rouge_l"].tolist() == pytest.approx(((one + two) / 2)["rouge_l"].tolist())
    assert list(frames["sft"].index) == list(one.index) and len(frames["sft"]) == 4
    assert frames["bm25"]["rouge_l"].tolist() == one["rouge_l"].tolist() != two["rouge_l"].tolist()
    value = table.set_index(["system", "metric"])["value"]
    assert value["sft", "rouge_l"] == pytest.approx(frames["sft"]["rouge_l"].mean())
    assert value["sft", "distinct_2"] == value["bm25", "distinct_2"], "of the first sample"
    units = pd.read_csv(tmp_path / BY_SEGMENT).set_index(["segment", "system", "metric"])["value"]
    assert units["char", "sft", "rouge_1"] != units["char", "bm25", "rouge_1"]
