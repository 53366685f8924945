"""Studies for other tools and back: Label Studio's documented shapes, a spreadsheet's CSV, the commands."""

import csv
import json
import math
from xml.etree import ElementTree

import numpy as np
import pytest

from empathy_lib.app.cli import app
from empathy_lib.core.errors import UserError
from empathy_lib.core.paper import DIMENSIONS
from empathy_lib.human_eval.design import build_study, unblind, write_study
from empathy_lib.human_eval.instructions import DIMENSION_TEXTS, instructions
from empathy_lib.human_eval.ratings import read_ratings
from empathy_lib.human_eval.run.interchange import (
    label_studio_config,
    label_studio_tasks,
    read_answers,
    read_label_studio,
    sheets_csv,
    write_package,
)

SYSTEMS = ["base", "grpo", "sft"]
NASTY = '<script>alert("1")</script> & $post \'"]]> 你好\n第二行'
POSTS = {f"q{n}": f"{NASTY} {n}" for n in range(4)}


def study(**choice):
    answers = {
        item: {system: f"=1+1 {code} {NASTY}" for code, system in enumerate(SYSTEMS)} for item in POSTS
    }
    return build_study(answers, POSTS, raters=2, items=3, rng=np.random.default_rng(0), **choice)


def annotated(made):
    """The project's JSON export, in the shape that Label Studio documents: every rater ranks by the systems'
    names, the last two tied."""
    tasks = []
    for number, task in enumerate(label_studio_tasks(made), 1):
        data = task["data"]
        who = made.key[data["rater"]][data["item"]]
        order = sorted(who, key=who.get)
        value = {"ranker": {"rank_1": order[:1], "rank_2": order[1:], "rank_3": [], "_": []}}
        result = [
            {
                "id": f"r{number}",
                "from_name": name.lower(),
                "to_name": f"list_{name.lower()}",
                "type": "ranker",
                "value": value,
            }
            for name in DIMENSIONS
        ]
        note = {
            "id": "n",
            "from_name": "note",
            "to_name": "post",
            "type": "textarea",
            "value": {"text": ["x"]},
        }
        annotation = {
            "id": number,
            "completed_by": 1,
            "result": [*result, note],
            "was_cancelled": False,
            "ground_truth": False,
        }
        annotation |= {"lead_time": 60.5, "created_at": "2025-01-01T00:00:00Z", "task": number}
        tasks.append(
            {"id": number, **task, "annotations": [annotation], "predictions": [], "project": 1, "drafts": []}
        )
    return json.loads(json.dumps(tasks))


def written(tmp_path, tasks):
    path = tmp_path / "导出 export.json"
    path.write_text(json.dumps(tasks), encoding="utf-8")
    return path


@pytest.mark.parametrize("show_chain", [False, True])
def test_the_config_is_xml_whose_variables_the_tasks_fill(show_chain):
    made = study(show_chain=show_chain)
    view = ElementTree.fromstring(label_studio_config(made))
    named = {node.get("name"): node for node in view.iter() if node.get("name")}
    assert view.tag == "View" and len({node.get("name") for node in view.iter() if node.tag != "Bucket"}) > 8
    for dimension in DIMENSIONS:
        ranker = named[dimension.lower()]
        assert ranker.tag == "Ranker" and named[ranker.get("toName")].tag == "List"
        assert [bucket.get("name") for bucket in ranker] == ["rank_1", "rank_2", "rank_3"]
    used = {node.get("value")[1:] for node in view.iter() if (node.get("value") or "").startswith("$")}
    assert ("chain_A" in used) is show_chain
    for task in label_studio_tasks(made):
        assert used <= task["data"].keys()
        assert [item["id"] for item in task["data"]["items"]] == ["A", "B", "C"]
        assert not any(name in json.dumps(task) for name in [*SYSTEMS, "attention-check"])


def test_label_studio_round_trip(tmp_path):
    made = study(attention_checks=1)
    write_study(made, tmp_path)
    letters, skipped = read_label_studio(written(tmp_path, annotated(made)))
    assert skipped == {"textarea": 8} and set(letters["study"]) == {made.mark}
    assert (letters["seconds"] == 60.5).all() and len(letters) == 2 * 4 * 4 * 3
    ratings = unblind(letters, tmp_path / "key.json")
    plain = ratings[~ratings["system"].str.startswith("attention")]
    assert len(plain) == 2 * 3 * 4 * 3
    assert plain.groupby("system")["rank"].unique().map(list).to_dict() == {
        "base": [1.0],
        "grpo": [2.0],
        "sft": [2.0],
    }


def test_what_is_not_annotated_or_skipped_or_left_in_the_list_has_no_rank(tmp_path):
    tasks = annotated(study())
    tasks[0]["annotations"] = []
    tasks[1]["annotations"][0] |= {"was_cancelled": True, "lead_time": None}
    tasks[2]["annotations"][0]["result"][0]["value"]["ranker"] = {
        "rank_1": ["B"],
        "rank_3": ["A"],
        "_": ["C"],
    }
    del tasks[3]["annotations"][0]["lead_time"]
    letters, _ = read_label_studio(written(tmp_path, tasks))
    assert len(letters) == 4 * 4 * 3 - 1
    partly = letters[
        (letters["item"] == tasks[2]["data"]["item"])
        & (letters["rater"] == "rater-01")
        & (letters["dimension"] == "Fluency")
    ]
    assert dict(zip(partly["letter"], partly["rank"], strict=True)) == {"B": 1.0, "A": 3.0}
    assert math.isnan(letters.loc[letters["rater"] == "rater-02", "seconds"].iloc[0])


def change(place, value):
    """A fault: in the first task, what lies at ``place`` becomes ``value``."""

    def apply(tasks):
        target = tasks[0]
        for step in place[:-1]:
            target = target[step]
        target[place[-1]] = value
        return tasks

    return apply


RESULT = ("annotations", 0, "result", 0)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (lambda tasks: {"tasks": tasks}, "holds no list of tasks"),
        (lambda tasks: [], "holds no ranked reply"),
        (lambda tasks: [5], "task 1, rater ''"),
        (lambda tasks: [*tasks, tasks[0]], "task 7, rater 'rater-01': item 'q"),
        (
            lambda tasks: [tasks[0] | {"annotations": tasks[0]["annotations"] * 2}],
            "task 1, rater 'rater-01': item 'q",
        ),
        (change(("data", "items"), "A"), "task 1, rater 'rater-01': field 'data.items'"),
        (change(("annotations",), None), "field 'annotations'"),
        (change((*RESULT, "from_name"), "all"), "ranker 'all' is called what results call the mean"),
        (change((*RESULT, "from_name"), ""), "field 'from_name'"),
        (change(("data", "post"), "\ud83d"), "lone surrogate (\\ud83d)"),
        (
            change((*RESULT, "value"), {"ranker": {"rank_9": ["A"]}}),
            "rater 'rater-01', Fluency: bucket 'rank_9' is none of rank_1 to rank_3",
        ),
        (
            change((*RESULT, "value"), {"ranker": {"rank_1": ["Z"]}}),
            "Fluency: letter 'Z' is not on this sheet",
        ),
        (
            change((*RESULT, "value"), {"ranker": {"rank_1": ["A"], "rank_2": ["A"]}}),
            "letter 'A' is ranked twice",
        ),
        (change((*RESULT, "value"), {"ranker": "A"}), "Fluency: field 'ranker'"),
        (change((*RESULT, "value"), {"items": []}), "Fluency: field 'ranker'"),
    ],
)
def test_a_broken_export_is_named_with_task_and_rater(tmp_path, fault, says):
    path = written(tmp_path, fault(annotated(study())))
    with pytest.raises(UserError) as error:
        read_label_studio(path)
    assert says in str(error.value) and str(error.value).startswith(str(path)) and ";" in str(error.value)


def test_what_is_no_ranking_is_skipped_and_counted_and_a_ranker_of_one_s_own_is_a_dimension(tmp_path):
    tasks = annotated(study())
    relation = {"type": "relation", "from_id": "r1", "to_id": "r1", "direction": "right"}
    tasks[0]["annotations"][0]["result"] += [relation, {"type": "choices", "value": {"choices": ["x"]}}, {}]
    for task in tasks:
        task["annotations"][0]["result"][0]["from_name"] = "温度"
    letters, skipped = read_label_studio(written(tmp_path, tasks))
    assert skipped == {"relation": 1, "choices": 1, "without a type": 1, "textarea": 6}
    assert set(letters["dimension"]) == {"温度", *DIMENSIONS[1:]} and len(letters) == 2 * 3 * 4 * 3


@pytest.mark.parametrize("name", ["ratings.JSON", "ratings.Json", "评分 ratings", "ratings.txt"])
def test_an_export_is_known_by_its_suffix_in_any_case_or_by_its_beginning(tmp_path, name):
    path = tmp_path / name
    path.write_text("\ufeff " + json.dumps(annotated(study())), encoding="utf-8")
    assert len(read_answers(path)[0]) == 2 * 3 * 4 * 3
    (tmp_path / "s.CSV").write_text(sheets_csv(study()).replace(",,", ",1,"), encoding="utf-8")
    assert set(read_answers(tmp_path / "s.CSV")[0]["study"]) == {study().mark}


def test_no_export_and_no_json(tmp_path):
    with pytest.raises(UserError, match="no such file; export"):
        read_label_studio(tmp_path / "none.json")
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        read_label_studio(tmp_path / "x.json")


def test_a_filled_sheet_comes_back_and_formulas_do_not_run(tmp_path):
    made = study(attention_checks=1, show_chain=True)
    write_study(made, tmp_path)
    lines = list(csv.reader(sheets_csv(made).splitlines(keepends=True)))
    head = lines[0]
    texts = [line[head.index("text")] for line in lines[1:]]
    assert len(lines) == 1 + 2 * 4 * 4 * 3 and head[:5] == ["rater", "item", "dimension", "letter", "rank"]
    assert not any(text.startswith("=") for text in texts) and any(NASTY in text for text in texts)
    for line in lines[1:]:
        line[4] = "1" if line[3] == "A" else "2.5"
    with (tmp_path / "filled.csv").open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows(lines)
    letters = read_ratings(tmp_path / "filled.csv", blind=True)
    assert len(letters) == len(lines) - 1
    assert set(unblind(letters, tmp_path / "key.json")["system"]) > set(SYSTEMS)


def test_a_study_is_never_written_over(tmp_path):
    folder = write_package(study(), tmp_path / "研究")
    expected = {"study.jsonl", "key.json", "sheets.csv", "instructions.zh.md", "instructions.en.md"}
    assert {path.name for path in folder.iterdir()} == expected | {
        "label_studio_config.xml",
        "label_studio_tasks.json",
    }
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(UserError, match="exists and is not empty; give a new folder"):
        write_package(study(), folder)


def test_the_commands_from_completions_to_a_ranking(tmp_path, capsys):
    lines = [
        {"id": item, "system": system, "completion": f"{system}!"} for item in POSTS for system in SYSTEMS
    ]
    (tmp_path / "c.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    (tmp_path / "p.jsonl").write_text(
        "\n".join(json.dumps({"id": i, "question": q}) for i, q in POSTS.items()), encoding="utf-8"
    )

    def run(*words):
        app([str(word) for word in words], standalone_mode=False)
        return capsys.readouterr().out

    out = tmp_path / "study"
    options = ["--raters", 3, "--items", 4, "--checks", 1, "--items-per-rater", 2, "--systems-per-item", 2]
    shown = run("study", tmp_path / "c.jsonl", "--posts", tmp_path / "p.jsonl", "--out", out, *options)
    assert "3 raters, 3 posts, 3 systems: 9 sheets" in shown
    assert "posts held back for attention checks, which every rater gets: 1" in shown
    key = json.loads((out / "key.json").read_text(encoding="utf-8"))
    tasks = json.loads((out / "label_studio_tasks.json").read_text(encoding="utf-8"))
    for task in tasks:
        who = key[task["data"]["rater"]][task["data"]["item"]]
        order = sorted(who, key=who.get)
        if "attention-check:last" in who.values() or "attention-check:first" in who.values():
            order.sort(key=lambda letter: "beside" in who[letter])
        value = {"ranker": {f"rank_{place}": [letter] for place, letter in enumerate(order, 1)}}
        task["annotations"] = [
            {"result": [{"from_name": name.lower(), "type": "ranker", "value": value} for name in DIMENSIONS]}
        ]
    answers = written(tmp_path, tasks)
    shown = run("unblind", answers, "--key", out / "key.json", "--out", tmp_path / "r.csv")
    assert "72 ranks of 3 raters" in shown and "not checked" not in shown and "skipped" not in shown
    old = written(tmp_path / "study", [{**task, "data": {**task["data"], "study": ""}} for task in tasks])
    shown = run("unblind", old, "--key", out / "key.json", "--out", tmp_path / "old.csv")
    assert "not checked that answers and key are of one study" in shown
    assert (tmp_path / "old.csv").read_bytes() == (tmp_path / "r.csv").read_bytes()
    for interval in ("two-way", "bootstrap"):
        shown = run(
            "rank",
            tmp_path / "r.csv",
            "--out",
            tmp_path / "r.json",
            "--interval",
            interval,
            "--bootstrap",
            20,
        )
        assert "3 raters, 3 items" in shown and "attention checks passed: 3 of 3" in shown
    found = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert (
        set(found["all"]) == {*SYSTEMS, "pairwise", "groups"}
        and found["all"]["base"]["win_at_1"] == 1.0
        and found["all"]["sft"]["mean_rank"] == 3.0
    )
    with pytest.raises(UserError, match="--interval z"):
        run("rank", tmp_path / "r.csv", "--out", tmp_path / "r.json", "--interval", "z")


def test_instructions_name_every_dimension_and_a_way_out():
    for language, words in {
        "zh": ("12356", "随时", "没有标准答案"),
        "en": ("12356", "at any time", "no right answers"),
    }.items():
        text = instructions(language)
        assert all(word in text for word in words)
        for dimension in DIMENSIONS:
            shown = DIMENSION_TEXTS[language][dimension]
            assert shown.name in text and shown.question in text and shown.definition in text
    with pytest.raises(UserError, match="instructions in 'fr': not written; use one of en, zh"):
        instructions("fr")
