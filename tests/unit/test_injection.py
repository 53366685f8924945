"""Names and texts that would run if they were pasted as they are: into HTML, a CSV, LaTeX, Markdown, a path,
a terminal. A topic is named by a corpus, a system by whoever answered, a file by whoever sent it."""

import csv
import json

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from empathy_lib.app import cli
from empathy_lib.core import style
from empathy_lib.core.config import DatasetConfig
from empathy_lib.core.errors import UserError
from empathy_lib.core.files import tamed, untamed
from empathy_lib.core.schema import Answer, Item
from empathy_lib.core.tables import captioned
from empathy_lib.dataset import card, figures
from empathy_lib.dataset.build import build_dataset
from empathy_lib.human_eval.design import build_study, read_key, sheet_to_html, unblind, write_study
from empathy_lib.human_eval.ratings import COLUMNS, read_ratings, write_ratings
from empathy_lib.human_eval.run.interchange import label_studio_config, label_studio_tasks, sheets_csv
from empathy_lib.metrics.score_files import read_scores, write_scores
from empathy_lib.metrics.scoring import Example, Settings
from empathy_lib.metrics.tables import write_table

matplotlib.use("Agg")
NAMES = [
    "<script>alert(1)</script>",
    '=cmd|"/C calc"!A0',
    "+1+cmd",
    "-2+3",
    "@SUM(A1)",
    "'=quoted",
    "''",
    r"\input{/etc/passwd} & 5 % of_x #1 ~^",
    "$\\frac{$",
    "../../etc/evil",
    "a|b`c`<b>",
]
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def cells(path):
    return [cell for row in csv.reader(path.open(encoding="utf-8", newline="")) for cell in row]


@pytest.mark.parametrize("name", [*NAMES, "", "plain", "'", "\t=x", "好"])
def test_what_is_tamed_is_no_formula_and_comes_back(name):
    assert not tamed(name).startswith(FORMULA) and untamed(tamed(name)) == name


def test_ratings_hold_no_formula_and_keep_every_name(tmp_path):
    rows = [(name, name, name, other, 1.0) for name in NAMES for other in ("base", name)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    write_ratings(table, tmp_path / "r.csv")
    assert not [cell for cell in cells(tmp_path / "r.csv") if cell.startswith(FORMULA)]
    pd.testing.assert_frame_equal(read_ratings(tmp_path / "r.csv"), table, check_dtype=False)


def test_a_study_with_such_names_holds_no_formula_and_no_tag_and_comes_back(tmp_path):
    completions = {item: {system: f"{system} {item}" for system in NAMES[:4]} for item in NAMES}
    made = build_study(completions, {n: n for n in NAMES}, raters=1, items=11, rng=np.random.default_rng(0))
    write_study(made, tmp_path)
    (tmp_path / "s.csv").write_text(sheets_csv(made), encoding="utf-8")
    assert not [cell for cell in cells(tmp_path / "s.csv") if cell.startswith(FORMULA)]
    lines = list(csv.reader((tmp_path / "s.csv").open(encoding="utf-8", newline="")))
    for line in lines[1:]:
        line[4] = str("ABCD".index(line[3]) + 1)
    with (tmp_path / "filled.csv").open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows(lines)
    named = unblind(read_ratings(tmp_path / "filled.csv", blind=True), tmp_path / "key.json")
    assert set(named["item"]) == set(NAMES) and set(named["system"]) == set(NAMES[:4])
    assert read_key(tmp_path / "key.json")[0] == made.key
    for sheet in made.sheets:
        shown = sheet_to_html({**sheet, "rater": NAMES[0]}, NAMES[0])
        assert "<script" not in shown and "<b>c" not in shown
    assert "<script" not in label_studio_config(made)
    assert json.loads(json.dumps(label_studio_tasks(made)))
    assert {path.name for path in tmp_path.iterdir()} == {"study.jsonl", "key.json", "s.csv", "filled.csv"}


def test_tables_for_a_paper_hold_no_formula_no_tag_and_no_command(tmp_path):
    frame = pd.DataFrame({"L1": ["-0.100 [-0.200, +0.300]"] * len(NAMES), NAMES[0]: "1,000"}, index=NAMES)
    write_table(frame.rename_axis("group"), tmp_path, "breakdown", NAMES[0] + NAMES[7])
    found = cells(tmp_path / "breakdown.csv")
    assert {cell for cell in found if cell.startswith(FORMULA)} == {"-0.100 [-0.200, +0.300]"}
    assert "<script" not in (tmp_path / "breakdown.md").read_text(encoding="utf-8")
    tex = (tmp_path / "breakdown.tex").read_text(encoding="utf-8")
    assert r"\input" not in tex and r"\frac" not in tex and r"\textbackslash input\{" in tex
    assert "<script" not in captioned(frame.rename_axis("group"), NAMES[0]).to_html()


def test_scores_of_each_example_hold_no_formula_and_keep_their_ids(tmp_path):
    ids = [*NAMES, "NA", "null", "0012"]
    examples = [Example(name, "帖子", "回复", ["回复"], None, coe_expected=False) for name in ids]
    write_scores(tmp_path, {"base": examples}, Settings(segment="char", bootstrap=10))
    assert not [cell for cell in cells(tmp_path / "per_example.csv") if cell.startswith(FORMULA)]
    frames, _ = read_scores(tmp_path)
    assert list(frames["base"].index) == ids


def test_topics_are_drawn_as_they_are_called():
    style.use_style()
    items = [
        Item(id=str(n), question="帖", topic=name, subtopic=name, answers=[Answer(text="好")])
        for n, name in enumerate(NAMES)
    ]
    for figure in (figures.topics({"train": items}, ""), figures.sunburst(items, "")):
        figure.canvas.draw()  # text with an even number of $ would be read as mathematics, and refused
        plt.close(figure)


def test_a_folder_called_anything_gives_a_card_without_a_tag(tmp_path):
    name = "`<img src=x onerror=alert(1)>` =cmd"
    source = tmp_path / name
    source.mkdir()
    post, reply = "我最近总是睡不着，", "谢谢你愿意把这些说出来，先让自己慢慢歇一歇吧。"
    for number, topic in enumerate(NAMES):
        words = "".join(chr(0x4E00 + 40 * number + n) for n in range(40))
        record = {
            "question": post + words,
            "answers": [{"answer_text": words + reply * 5}],
            "keywords": [topic],
        }
        (source / f"{number}.json").write_text(json.dumps(record), encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    out = tmp_path / "out"
    build_dataset(DatasetConfig(data=str(source)), 1, out)
    written = [path for path in sorted(tmp_path.rglob("*")) if path not in before and path.is_file()]
    assert written and all(path.parent == out for path in written)
    text = (out / "README.md").read_text(encoding="utf-8")
    assert "`psyqa:'<img src=x onerror=alert(1)>' =cmd`" in text and text.count("<img") == 1
    assert card.code("a`b\n# c") == "`a'b # c`"


def test_an_error_does_not_speak_to_the_terminal(monkeypatch, capsys):
    def fail():
        raise UserError("x\x1b]0;title\x07.json\nerror: \x9b2J another line")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit):
        cli.main()
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said[:-1].isprintable()
