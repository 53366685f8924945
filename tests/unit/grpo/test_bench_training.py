"""The benchmark of trainings, by hand in ``tests/benchmarks``, on the tiny model."""

import runpy

import pytest
import transformers.trainer

from empathy_lib.core.run import ROOT


@pytest.mark.parametrize("variant", ["stock", "ours"])
@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_a_variant_still_trains_and_is_timed(stage, variant, items, hub_folder, tmp_path, monkeypatch):
    bench = runpy.run_path(str(ROOT / "tests" / "benchmarks" / "bench_training.py"))
    callbacks = [*transformers.trainer.DEFAULT_CALLBACKS, bench["Clock"]]
    monkeypatch.setattr(transformers.trainer, "DEFAULT_CALLBACKS", callbacks)
    found = bench[f"time_{stage}"](variant, items, hub_folder, tmp_path, 1)
    assert found["rate"] > 0 and found["tokens"] > 0
