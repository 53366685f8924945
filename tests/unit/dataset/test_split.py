"""Splits hold everything once, keep relatives together, follow the shares and the topics; leaks are
caught."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from empathy_lib.core.config import DatasetConfig
from empathy_lib.core.errors import UserError
from empathy_lib.core.schema import Answer, Item
from empathy_lib.dataset.split import SPLITS, LeakageError, assert_no_leakage, clusters, related_pairs, split

CONFIG = DatasetConfig()
_LETTERS = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏闰余成岁律吕调阳云腾致雨露结为霜金生丽水玉出昆冈"


def make(n: int, topics: int = 1, seed: int = 0) -> list[Item]:
    """Unrelated items: random posts of 40 characters, each with an answer of its own."""
    rng = np.random.default_rng(seed)
    post = lambda: "".join(rng.choice(list(_LETTERS), size=40))  # noqa: E731
    return [
        Item(id=str(i), question=post(), topic=f"主题{i % topics}", answers=[Answer(text=post())])
        for i in range(n)
    ]


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(3, 90),
    topics=st.integers(1, 29),
    seed=st.integers(0, 2**32 - 1),
    links=st.lists(st.tuples(st.integers(0, 89), st.integers(0, 89)), max_size=6),
)
def test_every_item_once_no_empty_split_no_leak(n, topics, seed, links):
    items = make(n, topics)
    for a, b in links:  # b gets an answer of a
        if a < n and b < n:
            items[b] = items[b].model_copy(update={"answers": [*items[b].answers, items[a].answers[0]]})
    if len(clusters(items, 0.7)) < 3:
        return
    splits = split(items, CONFIG, np.random.default_rng(seed))
    assert tuple(splits) == SPLITS
    assert sorted(i.id for members in splits.values() for i in members) == sorted(i.id for i in items)
    assert all(splits.values())
    assert_no_leakage(splits, CONFIG.near_duplicate_jaccard)


def test_same_generator_same_splits():
    items = make(60, 29)
    one, two, other = (split(items, CONFIG, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one == two
    assert one != other


def test_shares_and_topics_are_followed():
    splits = split(make(300, 5), CONFIG, np.random.default_rng(0))
    assert [len(splits[name]) for name in SPLITS] == [240, 24, 36]
    for topic, count in Counter(item.topic for item in splits["test"]).items():
        assert 6 <= count <= 9, topic  # 12 % of 60 is 7.2


def test_relatives_stay_together():
    items = make(30)
    items[7] = items[7].model_copy(update={"question": items[3].question + "啊"})
    items[20] = items[20].model_copy(update={"answers": [*items[20].answers, items[7].answers[0]]})
    assert [3, 7, 20] in clusters(items, 0.7)
    for seed in range(10):
        splits = split(items, CONFIG, np.random.default_rng(seed))
        assert sum({"3", "7", "20"} <= {i.id for i in members} for members in splits.values()) == 1


def test_an_answer_links_its_items_in_a_chain_and_never_an_item_with_itself():
    items = make(4)
    shared = Answer(text=items[0].answers[0].text + "！")  # equal in normal form
    items[2] = items[2].model_copy(update={"answers": [shared, *items[2].answers, shared]})
    items[3] = items[3].model_copy(update={"answers": [shared]})
    assert related_pairs(items, 0.7) == [(0, 2, "answer"), (2, 3, "answer")]


def test_too_few_and_too_large_shares_are_user_errors():
    with pytest.raises(UserError, match="too few"):
        split(make(2), CONFIG, np.random.default_rng(0))
    with pytest.raises(UserError, match="test_share"):
        split(make(9), DatasetConfig(validation_share=0.5, test_share=0.5), np.random.default_rng(0))


@pytest.mark.parametrize("what", ["question", "near-duplicate", "answer"])
def test_a_planted_leak_is_caught(what):
    items = make(30)
    splits = split(items, CONFIG, np.random.default_rng(0))
    victim = splits["train"][0]
    leak = {
        "question": {"question": victim.question + "！"},
        "near-duplicate": {"question": victim.question[1:] + "呢"},
        "answer": {"answers": [Answer(text=victim.answers[0].text + "。")]},
    }[what]
    splits["test"][0] = splits["test"][0].model_copy(update=leak)
    with pytest.raises(LeakageError, match=what):
        assert_no_leakage(splits, 0.7)
