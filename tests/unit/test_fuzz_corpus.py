"""What ``make fuzz`` has found is replayed, and the harness itself sees a crash and a quadratic scan."""

import contextlib
import json
import runpy
from types import SimpleNamespace

import pytest

from empathy_lib.core.errors import UserError
from empathy_lib.core.run import ROOT

fuzz = runpy.run_path(str(ROOT / "tests" / "fuzz.py"))
CORPUS = sorted(fuzz["CORPUS"].iterdir())
TARGETS = fuzz["TARGETS"]


@pytest.mark.parametrize("path", CORPUS, ids=[path.name for path in CORPUS])
def test_what_was_found_stays_mended(path, tmp_path):
    with contextlib.suppress(UserError):
        TARGETS[path.name.split("-")[0]](path.read_bytes(), path.suffix[1:], tmp_path)


@pytest.mark.parametrize("target", TARGETS)
def test_each_target_takes_a_few_broken_inputs(target, tmp_path):
    found = fuzz["fuzz"](target, 60, 7, tmp_path)
    assert (found["inputs"], found["crashes"]) == (60, 0) and not list(tmp_path.iterdir())


def test_a_crash_is_counted_and_its_input_kept(monkeypatch, tmp_path, capsys):
    def broken(data, suffix, folder):
        if b"<L2>" not in data:
            raise KeyError("L2")
        raise UserError("a fault of the input")

    monkeypatch.setitem(TARGETS, "coe", broken)
    found = fuzz["fuzz"]("coe", 200, 7, tmp_path)
    kept = sorted(tmp_path.iterdir())
    assert 0 < found["crashes"] == len(kept) < 200 and "KeyError" in capsys.readouterr().err
    assert all(path.name.startswith("coe-") and b"<L2>" not in path.read_bytes() for path in kept)


def test_the_same_seed_gives_the_same_inputs():
    def some(seed):
        return [next(each) for each in (fuzz["inputs"](t, fuzz["random"].Random(seed)) for t in TARGETS)]

    assert some(3) == some(3) != some(4)


def test_a_scan_that_grows_as_the_square_is_seen_and_a_straight_one_is_not(monkeypatch):
    """By a clock that goes as far as each case says."""
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)

    def takes(seconds):
        clock.now += seconds

    cases = {
        "square": (lambda n: takes(2e-10 * n * n), lambda n: n),
        "straight": (lambda n: takes(1e-6 * n), lambda n: n),
    }
    monkeypatch.setitem(fuzz["growth"].__globals__, "nasty", lambda: cases)
    monkeypatch.setitem(fuzz["growth"].__globals__, "time", clock)
    steep = fuzz["growth"](4_000, 200_000)
    assert [name.split(",")[0] for name in steep] == ["square"], json.dumps(steep)
