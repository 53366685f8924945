"""No batch holds two answers to one post, every batch is there, and an epoch's order is its own."""

import numpy as np
import pytest

from empathy_lib.core.config import RewardConfig
from empathy_lib.reward import train as reward_model
from empathy_lib.reward import triplets
from empathy_lib.reward.batches import OncePerPost, TripletTrainer


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
