"""A chain is changed in one way at a time; a reply's log-probability is that of a plain forward pass."""

import numpy as np
import pandas as pd
import pytest
import torch

from empathy_lib.core import coe
from empathy_lib.metrics import dependence as dep
from empathy_lib.models.base import load_policy
from empathy_lib.models.prompts import coe_prompt


def completions_of(items) -> list[str]:
    return [coe.render(item.answers[0].coe, item.answers[0].text) for item in items]


def test_each_condition_changes_what_its_name_says(items):
    whole = completions_of(items)
    made = dep.changed_chains(items, whole)[0]
    own = items[0].answers[0].coe
    assert whole[0].startswith(made["intact"])
    assert made["no layer"] == "<empathy_think></empathy_think><answer>"
    assert f"<L2>{own.L2}</L2></empathy_think>" in made["first 2 layers"]
    assert made["filler"].count(dep.FILLER) == 4
    assert items[2].answers[0].coe.L1 in made["same topic"]  # the next of its topic
    assert items[1].answers[0].coe.L1 in made["other topic"]
    planted = made["planted emotion"]
    assert own.L1 not in planted and own.L2 in planted and items[1].answers[0].coe.L1 in planted


def test_what_no_other_post_serves_is_left_out_and_a_broken_chain_has_none(items):
    made = dep.changed_chains(items[:1], completions_of(items[:1]))[0]
    assert "same topic" not in made and "other topic" not in made and "planted emotion" not in made
    same_intent = dep.changed_chains(items, completions_of(items))[0]
    assert "planted intent" not in same_intent  # all of these posts want advice
    assert dep.changed_chains(items[:1], ["没有格式"]) == [{}]


def test_log_probability_is_that_of_the_whole_text_read_alone(base, items):
    model, tokenizer = load_policy(base, dtype="float32")
    prompt, reply = coe_prompt(tokenizer, items[0].question), items[0].references[0]
    openings = [*dep.changed_chains(items, completions_of(items))[0].values()]
    found = dep.reply_log_probability(model, tokenizer, prompt, openings, reply)
    said = tokenizer(reply + "</answer>", add_special_tokens=False)["input_ids"]
    for opening, value in zip(openings, found, strict=True):
        ids = (
            tokenizer(prompt)["input_ids"] + tokenizer(opening, add_special_tokens=False)["input_ids"] + said
        )
        with torch.no_grad():
            logs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        by_hand = logs[range(len(ids) - len(said) - 1, len(ids) - 1), said].mean().item()
        assert value == pytest.approx(by_hand, abs=1e-4)


def test_table_and_area_find_a_planted_dependence_and_none_where_there_is_none(rng):
    posts = 40
    noise = np.random.default_rng(0).normal(0, 0.05, (posts, len(dep.CONDITIONS)))
    found = pd.DataFrame(noise, columns=list(dep.CONDITIONS))
    found["other topic"] -= 0.5
    for cut in dep.CUTS:
        found[cut] -= 0.3
    table = dep.dependence_table(found, resamples=999, rng=rng)
    assert table.loc["other topic", "difference"] == pytest.approx(0.5, abs=0.05)
    assert table.loc["other topic", "p_holm"] < 0.05 < table.loc["filler", "p_holm"]
    assert table.loc["other topic", "preferred"] == 1
    area = dep.area_over_curve(found, resamples=200, rng=rng)
    assert area.low < 0.3 < area.high and area.n == posts
    nothing = dep.area_over_curve(found.iloc[:0], resamples=200, rng=rng)
    assert np.isnan(nothing.value)


def test_a_paraphrase_keeps_labels_and_quotations():
    text = "来访者的焦虑与“希望先睡”直接相连，希望先稳住情绪。"
    assert dep.in_other_words(text) == "发帖的人的焦虑与“希望先睡”直接相连，盼着首先稳住情绪。"
    assert dep.in_other_words("焦虑") == "焦虑"


def test_a_chain_in_other_words_is_a_condition_only_where_a_word_is_known(items):
    made = dep.changed_chains(items, completions_of(items))[0]
    assert "觉得焦虑" in made["paraphrase"] and "感到焦虑" in made["intact"]
    bare = coe.ChainOfEmpathy(L1="焦虑", L2="考试", L3="建议", L4="倾听")
    assert "paraphrase" not in dep.changed_chains(items[:1], [coe.render(bare, "抱抱你")])[0]
