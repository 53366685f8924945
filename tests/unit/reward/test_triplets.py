"""Negatives: those that copy the post, and those that answer another need of the same sub-topic."""

from collections import Counter

import pytest

from empathy_lib.core.config import RewardConfig, load_profile
from empathy_lib.core.schema import Answer, Gold, Item
from empathy_lib.reward import triplets


def test_copies_are_copies(rng):
    post = "我很累。我们吵架了！怎么办？"
    assert triplets.copy_of(post, "copy_whole", rng) == post
    assert triplets.copy_of(post, "copy_partial", rng) in post
    rephrased = [triplets.copy_of(post, "copy_rephrased", rng) for _ in range(20)]
    assert all("我很累" not in text and "我们吵" not in text for text in rephrased)


def family(name, cause, intent="advice", belief="信念", subtopic="失眠"):
    """A post of one sub-topic whose two answers name it."""
    gold = Gold(emotion="焦虑", situation="情境", cause=cause, belief=belief, bias="labeling", intent=intent)
    answers = [Answer(text=f"给{name}的回复{n}") for n in (1, 2)]
    return Item(
        id=name, question=f"{name}的帖子", topic="睡眠", subtopic=subtopic, answers=answers, gold=gold
    )


SLEEP = [
    family("甲", "考试"),
    family("乙", "考试"),  # as 甲 in all three: her answers would do for 甲
    family("丙", "失恋"),
    family("丁", "考试", intent="understood"),
    family("戊", "考试", belief="别的信念"),
    family("己", "失恋", subtopic="多梦"),
]


def test_a_hard_negative_answers_another_need_of_the_same_subtopic(rng):
    drawn = {triplets.negative_for(SLEEP[0], SLEEP, "same_subtopic", rng) for _ in range(100)}
    assert {text[1] for text in drawn} == set("丙丁戊")
    assert triplets.negative_for(SLEEP[5], SLEEP, "same_subtopic", rng) is None  # alone in its sub-topic
    bare = [item.model_copy(update={"gold": None}) for item in SLEEP]
    drawn = {triplets.negative_for(bare[0], bare, "same_subtopic", rng) for _ in range(100)}
    assert {text[1] for text in drawn} == set("乙丙丁戊")  # without gold, any post of the sub-topic
    real = [item.model_copy(update={"subtopic": ""}) for item in SLEEP]
    assert triplets.negative_for(real[0], real, "same_subtopic", rng) is None


def test_hard_negatives_are_among_the_triplets_by_default(rng):
    made = triplets.build_triplets(SLEEP * 10, RewardConfig(), rng)
    shares = Counter(triplet["kind"] for triplet in made)
    assert 0.1 < shares["same_subtopic"] / len(made) < 0.4
    for triplet in made:
        if triplet["kind"] == "same_subtopic":
            assert len(triplet["others"]) == 1 and triplet["negative"][1] == triplet["others"][0][0]


@pytest.mark.parametrize("profile", ["smoke", "laptop"])
def test_hard_negatives_are_on_in_the_profiles(profile):
    config = load_profile(profile).reward
    hard = config.same_topic_share + config.same_subtopic_share + config.nearest_share
    shares = hard + config.copy_share + config.hack_share
    assert config.nearest_share >= 0.15 and config.same_subtopic_share >= 0.2 and shares <= 1 + 1e-9


def test_the_nearest_post_of_another_need_gives_negatives(rng):
    nearest = "她总在夜里翻我的手机，我该怎么办"
    posts = {"甲": nearest + "呢", "乙": nearest, "丙": "考试前一直睡不着觉", "丁": nearest + "啊，难过"}
    others = ["领导当众批评", "孩子发烧", "租房漏水", "母亲催婚", "朋友借钱", "论文被退"]
    far = [family(f"远{n}", "别的", subtopic="多梦") for n in range(len(others))]
    posts |= {item.id: text for item, text in zip(far, others, strict=True)}
    found = [item.model_copy(update={"question": posts.get(item.id, item.question)}) for item in SLEEP + far]
    config = RewardConfig(
        nearest_share=1, same_topic_share=0, same_subtopic_share=0, copy_share=0, hack_share=0
    )
    made = triplets.build_triplets(found, config, rng)
    drawn = {(triplet["anchor"], triplet["others"][0]) for triplet in made if triplet["kind"] == "bm25"}
    # 甲 and 乙 need the same, so an answer to the one is no negative of the other
    assert (posts["甲"], posts["丁"]) in drawn and (posts["甲"], posts["乙"]) not in drawn
    off = config.model_copy(update={"nearest_share": 0.0, "same_topic_share": 1.0})
    assert not [t for t in triplets.build_triplets(found, off, rng) if t["kind"] == "bm25"]


def test_a_retrieved_answer_is_a_kind_of_its_own_unless_it_is_a_reference(rng):
    retrieved = ["别处的回复", SLEEP[1].references[1], *["别处的回复"] * 4]
    pairs = triplets.evaluation_pairs(SLEEP, SLEEP, rng, retrieved=retrieved)
    assert [pair["id"] for pair in pairs if pair["kind"] == "bm25"] == list("甲丙丁戊己")
    assert {pair["negative"] for pair in pairs if pair["kind"] == "bm25"} == {"别处的回复"}
    assert not [p for p in triplets.evaluation_pairs(SLEEP, SLEEP, rng) if p["kind"] == "bm25"]
