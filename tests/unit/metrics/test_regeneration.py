"""Replies drawn anew after changed chains: how close they stay, and whether a planted emotion is taken up."""

import numpy as np
import pandas as pd
import pytest

from empathy_lib.core import coe
from empathy_lib.core.config import GenerationConfig
from empathy_lib.metrics import dependence, regeneration
from empathy_lib.models.base import load_policy
from empathy_lib.models.prompts import coe_prompt


def drawn(items, monkeypatch, speak):
    """Regenerated replies of a policy that says what ``speak`` makes of what it has read."""
    monkeypatch.setattr(
        regeneration, "generate", lambda _m, _t, asked, _g, seed: [speak(text, seed) for text in asked]
    )
    whole = [coe.render(item.answers[0].coe, item.answers[0].text) for item in items]
    return regeneration.regenerated(None, None, items, whole, [i.question for i in items], None, 1)


def test_a_policy_that_follows_its_chain_is_seen_to(items, monkeypatch):
    def follows(text, seed):
        emotion = text.split("<L1>感到")[1].split("</L1>")[0] if "<L1>感到" in text else "不知道"
        return f"听起来你很{emotion}，谢谢你说出来。</answer>多余的话"

    found = drawn(items, monkeypatch, follows)
    follow = regeneration.follow_table(found)["value"]
    assert follow["planted emotion: names planted"] == 1 and follow["planted emotion: names own"] == 0
    assert follow["intact, drawn again: names own"] == 1
    table = regeneration.regeneration_table(found, resamples=499, rng=np.random.default_rng(0))
    assert table.loc["planted emotion", "difference"] > 5 and table.loc["first 3 layers", "difference"] == 0
    assert not found["reply"].str.contains("多余").any()


def test_a_policy_that_does_not_read_its_chain_is_seen_not_to(items, monkeypatch):
    found = drawn(items, monkeypatch, lambda text, seed: "抱抱你。</answer>")
    table = regeneration.regeneration_table(found, resamples=499, rng=np.random.default_rng(0))
    assert set(table.index) <= set(dependence.CONDITIONS) and (table["p_holm"] > 0.5).all()
    assert regeneration.follow_table(found).loc["planted emotion: names planted", "value"] == 0


def test_without_gold_labels_following_is_not_available(items, monkeypatch):
    bare = [item.model_copy(update={"gold": None}) for item in items]
    table = regeneration.follow_table(drawn(bare, monkeypatch, lambda text, seed: "抱抱你。"))
    assert table["value"].isna().all() and (table["n"] == 0).all()


def test_a_policy_draws_a_reply_for_every_condition(base, items, tmp_path):
    model, tokenizer = load_policy(base)
    whole = [coe.render(item.answers[0].coe, item.answers[0].text) for item in items]
    prompts = [coe_prompt(tokenizer, item.question) for item in items]
    given = (items, whole, prompts, GenerationConfig(max_new_tokens=8), 1)
    found = regeneration.regenerated(model, tokenizer, *given)
    counts = found["condition"].value_counts()
    assert counts[regeneration.AGAIN] == counts["no layer"] == counts["paraphrase"] == len(items)
    assert "intact" not in counts and "planted intent" not in counts  # all of these posts want advice
    found.to_csv(tmp_path / "anew.csv", index=False)
    again = pd.read_csv(tmp_path / "anew.csv")
    tables = [
        regeneration.regeneration_table(each, resamples=99, rng=np.random.default_rng(0))
        for each in (found, again)
    ]
    assert tables[0]["closeness"].to_list() == pytest.approx(tables[1]["closeness"].to_list())
    assert regeneration.follow_table(again)["value"].notna().all()
