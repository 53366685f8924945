"""The benchmark of trainings, by hand in ``tests/benchmarks``, on the tiny model."""

import runpy

import pytest
import transformers.trainer

from empathy_lib.core.config import DatasetConfig
from empathy_lib.core.run import ROOT
from empathy_lib.dataset.generate import generate


# ours of SFT is left out: by the tiny tokenizer every pair is longer than laptop's cap
@pytest.mark.parametrize(("stage", "variant"), [("sft", "stock"), ("grpo", "stock"), ("grpo", "ours")])
def test_a_variant_still_trains_and_is_timed(stage, variant, hub_folder, tmp_path, monkeypatch):
    bench = runpy.run_path(str(ROOT / "tests" / "benchmarks" / "bench_training.py"))
    callbacks = [*transformers.trainer.DEFAULT_CALLBACKS, bench["Clock"]]
    monkeypatch.setattr(transformers.trainer, "DEFAULT_CALLBACKS", callbacks)
    items = [item for item in generate(DatasetConfig(questions=40), seed=1) if item.answers]
    items = [item for item in items if all(answer.coe for answer in item.answers)]
    found = bench[f"time_{stage}"](variant, items, hub_folder, tmp_path, 1)
    assert found["rate"] > 0 and found["tokens"] > 0
