"""Pairs with and without the chain, and which of them have room."""

from dataclasses import replace

import numpy as np
import pytest

from empathy_lib.core import coe
from empathy_lib.core.config import BaseModelConfig
from empathy_lib.core.errors import UserError
from empathy_lib.core.schema import Answer
from empathy_lib.models.lengths import Length
from empathy_lib.sft import pairs as sft


def test_pairs_take_every_question_before_any_twice(items, tokenizer, rng):
    drawn = sft.sft_pairs(items, tokenizer, 8, rng, coe=True)
    assert {p["id"] for p in drawn[: len(items)]} == {i.id for i in items}
    assert all(coe.is_well_formed(p["completion"]) for p in drawn)


def test_both_policies_learn_from_the_same_answers(items, tokenizer):
    with_chain, without = (
        sft.sft_pairs(items, tokenizer, 8, np.random.default_rng(3), coe=c) for c in (True, False)
    )
    assert [coe.parse(p["completion"]).answer for p in with_chain] == [p["completion"] for p in without]


def test_answer_without_chain_is_named(items, tokenizer, rng):
    bare = items[0].model_copy(update={"answers": [Answer(text="只有回复")]})
    with pytest.raises(UserError, match=r"item 't0'.*annotator=rules"):
        sft.sft_pairs([bare], tokenizer, 1, rng, coe=True)


def written_up_to(tokens):
    return Length("generation.max_new_tokens", tokens, "cap", 1, 0, 1)


def whole(pair, tokenizer):
    return len(tokenizer(pair["prompt"] + pair["completion"] + tokenizer.eos_token)["input_ids"])


def test_a_pair_of_just_the_length_fits_and_one_more_token_does_not(pairs, tokenizer):
    longest = max(whole(pair, tokenizer) for pair in pairs)
    found = sft.fit(pairs, tokenizer, BaseModelConfig(max_length=longest))
    assert found.left_out == 0 and found.select(pairs) == pairs and found.length.source == "set"
    assert str(found) == f"all 8 pairs fit base_model.max_length = {longest} tokens"
    shorter = sft.fit(pairs, tokenizer, BaseModelConfig(max_length=longest - 1))
    assert shorter.kept == tuple(whole(pair, tokenizer) < longest for pair in pairs)


def test_the_longest_pair_decides_the_length_up_to_the_cap(pairs, tokenizer):
    longest = max(whole(pair, tokenizer) for pair in pairs)
    found = sft.fit(pairs, tokenizer, BaseModelConfig(max_length_cap=2000))
    assert found.length.tokens - 16 < longest <= found.length.tokens and found.length.tokens % 16 == 0
    assert found.left_out == 0 and found.length.source == "data"
    capped = sft.fit(pairs, tokenizer, BaseModelConfig(max_length_cap=longest - 1))
    assert capped.length.tokens == longest - 1 and capped.left_out >= 1 and capped.length.source == "cap"


def test_what_cannot_be_written_to_its_end_is_not_taught(pairs, tokenizer):
    written = [
        len(tokenizer(pair["completion"], add_special_tokens=False)["input_ids"]) + 1 for pair in pairs
    ]
    room = sorted(written)[3]
    found = sft.fit(pairs, tokenizer, BaseModelConfig(max_length_cap=2000), written_up_to(room))
    assert found.kept == tuple(length <= room for length in written) and 0 < found.left_out < 8
    assert found.length.longest == max(whole(p, tokenizer) for p in found.select(pairs))
    as_set = replace(written_up_to(room), source="set")
    assert sft.fit(pairs, tokenizer, BaseModelConfig(max_length_cap=2000), as_set).left_out == 0
    assert found.record()["left_out"] == found.left_out and found.record()["max_new_tokens"] == room


def test_pairs_left_out_are_said_with_share_and_remedy(pairs, tokenizer):
    said = str(sft.fit(pairs, tokenizer, BaseModelConfig(max_length_cap=8)))
    assert said.startswith("8 of 8 pairs (100.0%) are left out: longer than 8 tokens; ")
    assert "raise base_model.max_length_cap" in said
    said = str(sft.fit(pairs, tokenizer, BaseModelConfig(max_length=8), written_up_to(9)))
    assert "or with more than 9 to write" in said and "raise base_model.max_length and generation" in said


def test_the_same_answers_are_kept_with_and_without_their_chain(items, tokenizer):
    both = [sft.sft_pairs(items, tokenizer, 8, np.random.default_rng(3), coe=c) for c in (True, False)]
    kept = [whole(pair, tokenizer) for pair in both[0]]
    found = sft.fit(both[0], tokenizer, BaseModelConfig(max_length=sorted(kept)[4]))
    chains, plain = (found.select(pairs) for pairs in both)
    assert [coe.parse(pair["completion"]).answer for pair in chains] == [p["completion"] for p in plain]
