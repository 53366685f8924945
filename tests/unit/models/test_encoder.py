import numpy as np
import pytest

from empathy_lib.core.errors import UserError
from empathy_lib.metrics.overlap import bert_scores, greedy_match
from empathy_lib.models.encoder import load_encoder


@pytest.fixture(scope="module")
def encoder(hub_folder):
    return load_encoder(str(hub_folder))


def test_one_vector_a_text_and_one_a_token(encoder):
    texts = ["我很难过。", "我", "", "听起来你很焦虑，谢谢你愿意说出来。"]
    vectors, tokens = encoder.embed(texts), encoder.tokens(texts)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    # without the mark of the beginning
    counts = [len(ids) - 1 for ids in encoder.tokenizer(texts)["input_ids"]]
    assert [len(rows) for rows in tokens] == counts and counts[2] == 0
    assert np.linalg.norm(tokens[3], axis=1) == pytest.approx(1, abs=1e-3)


def test_company_in_a_batch_changes_nothing(encoder, hub_folder):
    alone = load_encoder(str(hub_folder)).tokens(["我很难过。"])[0]
    beside = load_encoder(str(hub_folder)).tokens(["听起来你很焦虑，谢谢你愿意说出来。", "我很难过。"])[1]
    assert alone == pytest.approx(beside, abs=2e-3)


def test_a_text_is_encoded_once(hub_folder, monkeypatch):
    encoder, asked = load_encoder(str(hub_folder)), []
    forward = encoder._forward
    monkeypatch.setattr(encoder, "_forward", lambda texts: asked.extend(texts) or forward(texts))
    answers = ["抱抱你。", "慢慢来。"]
    first = bert_scores(answers, [["抱抱你。", "别急。"]] * 2, encoder.tokens)
    encoder.embed(["别急。", *answers])
    assert sorted(asked) == sorted(["抱抱你。", "慢慢来。", "别急。"])
    assert first[0][0] == pytest.approx(1, abs=1e-3) and first[1][0] < 0.999
    monkeypatch.setattr("empathy_lib.models.encoder.KEPT_TEXTS", 1)
    assert [len(rows) > 0 for rows in encoder.tokens(["一", "二", "三"])] == [True] * 3 and len(
        encoder._kept
    ) == 1


def test_bert_score_is_what_the_models_own_hidden_states_give(encoder):
    import torch

    def hidden(text):
        batch = encoder.tokenizer([text], return_tensors="pt")
        with torch.no_grad():
            rows = (
                encoder.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
                .last_hidden_state[0, 1:]
                .numpy()
            )
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    similar = hidden("我很难过。") @ hidden("我真的很焦虑。").T
    p, r = similar.max(1).mean(), similar.max(0).mean()
    assert bert_scores(["我很难过。"], [["我真的很焦虑。"]], encoder.tokens)[0][0] == pytest.approx(
        2 * p * r / (p + r), abs=2e-3
    )


def test_centring_takes_off_what_all_texts_share(hub_folder, encoder):
    from empathy_lib.models.encoder import Encoder

    texts = ["我很难过。", "听起来你很焦虑。", "可以先好好睡一觉。", "和信任的人聊聊。"]
    centred = Encoder(encoder.model, encoder.tokenizer, texts)
    mean = lambda vectors: float(np.mean(vectors @ vectors.T))  # noqa: E731
    assert mean(centred.embed(texts)) < mean(encoder.embed(texts))
    assert greedy_match(*centred.tokens(["我很难过。", "我很难过。"])) == pytest.approx(1, abs=1e-3)


def test_what_is_no_encoder_is_named(tmp_path):
    with pytest.raises(UserError, match=r"--encoder .*: no config\.json"):
        load_encoder(str(tmp_path))
    with pytest.raises(UserError, match=r"--encoder \./none: no config\.json"):
        load_encoder("./none")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="cannot be loaded"):
        load_encoder(str(tmp_path))
