"""Lengths that follow the data: quantiles rounded up, capped, overridden, and said."""

import numpy as np
import pytest

from empathy_lib.core import coe
from empathy_lib.core.config import GenerationConfig
from empathy_lib.core.errors import UserError
from empathy_lib.models import lengths

FIELD = "generation.max_new_tokens"


@pytest.mark.parametrize(
    ("setting", "cap", "quantile", "tokens", "source", "longer"),
    [
        ("auto", 500, 1.0, 208, "data", 0),  # the longest, 200, rounded up to a multiple of 16
        ("auto", 500, 0.99, 208, "data", 0),  # that share of 200 texts is 199 tokens long
        ("auto", 500, 0.5, 112, "data", 88),  # 100.5 is no text's length: the next longer text's is 101
        ("auto", 150, 1.0, 150, "cap", 50),
        ("auto", 208, 1.0, 208, "data", 0),
        (40, 150, 1.0, 40, "set", 160),
        (999, 150, 1.0, 999, "set", 0),  # what is set is no matter of the cap
    ],
)
def test_a_length_is_set_taken_from_the_data_or_the_cap(setting, cap, quantile, tokens, source, longer):
    found = lengths.choose(FIELD, setting, list(range(1, 201)), cap, quantile)
    assert (found.tokens, found.source, found.longer) == (tokens, source, longer)
    assert (found.n, found.longest) == (200, 200)


def test_a_choice_says_where_it_comes_from_and_how_many_texts_are_longer():
    texts = [100] * 998 + [1381] * 2
    found = lengths.choose(FIELD, "auto", texts, 512, 0.995)
    assert str(found) == (
        "generation.max_new_tokens: 112 tokens (from the training texts); 2 of 1,000 texts (0.2%) are "
        "longer, the longest has 1381"
    )
    assert "(the cap, generation.max_new_tokens_cap; the training texts ask for more)" in str(
        lengths.choose(FIELD, "auto", texts, 512)
    )
    assert "40 tokens (as set)" in str(lengths.choose(FIELD, 40, texts, 512))
    assert found.record()["tokens"] == 112


def test_nothing_to_take_a_length_from_is_said():
    with pytest.raises(UserError, match=r"generation\.max_new_tokens=auto: there is no training text"):
        lengths.choose(FIELD, "auto", [], 512)
    assert lengths.choose(FIELD, 64, [], 512).tokens == 64


def test_completions_have_room_for_chain_answer_and_end(items, tokenizer):
    longest = max(
        len(tokenizer(coe.render(a.coe, a.text) + tokenizer.eos_token, add_special_tokens=False)["input_ids"])
        for item in items
        for a in item.answers
    )
    assert max(lengths.completion_lengths(items, tokenizer)) == longest
    found = lengths.completion_length(GenerationConfig(), items, tokenizer)
    assert found.tokens - 16 < longest <= found.tokens and found.n == 12 and found.source == "data"
    bare = [
        item.model_copy(
            update={"answers": [a.model_copy(update={"coe": None}) for a in item.answers], "coe_origin": ""}
        )
        for item in items
    ]
    assert max(lengths.completion_lengths(bare, tokenizer)) < longest  # without a chain: the answer alone


def test_the_reward_reads_posts_whole_and_replies_twice(tokenizer):
    texts = ["好" * n for n in (10, 20, 30)]
    one, three = (len(tokenizer("好" * n)["input_ids"]) for n in (10, 30))
    assert one < three
    posts = lengths.reading_length("auto", 900, texts, ["好"], tokenizer)
    assert posts.tokens - 16 < three <= posts.tokens
    replies = lengths.reading_length("auto", 900, ["好"], texts, tokenizer)
    assert replies.tokens - 16 < 2 * three <= replies.tokens and (replies.n, replies.longer) == (4, 0)
    capped = lengths.reading_length("auto", three - 1, texts, texts, tokenizer)
    assert (capped.tokens, capped.source, capped.longer) == (three - 1, "cap", 2)
    assert lengths.reading_length(96, 8, texts, texts, tokenizer).tokens == 96


def test_quantiles_are_of_texts_that_are_there():
    """A mean of two lengths would have room for neither."""
    assert lengths.choose(FIELD, "auto", [16, 480], 512, 0.5).tokens == 480
    assert np.quantile([16, 480], 0.5) == 248
