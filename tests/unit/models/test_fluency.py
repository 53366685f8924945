"""Log-probability of a text, against the model's own loss."""

import numpy as np
import pytest
import torch

from empathy_lib.models.base import load_policy
from empathy_lib.models.fluency import mean_log_probability


@pytest.fixture(scope="module")
def model(base):
    return load_policy(base, dtype="float32")


def test_it_is_the_models_own_loss_text_by_text(model):
    policy, tokenizer = model
    texts = ["听起来你很焦虑。", "可以先好好睡一觉，再和信任的人聊聊。", "好"] * 7
    found = mean_log_probability(policy, tokenizer, texts)
    for text, value in zip(texts, found, strict=True):
        ids = torch.tensor(
            [[tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]]
        )
        assert value == pytest.approx(-policy(input_ids=ids, labels=ids).loss.item(), abs=1e-4)
    assert (found < 0).all() and found[:3].tolist() == pytest.approx(found[3:6].tolist(), abs=1e-5)


def test_no_text_no_figure_and_a_long_one_is_read_to_its_length(model):
    policy, tokenizer = model
    assert mean_log_probability(policy, tokenizer, []).shape == (0,)
    empty, other = mean_log_probability(policy, tokenizer, ["", "好"])
    assert np.isnan(empty) and other < 0
    long, cut = mean_log_probability(policy, tokenizer, ["焦虑" * 50, "焦虑" * 5], max_length=10)
    ids = tokenizer("焦虑" * 5, add_special_tokens=False)["input_ids"]
    assert long == pytest.approx(cut, abs=1e-5) if len(ids) >= 10 else long != cut
