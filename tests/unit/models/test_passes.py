"""A batch in passes: every row once, within the budget, none wider than it must be."""

import numpy as np
import pytest
import torch

from empathy_lib.models.passes import deal, padded, passes


@pytest.mark.parametrize("budget", [8, 100, 512, 10**9])
def test_every_row_is_in_one_part_and_parts_keep_to_the_budget(budget):
    lengths = np.random.default_rng(0).integers(1, 200, size=60).tolist()
    parts = deal(lengths, budget)
    assert sorted(row for part in parts for row in part) == list(range(60))
    for part in parts:
        widest = padded(max(lengths[row] for row in part))
        assert len(part) == 1 or len(part) * widest <= budget
    flat = [lengths[row] for part in parts for row in part]
    assert flat == sorted(flat, reverse=True)
    assert budget < 10**9 or len(parts) == 1


def test_parts_are_as_full_as_the_budget_allows():
    assert deal([32] * 10, 128) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert deal([120, 32, 400, 33], 128) == [[2], [0], [3, 1]]


def test_a_part_is_cut_to_its_longest_row():
    ids = torch.arange(1, 4 * 96 + 1).view(4, 96)
    lengths = torch.tensor([96, 3, 33, 5])
    mask = (torch.arange(96) < lengths[:, None]).long()
    first, second, third = passes({"input_ids": ids, "attention_mask": mask, "labels": -ids}, 128)
    assert first["input_ids"].tolist() == ids[:1].tolist()  # 96 tokens: no second row beside them
    assert second["input_ids"].tolist() == ids[[2, 3], :64].tolist()
    assert second["labels"].tolist() == (-ids[[2, 3], :64]).tolist()
    assert third["input_ids"].tolist() == ids[[1], :32].tolist()


def test_no_token_is_lost_and_little_padding_is_computed():
    lengths = torch.tensor([90, 10, 11, 88, 12, 9])
    mask = (torch.arange(96) < lengths[:, None]).long()
    made = passes({"attention_mask": mask}, 200)
    assert sum(int(part["attention_mask"].sum()) for part in made) == int(lengths.sum())
    assert sum(part["attention_mask"].numel() for part in made) == 2 * 96 + 4 * 32 < 6 * 96
