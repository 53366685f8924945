"""Held-out causes, emotion sentences and closings stand in no training post, in either length; the splits
keep their sizes and topics."""

from collections import Counter

import numpy as np
import pytest

from empathy_lib.core.config import DatasetConfig, load_profile
from empathy_lib.core.errors import UserError
from empathy_lib.core.run import generator
from empathy_lib.core.schema import Answer, Gold, Item
from empathy_lib.dataset.cleaning import clean
from empathy_lib.dataset.fragments import alternatives, load_library
from empathy_lib.dataset.generate import generate
from empathy_lib.dataset.held_out import OF_EACH_KIND, HeldOut, hold_out
from empathy_lib.dataset.split import LeakageError, assert_no_leakage, split


def longest_piece(template: str) -> str:
    """What every text of a template holds."""
    return max((piece[0] for piece in alternatives(template) if len(piece) == 1), key=len)


@pytest.fixture(scope="module", params=["short", "long"])
def made(request):
    profile = load_profile("laptop")
    config = profile.dataset.model_copy(
        update={"answer_length": request.param} | ({"questions": 600} if request.param == "long" else {})
    )
    items = clean(generate(config, profile.seed), config)[0]
    held = hold_out(load_library(), config.held_out_causes, generator(profile.seed, "synthesis/held out"))
    return config, held, list(items), split(items, config, generator(profile.seed, "split"))


def test_what_is_picked():
    library = load_library()
    held = hold_out(library, 2, np.random.default_rng(0))
    assert len(held.causes) == 2 * len(library.topics)
    for topic in library.topics:
        by_subtopic = [sum(cause.text in held.causes for cause in s.causes) for s in topic.subtopics]
        assert sum(by_subtopic) == 2 and max(by_subtopic) == 1
    question = library.common.question
    for deck in (*question.emotions.values(), *question.closings.values()):
        assert len(held.kept(deck, unseen=True)) == OF_EACH_KIND
        assert sorted([*held.kept(deck, unseen=True), *held.kept(deck, unseen=False)]) == sorted(deck)
    assert (
        held
        == hold_out(library, 2, np.random.default_rng(0))
        != hold_out(library, 2, np.random.default_rng(1))
    )
    assert hold_out(library, 0, np.random.default_rng(0)) == HeldOut()


def test_no_training_post_has_a_held_out_sentence_and_every_unseen_post_has_its_cause(made):
    _, held, items, splits = made
    assert all(item.gold.sentences == "seen" for item in splits["train"])
    training = "\n".join(item.question for item in splits["train"])
    assert not [cause for cause in held.causes if cause in training]
    # a piece of three characters may stand in any sentence
    pieces = {text: longest_piece(text) for text in held.sentences if len(longest_piece(text)) >= 6}
    kept = "".join(
        text
        for deck in (
            *load_library().common.question.emotions.values(),
            *load_library().common.question.closings.values(),
            *load_library().long.question.closings.values(),
        )
        for text in held.kept(deck, unseen=False)
    )
    own = [piece for piece in pieces.values() if piece not in kept]
    assert len(own) > 15 and not [piece for piece in own if piece in training]
    # a duplicate that came first may be reworded
    for item in (item for item in items if not item.noise):
        assert any(cause in item.question for cause in held.causes) == (item.gold.sentences == "unseen")


def test_the_splits_keep_their_sizes_and_every_topic(made):
    config, _, items, splits = made
    assert len(splits["test"]) == pytest.approx(config.test_share * len(items), abs=3)
    assert len(splits["validation"]) == pytest.approx(config.validation_share * len(items), abs=3)
    assert {item.topic for item in splits["train"]} == {item.topic for item in items}
    assert len({(item.topic, item.subtopic) for item in splits["train"]}) == 182
    for name in ("validation", "test"):
        unseen = np.mean([item.gold.sentences == "unseen" for item in splits[name]])
        assert 0.25 < unseen < 0.75, name
    if config.questions == 1500:
        assert len(items) == 1500
        assert min(Counter(item.topic for item in splits["test"]).values()) >= 3


def test_nothing_is_held_out_unless_asked_for():
    items = generate(DatasetConfig(questions=40), 1)
    assert {item.gold.sentences for item in items} == {""}


def labelled(key: str, sentences: str) -> Item:
    gold = Gold(
        emotion="e", situation="s", cause="c", belief="b", bias="x", intent="advice", sentences=sentences
    )
    text = f"{key}：" + "".join(map(chr, np.random.default_rng(int(key)).integers(0x4E00, 0x9FA5, 40)))
    return Item(id=key, question=text, topic="t", answers=[Answer(text=text[::-1])], gold=gold)


def test_a_held_out_post_in_training_is_a_leak_and_old_records_know_of_none():
    splits = {"train": [labelled("1", "unseen")], "validation": [], "test": [labelled("2", "unseen")]}
    with pytest.raises(LeakageError, match="train/1 has sentences held out"):
        assert_no_leakage(splits, 0.7)
    old = labelled("1", "").model_dump()
    del old["gold"]["sentences"]
    assert Item.model_validate(old).gold.sentences == ""


def test_held_out_posts_are_never_dealt_to_training_and_nothing_left_for_it_is_said():
    items = [labelled(str(k), "unseen" if k % 2 else "seen") for k in range(12)]
    for seed in range(5):
        splits = split(items, DatasetConfig(), np.random.default_rng(seed))
        assert all(splits.values()) and all(i.gold.sentences == "seen" for i in splits["train"])
    with pytest.raises(UserError, match="no question is left for train"):
        split([labelled(str(k), "unseen") for k in range(6)], DatasetConfig(), np.random.default_rng(0))
