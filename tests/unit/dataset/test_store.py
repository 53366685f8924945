"""Items on disk behave like a list, and work spread over processes gives what one process gives."""

import subprocess
import sys

import pytest

from empathy_lib.core.config import DatasetConfig
from empathy_lib.core.run import ROOT
from empathy_lib.core.schema import Answer, Item
from empathy_lib.dataset import store
from empathy_lib.dataset.build import build_dataset
from empathy_lib.dataset.store import ItemStore, map_items, select

ITEMS = [
    Item(id=str(n), question=f"第{n}个问题\n😊", answers=[Answer(text="慢慢来")] * (n % 3)) for n in range(7)
]


def test_reads_like_a_list():
    kept = ItemStore(ITEMS)
    assert len(kept) == 7 and list(kept) == ITEMS
    assert kept[2] == ITEMS[2] and kept[-1] == ITEMS[-1]
    assert list(kept[1:6:2]) == ITEMS[1:6:2] and list(kept[:0]) == []
    assert list(reversed(kept)) == ITEMS[::-1]
    with pytest.raises(IndexError):
        kept[7]


def test_a_read_after_a_write_sees_it_and_a_write_after_a_read_goes_to_the_end():
    kept = ItemStore(ITEMS[:2])
    assert list(kept) == ITEMS[:2]
    kept.append(ITEMS[2])
    assert list(kept) == ITEMS[:3] and kept[0] == ITEMS[0]


@pytest.mark.parametrize("items", [ITEMS, ItemStore(ITEMS)], ids=["list", "store"])
def test_select_keeps_the_order_asked_for(items):
    assert list(select(items, [5, 0, 5])) == [ITEMS[5], ITEMS[0], ITEMS[5]]


def test_changing_an_item_read_changes_nothing():
    kept = ItemStore(ITEMS)
    kept[0].question = "另一个"
    assert kept[0] == ITEMS[0]


def without_the_third(items):
    return [item for item in items if item.id != "3"], len(items)


@pytest.mark.parametrize("items", [ITEMS, ItemStore(ITEMS)], ids=["list", "store"])
def test_many_items_are_spread_and_come_back_in_order(items, monkeypatch):
    here, (count,) = map_items(without_the_third, items)
    monkeypatch.setattr(store, "FEWEST_TO_SPREAD", 1)
    monkeypatch.setattr(store, "CHUNK", 2)
    spread, counts = map_items(without_the_third, items)
    assert isinstance(spread, ItemStore) and list(spread) == here == [*ITEMS[:3], *ITEMS[4:]]
    assert counts == [2, 2, 2, 1] and count == 7


def test_a_whole_construction_is_the_same_bytes_however_it_is_spread(tmp_path, monkeypatch):
    config = DatasetConfig(questions=60, deidentify="on", annotator="rules")
    build_dataset(config, 3, tmp_path / "here")
    monkeypatch.setattr(store, "FEWEST_TO_SPREAD", 1)
    monkeypatch.setattr(store, "CHUNK", 16)
    build_dataset(config, 3, tmp_path / "spread")
    names = sorted(path.name for path in (tmp_path / "here").iterdir())
    assert {"train.jsonl", "funnel.csv", "statistics.json"} < set(names)
    for name in set(names) - {"report.json"}:  # which holds minutes and memory
        assert (tmp_path / "spread" / name).read_bytes() == (tmp_path / "here" / name).read_bytes(), name


def test_a_killed_process_leaves_no_file(tmp_path):
    code = """
import os, signal
from empathy_lib.core.schema import Item
from empathy_lib.dataset.store import ItemStore
kept = ItemStore([Item(id="1", question="怎么办", answers=[])])
assert len(list(kept)) == 1
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={"EMPATHY_CACHE": str(tmp_path / "缓 存")}, check=False
    )
    assert killed.returncode == -9 and list((tmp_path / "缓 存").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("EMPATHY_CACHE", str(tmp_path / "file"))
    assert list(ItemStore(ITEMS)) == ITEMS
