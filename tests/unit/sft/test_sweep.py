"""The sweep of learning rates, by hand in ``tests/benchmarks``, on the tiny model."""

import json
import runpy

import pytest

from empathy_lib.core.run import ROOT
from notebooks import TINY


@pytest.fixture
def sweep(monkeypatch, tmp_path):
    monkeypatch.setenv("EMPATHY_CACHE", str(tmp_path / "cache"))
    return runpy.run_path(str(ROOT / "tests" / "benchmarks" / "sweep_learning_rate.py"))


def test_a_sweep_trains_each_rate_once_and_goes_on_where_it_was(sweep, hub_folder, tmp_path, capsys):
    settings = {**TINY, "base_model.source": str(hub_folder)}
    words = [str(tmp_path / "sweep"), "--profile", "smoke", "--pairs", "6", "--rates", "1e-3", "5"]
    words += [word for key, value in settings.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    sweep["main"](words)
    said = capsys.readouterr().out
    found = json.loads(said.splitlines()[-1])
    assert found["pairs"]["train"] == 6 and found["data"] == "synthetic"
    for kind in ("coe", "no_coe"):
        first, second = (found[kind][rate] for rate in ("0.001", "5"))
        assert first["base"] == second["base"] > first["best"] and first["below_base"]
        assert not second["below_base"] and first["step"] in (1, 2)
        assert not list((tmp_path / "sweep/02_sweep").rglob("*.safetensors"))
    assert found["chosen"] == "0.001" and "policy rate" in said
    sweep["main"](words)
    again = capsys.readouterr().out
    assert json.loads(again.splitlines()[-1]) == found and again.count("reused, as built") == 5


def test_no_rate_is_chosen_where_a_policy_ends_above_its_base(sweep):
    good, bad = ({"best": best, "below_base": best < 3} for best in (2.0, 4.0))
    assert sweep["chosen"]({"coe": {"1": good, "2": good}, "no_coe": {"1": bad, "2": good}}) == "2"
    assert sweep["chosen"]({"coe": {"1": good}, "no_coe": {"1": bad}}) is None
