"""Each hack is what it says, and the judge's own posts are its own."""

import numpy as np
import pytest
from jieba.analyse import extract_tags

from empathy_lib.core.config import DatasetConfig, RewardConfig
from empathy_lib.core.copying import copy_rate
from empathy_lib.core.text import sentences
from empathy_lib.dataset.sources import read_source
from empathy_lib.reward.hacks import HACKS, attempts
from empathy_lib.reward.triplets import (
    HACK_KINDS,
    NEGATIVE_KINDS,
    build_triplets,
    negative_for,
    reward_posts,
    unseen,
)


@pytest.fixture(scope="module")
def items():
    return read_source(
        DatasetConfig(questions=40, advertisement_rate=0, short_answer_rate=0, duplicate_rate=0), 5
    ).items


def is_hard(item, other):
    ours, theirs = item.gold, other.gold
    return item.subtopic == other.subtopic and (ours.cause, ours.intent, ours.belief) != (
        theirs.cause,
        theirs.intent,
        theirs.belief,
    )


def rng(seed=3):
    return np.random.default_rng(seed)


def test_every_hack_is_tried_on_every_item(items):
    rows = attempts(items[:5], items, rng())
    assert {(row["id"], row["kind"]) for row in rows} <= {
        (item.id, kind) for item in items[:5] for kind in HACKS
    }
    kinds = {row["kind"] for row in rows}
    assert set(HACKS) - kinds <= {"same-topic answer"}
    assert rows == attempts(items[:5], items, rng())


def test_hacks_are_what_they_say(items):
    item = items[0]
    made = {kind: hack(item, items, rng()) for kind, hack in HACKS.items()}
    assert made["empty answer"] == "" and made["copy whole"] == item.question
    assert copy_rate(made["copy partial"], item.question) > 0.9
    assert made["over-long answer"].startswith(item.references[0]) and len(
        made["over-long answer"]
    ) > 2 * len(item.references[0])
    assert len(set(sentences(made["repeated sentence"]))) == 1 < len(sentences(made["repeated sentence"]))
    words = extract_tags(item.question, topK=4)
    assert len(words) == 4 and all(word in item.question for word in words)
    assert all(word in made[kind] for word in words for kind in ("keyword stuffing", "contradicting answer"))
    assert made["generic comfort"] == HACKS["generic comfort"](items[1], items, rng())


def test_an_item_without_a_topic_lacks_the_same_topic_answer_only(items):
    alone = items[0].model_copy(update={"topic": ""})
    assert {row["kind"] for row in attempts([alone], items, rng())} == set(HACKS) - {"same-topic answer"}


@pytest.mark.parametrize("kind", [*NEGATIVE_KINDS, *HACK_KINDS])
def test_a_negative_is_no_answer_to_its_post(items, kind):
    alone = [
        item
        for item in items
        if kind in ("same_topic", "same_subtopic")
        and not any(
            other is not item and item.topic == other.topic and (kind == "same_topic" or is_hard(item, other))
            for other in items
        )
    ]
    for item in items:
        made = negative_for(item, items, kind, rng())
        assert (made is None) == (item in alone) and made not in item.references
        assert (made or "").startswith(item.references[0]) == (kind == "over_long")


def test_hacks_of_the_training_are_not_those_of_the_suite(items):
    """The suite asks for what the judge has not seen word for word: its cruel replies share no sentence with
    the training's."""
    seen = {negative_for(items[0], items, "contradicting", rng(seed)) for seed in range(50)}
    asked = {HACKS["contradicting answer"](items[0], items, rng(seed)) for seed in range(50)}
    assert len(seen) > 4 and not {s for text in seen for s in sentences(text)} & {
        s for text in asked for s in sentences(text)
    }


def test_hacks_are_drawn_as_often_as_asked(items):
    config = RewardConfig(
        max_triplets=1000,
        same_topic_share=0,
        same_subtopic_share=0,
        nearest_share=0,
        copy_share=0,
        hack_share=1,
    )
    assert {triplet["kind"] for triplet in build_triplets(items * 20, config, rng())} == set(HACK_KINDS)
    assert not {triplet["kind"] for triplet in build_triplets(items * 20, RewardConfig(), rng())} & set(
        HACK_KINDS
    )


def test_a_post_without_keywords_has_no_keyword_negative(items):
    bare = items[0].model_copy(update={"question": "……？！"})
    assert negative_for(bare, items, "keywords", rng()) is None
    config = RewardConfig(
        max_triplets=50,
        same_topic_share=0,
        same_subtopic_share=0,
        nearest_share=0,
        copy_share=0,
        hack_share=1,
    )
    assert all(triplet["negative"] for triplet in build_triplets([bare] * 20, config, rng()))


@pytest.mark.parametrize("share", [0.0, 1.0])  # 1: replies to other posts stand inside over-long negatives
def test_the_judge_shares_no_text_with_the_reward_model(items, share):
    made = build_triplets(
        items,
        RewardConfig(
            max_triplets=3,
            hack_share=share,
            copy_share=0,
            same_topic_share=0,
            same_subtopic_share=0,
            nearest_share=0,
        ),
        rng(),
    )
    others = unseen(items, made)
    texts = "\n".join(triplet[side] for triplet in made for side in ("anchor", "positive", "negative"))
    assert 0 < len(others) < len(items)
    assert not any(text in texts for item in others for text in (item.question, *item.references))


def test_where_triplets_would_touch_most_posts_the_judge_keeps_half(items):
    config = RewardConfig(max_triplets=1000)
    assert reward_posts(items, RewardConfig(max_triplets=len(items) // 4)) == items
    ours = reward_posts(items, config)
    assert 2 * len(ours) == len(items)
    assert len(unseen(items, build_triplets(ours, config, rng()))) == len(items) // 2
