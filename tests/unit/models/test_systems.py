"""Completions of the systems: cached, resumed after a kill, honest about unknown names."""

import json
import shutil

import pytest
from transformers import AutoTokenizer

from empathy_lib.core.errors import UserError
from empathy_lib.core.run import Run
from empathy_lib.core.schema import write_jsonl
from empathy_lib.models import lengths, systems


@pytest.fixture
def run(hub_folder, items, tmp_path, monkeypatch):
    """A run whose dataset is the six items and whose base is the tiny model."""
    monkeypatch.setenv("EMPATHY_CACHE", str(tmp_path / "cache"))
    overrides = {"base_model.source": str(hub_folder), "base_model.trim_min_count": 1}
    overrides |= {"generation.max_new_tokens": 8, "generation.batch_size": 2, "metrics.max_questions": 4}
    run = Run.open("smoke", str(tmp_path / "运行 run"), overrides)
    with run.build("01_dataset", {}) as stage:
        for name in ("train", "validation", "test"):
            write_jsonl(items, stage.path / f"{name}.jsonl")
    return run


def test_completions_are_cached(run, monkeypatch):
    items = systems.held_out(run)
    first = systems.complete(run, "base", items)
    monkeypatch.setattr(systems, "generate", None)  # would fail if called
    assert systems.complete(run, "base", items) == first
    assert len(first) == 4


def test_new_tokens_are_taken_from_the_runs_training_items(run, hub_folder):
    longest = max(
        lengths.completion_lengths(systems.load_splits(run.stage("01_dataset"))["train"], tokens(run))
    )
    auto = Run(run.profile.model_copy(deep=True), run.path)
    auto.profile.generation.max_new_tokens = "auto"
    found = systems.generation_of(auto).max_new_tokens
    assert found - 16 < longest <= found == systems.completion_room(auto).tokens
    auto.profile.generation.max_new_tokens_cap = 9
    assert systems.generation_of(auto).max_new_tokens == 9
    items = systems.held_out(auto)[:1]
    systems.complete(auto, "base", items)
    assert auto.manifest("completions/base")["config"]["generation"]["max_new_tokens"] == 9
    assert systems.generation_of(run).max_new_tokens == 8  # set


def tokens(run):
    return AutoTokenizer.from_pretrained(systems.base_folder(run))


def test_killed_generation_resumes_with_the_same_result(run, monkeypatch):
    items = systems.held_out(run)
    whole = systems.complete(run, "base", items)
    other = Run(run.profile, run.path.with_name("other"))
    (run.path / "01_dataset").rename(run.path / "moved")
    other.path.mkdir()
    (run.path / "moved").rename(other.path / "01_dataset")
    real, calls = systems.generate, []

    def dies_in_second_batch(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(systems, "generate", dies_in_second_batch)
        systems.complete(other, "base", items)
    partial = other.path / "completions/base.building/completions.jsonl"
    with partial.open("a", encoding="utf-8") as handle:
        handle.write('{"id": "t9", "comp')  # a line cut short by the kill
    assert systems.complete(other, "base", items) == whole


def test_further_samples_differ_and_are_cached_apart(run):
    items = systems.held_out(run)
    first, second = (systems.complete(run, "base", items, sample=n) for n in (1, 2))
    assert first != second and systems.complete(run, "base", items, sample=2) == second
    assert (run.path / "completions/base_sample2/manifest.json").is_file()


def test_bm25_and_unknown_system(run):
    items = systems.held_out(run)
    assert all(text for text in systems.complete(run, "bm25", items))
    with pytest.raises(UserError, match="no system 'gpt'"):
        systems.complete(run, "gpt", items)
    with pytest.raises(UserError, match="stage 02 is not finished"):
        systems.complete(run, "sft", items)


def test_the_base_is_a_centred_encoder(run):
    encoder = systems.base_encoder(run)
    vectors = encoder.embed(["你好", "再见", ""])
    assert ((vectors**2).sum(axis=1) ** 0.5).round(3).tolist() == [1, 1, 1]
    train = systems.load_splits(run.stage("01_dataset"))["train"]
    raw = encoder.embed([item.references[0] for item in train[:128]]) @ vectors[0]
    assert raw.min() < 0 < raw.max(), "vectors that all point one way are no measure"


def test_completion_files_are_json_lines(run):
    items = systems.held_out(run)
    systems.complete(run, "base", items)
    lines = (run.path / "completions/base/completions.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["id"] for line in lines] == [item.id for item in items]


def test_every_training_seed_has_its_policy_and_completions(run, base):
    items = systems.held_out(run)
    assert systems.completions_stage("grpo", sample=3, seed=2) == "completions/grpo_seed2_sample3"
    assert systems.completions_stage("sft", greedy=True) == "completions/sft_greedy"
    for seed in (1, 2):
        with pytest.raises(
            UserError, match=f"{systems.policy_stage('grpo', seed)}: stage 04 is not finished"
        ):
            systems.complete(run, "grpo", items, seed=seed)
        with run.build(systems.policy_stage("grpo", seed), {"seed": seed}) as stage:
            shutil.copytree(base, stage.path / "policy")
    first, second = (systems.complete(run, "grpo", items, seed=seed) for seed in (1, 2))
    assert first != second  # each seed's completions are drawn afresh
    assert systems.complete(run, "grpo", items) == first
