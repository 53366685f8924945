"""The reward model on a tiny random base, and its threshold."""

import json

import pytest

from empathy_lib.core.config import RewardConfig
from empathy_lib.reward import train as reward_model
from empathy_lib.reward import triplets


def test_reward_model_learns_and_marks_the_sides(base, items, tmp_path, rng, capsys):
    config = RewardConfig(max_triplets=8, batch_size=4, max_steps=16, learning_rate=3e-3, checkpoint_steps=4)
    drawn = triplets.build_triplets(items, config, rng)
    log = reward_model.train_reward(base, drawn, drawn[:4], tmp_path, config, seed=1)
    assert "example" not in capsys.readouterr().err  # no progress bar
    losses = {r["step"]: r["eval_loss"] for r in log if "eval_loss" in r}
    assert list(losses) == [0, 4, 8, 12, 16]  # 0: the base's own
    assert losses[16] < losses[0]
    encoder = reward_model.load_encoder(tmp_path / "encoder", config.max_length)
    judge = reward_model.RewardModel(encoder, 0.5)
    read = json.loads((tmp_path / "lengths.json").read_text())["texts"]
    assert read["source"] == "data" and encoder.max_seq_length == read["tokens"]  # auto: from the triplets
    post = items[0].question
    copied, empty = judge.score([post, post], [post, " "])
    assert copied < 0.99  # a copy is not its own best answer: answers pass a layer of their own
    assert empty == -1
    table = reward_model.ranking_summary(
        reward_model.score_pairs(judge, triplets.evaluation_pairs(items, items, rng))
    )
    # the six items have no sub-topic, and nothing was retrieved
    assert set(table.index) == {*triplets.NEGATIVE_KINDS, "all"} - {"same_subtopic", "bm25"}


def test_threshold_rules():
    import pandas as pd

    scores = pd.DataFrame(
        {
            "id": list("abcd"),
            "kind": "random",
            "positive": [0.9, 0.8, 0.7, 0.6],
            "negative": [0.1, 0.2, 0.3, 0.65],
        }
    )
    assert reward_model.choose_threshold(scores, "quantile", 0.5) == pytest.approx(0.75)
    assert reward_model.choose_threshold(scores, "youden", 0.5) == pytest.approx(0.7)
