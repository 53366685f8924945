import numpy as np
import pandas as pd
import pytest

from empathy_lib.core.completions import read_completions
from empathy_lib.core.errors import UserError
from empathy_lib.core.schema import Answer, Item
from empathy_lib.metrics.coe_accuracy import Marker
from empathy_lib.metrics.registry import Settings, examples_of, per_example, score_table
from empathy_lib.metrics.score_files import (
    COMPLETIONS,
    EXAMPLES,
    read_scores,
    write_completions,
    write_scores,
)

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
