"""No batch holds two answers to one post, every batch is there, and an epoch's order is its own."""

from itertools import chain

import numpy as np
import pytest
import torch
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from empathy_lib.core.config import RewardConfig
from empathy_lib.models.compiling import compile_parts
from empathy_lib.reward import train as reward_model
from empathy_lib.reward import triplets
from empathy_lib.reward.batches import ByLengthLoss, OncePerPost, TripletTrainer, nearest_posts


@pytest.mark.parametrize("size", [2, 7, 16])
def test_batches_touch_a_post_once_and_miss_no_triplet_where_posts_are_many(size):
    rng = np.random.default_rng(1)
    posts = [frozenset(map(str, rng.choice(200, 2))) for _ in range(300)]
    sampler = OncePerPost(posts, size, seed=3)
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        batches = list(sampler)
        assert len(batches) == len(sampler) and all(batches)
        assert sum(map(len, batches)) >= 295 and max(map(len, batches)) == size
        drawn = [index for batch in batches for index in batch]
        assert len(drawn) == len(set(drawn))
        for batch in batches:
            touched = [post for index in batch for post in posts[index]]
            assert len(touched) == len(set(touched))
        assert batches == list(sampler)
    sampler.set_epoch(0)
    assert list(sampler) != batches


def test_batches_hold_what_is_near_and_still_touch_a_post_once():
    """Six troubles, ten posts of each: a batch is of one trouble, unless two of its posts are the same."""
    troubles = [
        "领导当众批评",
        "孩子半夜发烧",
        "租房总是漏水",
        "母亲催我结婚",
        "朋友借钱不还",
        "论文又被退稿",
    ]
    texts = [f"{trouble}，{word}" for trouble in troubles for word in "甲乙丙丁戊己庚辛壬癸"]
    nearest = nearest_posts(texts, 12)
    assert nearest.shape == (60, 12) and all(n not in row for n, row in enumerate(nearest))
    assert all(set(row[:9] // 10) == {n // 10} for n, row in enumerate(nearest))
    assert nearest_posts(texts[:3], 12).shape == (3, 2)
    posts = [frozenset([text]) for text in texts]
    sampler = OncePerPost(posts, 5, 3, texts)
    batches = list(sampler)
    assert sorted(chain(*batches)) == list(range(60)) and batches == list(sampler)
    assert all(len({index // 10 for index in batch}) == 1 for batch in batches)
    assert any(len({index // 10 for index in batch}) > 1 for batch in OncePerPost(posts, 5, 3))


def test_two_triplets_of_a_post_go_to_two_batches_of_near_posts():
    texts = [
        f"{trouble}，{word}" for trouble in ("领导当众批评", "孩子半夜发烧") for word in "甲乙丙丁戊"
    ] * 2
    sampler = OncePerPost([frozenset([text]) for text in texts], 5, 3, texts)
    assert sorted(chain(*sampler)) == list(range(20))
    for batch in sampler:
        assert len({texts[index] for index in batch}) == 5 and len({texts[index][0] for index in batch}) == 1
    alone = OncePerPost([frozenset("甲")] * 4, 2, 3, ["甲"] * 4)
    assert [len(batch) for batch in alone] == [1, 1]


def test_needs_that_are_the_same_do_not_share_a_batch(items, rng):
    config = RewardConfig(max_triplets=40)
    drawn = triplets.build_triplets(items, config, rng)
    gold = {item.question: item.gold for item in items}
    for triplet in drawn:
        touched = [gold[post] for post in (triplet["anchor"], *triplet["others"])]
        assert triplet["needs"] == [f"{g.cause}|{g.intent}|{g.belief}" for g in touched if g]
    trainer = TripletTrainer.__new__(TripletTrainer)
    trainer.know([drawn[0] | {"needs": ["一"]}], near_batches=False)
    assert trainer.posts.popitem()[1] == {drawn[0]["anchor"], *drawn[0]["others"], "一"}


def test_one_post_alone_makes_batches_of_one():
    sampler = OncePerPost([frozenset("甲")] * 8, 4)
    assert [len(batch) for batch in sampler] == [1, 1]


def test_training_meets_no_second_answer_to_a_post(base, items, tmp_path, monkeypatch, rng):
    met = []

    class Watched(TripletTrainer):
        def get_batch_sampler(self, dataset, *given, **named):
            sampler = super().get_batch_sampler(dataset, *given, **named)
            met.extend([dataset[index] for index in batch] for batch in sampler)
            return sampler

    monkeypatch.setattr(reward_model, "TripletTrainer", Watched)
    config = RewardConfig(max_triplets=12, batch_size=3, max_steps=2, checkpoint_steps=5)
    drawn = triplets.build_triplets(items, config, rng)
    reward_model.train_reward(base, drawn, drawn[:4], tmp_path, config, seed=1)
    assert len(met) >= 4 + 2  # an epoch of training, and the validation
    for batch in met:
        for row in batch:
            item = next(item for item in items if item.question == row["anchor"])
            others = [text for other in batch if other is not row for text in other.values()]
            assert row["anchor"] not in others
            assert not any(reference in text for reference in item.references for text in others)


def columns_of(encoder, items):
    """Four triplets as the trainer hands them to a loss, replies of very different lengths."""
    texts = [
        [item.question for item in items[:4]],
        [item.references[0] for item in items[:4]],
        ["好。", items[0].question * 2, items[1].references[1], "嗯"],
    ]
    return [
        encoder.preprocess(column, prompt=reward_model.PROMPTS[side], task=side) | {"task": side}
        for column, side in zip(texts, reward_model.SIDES.values(), strict=True)
    ]


def value_and_gradient(encoder, loss, columns):
    encoder.zero_grad()
    value = loss([dict(column) for column in columns], torch.arange(4))
    value.backward()
    gradient = [p.grad.flatten().float() for p in encoder.parameters() if p.grad is not None]
    return value.item(), torch.cat(gradient)


@pytest.mark.parametrize("budget", [8, 64, 10_000])
def test_texts_read_by_length_give_the_librarys_loss_and_gradient(base, items, monkeypatch, budget):
    """Alone, in passes of which the later ones are computed again, and all at once."""
    monkeypatch.setattr(reward_model, "working_dtype", lambda: torch.float32)
    encoder = reward_model.load_encoder(base, 200)
    columns = columns_of(encoder, items)
    stock = MultipleNegativesRankingLoss(encoder, scale=20)
    ours = ByLengthLoss(encoder, scale=20, tokens_per_pass=budget)
    (value, gradient), (other, found) = (value_and_gradient(encoder, e, columns) for e in (stock, ours))
    assert other == pytest.approx(value, rel=1e-4) and gradient.norm() > 0.01
    assert (found - gradient).norm() < 1e-3 * gradient.norm()


def test_passes_may_be_computed_again_by_compiled_parts(base, items, compiled):
    encoder = reward_model.load_encoder(base, 200)
    compile_parts(encoder, 1)
    columns = columns_of(encoder, items)
    made = [
        value_and_gradient(encoder, ByLengthLoss(encoder, scale=20, tokens_per_pass=budget), columns)
        for budget in (10_000, 8)
    ]
    (value, gradient), (other, found) = made
    assert other == pytest.approx(value, rel=0.05)
    assert torch.cosine_similarity(found, gradient, dim=0) > 0.98  # two sums in bfloat16
