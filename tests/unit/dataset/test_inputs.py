"""What users bring does not get lost: one small input for each kind of fault, and what it must give."""

import gzip
import json
import os
import zipfile

import pandas as pd
import pytest

from empathy_lib.core.config import DatasetConfig
from empathy_lib.core.errors import UserError
from empathy_lib.dataset.losses import advice, removed_most
from empathy_lib.dataset.sources import read_source, source_digest

POST, REPLY = "最近夜里总醒，白天没有力气。", "谢谢你说出来，先让自己歇一歇。"


def record(number, **more):
    return {"question": f"{POST}{number}", "answers": [{"answer_text": f"{REPLY}{number}"}], **more}


def put(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), encoding="utf-8"
    )
    return path


def read(path, **more):
    return read_source(DatasetConfig(data=str(path), **more), 1)


@pytest.mark.parametrize("layout", ["auto", "cpsycoun"])
def test_a_list_of_labelled_strings_is_one_dialogue_with_its_folders_topic(tmp_path, layout):
    for topic in ("家庭", "职场"):
        put(tmp_path / "数据 e" / topic / "1.json", [f"求助者：{POST}{topic}", f"支持者：{REPLY}"])
    both = read(tmp_path / "数据 e", format=layout).items
    assert sorted(item.topic for item in both) == ["家庭", "职场"] and len({item.id for item in both}) == 2
    (alone,) = read(tmp_path / "数据 e" / "家庭" / "1.json", format=layout).items
    assert (alone.topic, alone.question, alone.references) == ("家庭", f"{POST}家庭", [REPLY])


def test_ids_are_unique_over_files_and_stay(tmp_path):
    for name in ("a.json", "b.json", "sub/a.json", "a.jsonl"):
        put(tmp_path / name, [record(f"{name}{n}") for n in range(3)])
    first, again = (read(tmp_path) for _ in range(2))
    assert len({item.id for item in first.items}) == first.kept == 12 and first.lost == 0
    assert [item.id for item in first.items] == [item.id for item in again.items]


def test_ids_given_in_several_files_are_told_apart(tmp_path):
    for name in "ab":
        put(tmp_path / f"{name}.json", [record(f"{name}{n}", id=n) for n in range(3)])
    reading = read(tmp_path)
    assert reading.kept == 6 and {"0", "b:0"} <= {item.id for item in reading.items}
    assert "3 id(s)" in "\n".join(reading.remarks())


def test_what_stands_behind_a_break_is_not_one_answer(tmp_path):
    text = json.dumps([record(n) for n in range(30)], ensure_ascii=False, indent=0)
    path = put(tmp_path / "mid.json", text.replace(f'"question": "{POST}10"', f'"question" "{POST}10"'))
    with pytest.raises(UserError, match=r"at byte [\d,]+, record 11; nothing after.*6\d% of the file.*mend"):
        read(path)
    reading = read(path, max_rejected_share=1)
    assert reading.kept == 10 and 18 <= reading.lost <= 22


def test_a_csv_row_in_another_encoding_costs_itself(tmp_path):
    rows = [f"{POST}{n},{REPLY}{n}\n".encode("gb18030" if n == 7 else "utf-8") for n in range(20)]
    (tmp_path / "gb.csv").write_bytes(b"question,answer\n" + b"".join(rows))
    reading = read(tmp_path / "gb.csv")
    assert reading.kept == 19 and [r.line for r in reading.rejected] == [9]


def test_a_quote_that_is_never_closed_is_refused_with_its_line(tmp_path):
    rows = [f"{POST}{n},{chr(34) if n == 3 else ''}{REPLY}{n}\n" for n in range(10)]
    with pytest.raises(UserError, match=r"line 5: .*never closed"):
        read(put(tmp_path / "q.csv", "question,answer\n" + "".join(rows)))


def test_a_row_with_more_cells_than_columns_is_rejected(tmp_path):
    rows = [f"{POST}{n},{REPLY}{', 还有' if n == 3 else ''}\n" for n in range(20)]
    reading = read(put(tmp_path / "c.csv", "question,answer\n" + "".join(rows)))
    assert reading.kept == 19 and [(r.line, r.field) for r in reading.rejected] == [(5, "line")]
    assert "3 cell(s) where the header names 2" in reading.remarks()[0]


def test_efaqa_has_title_and_description(tmp_path):
    chats = [{"sender": "audience", "type": "textMessage", "value": REPLY}]
    path = put(tmp_path / "e.jsonl", json.dumps({"title": "难过", "description": POST, "chats": chats}))
    assert read(path).items[0].question == f"难过\n{POST}"


def test_odd_numbers_cost_nothing(tmp_path):
    text = json.dumps([record(0, n=2**63), record(1, n=float("nan")), record(2, n=7)])
    reading = read(put(tmp_path / "n.json", text.replace(" 7}", f" {'9' * 5000}}}")))
    assert (reading.kept, reading.lost) == (3, 0)


def test_hidden_unknown_and_broken_files_are_named_and_the_rest_is_read(tmp_path):
    root = tmp_path / "d"
    for n in range(3):
        put(root / f"{n}.json", [record(n)])
    put(root / ".ipynb_checkpoints" / "1-checkpoint.json", [record(9)])
    put(root / "__MACOSX" / "x.json", [record(9)])
    put(root / "x.json" / "in.json", [record(4)])
    put(root / "notes.xlsx", "x")
    (root / "gone.json").symlink_to(tmp_path / "nowhere")
    (root / "circle").symlink_to(root)
    pd.DataFrame({"question": [f"{POST}p"], "answer": [REPLY]}).to_parquet(
        put(root / "p.parquet" / "a", "").parent / "0.parquet"
    )
    with open(os.fsencode(root) + b"/\xb1\xe0.json", "w", encoding="utf-8") as handle:
        json.dump([record(5)], handle)
    reading = read(root)
    assert (reading.kept, reading.lost) == (6, 0)
    lines = "\n".join(reading.remarks())
    for words in (
        "2 hidden",
        "notes.xlsx",
        "gone.json: is a link to nothing",
        "circle",
        "x.json is a folder",
        "no UTF-8",
    ):
        assert words in lines
    assert {entry["file"] for entry in reading.notes.not_read} >= {"notes.xlsx", "gone.json", "circle"}
    before = source_digest(DatasetConfig(data=str(root)))
    put(root / ".DS_Store", "x")
    assert source_digest(DatasetConfig(data=str(root))) == before


def test_a_parquet_file_loses_the_broken_group_alone_and_counts_it(tmp_path):
    path = tmp_path / "c.parquet"
    pd.DataFrame(
        {"question": [f"{POST}{n}" for n in range(40)], "answer": [f"{REPLY}{n}" for n in range(40)]}
    ).to_parquet(path, row_group_size=10)
    data = bytearray(path.read_bytes())
    data[60:160] = b"\xff" * 100
    path.write_bytes(data)
    reading = read(path, max_rejected_share=0.5)
    assert (reading.kept, reading.lost) == (30, 10)


@pytest.mark.parametrize("indent", [None, 1])
def test_a_list_in_a_jsonl_file_is_read_as_json(tmp_path, indent):
    text = json.dumps([record(n) for n in range(20)], indent=indent)
    assert read(put(tmp_path / "l.jsonl", text)).kept == 20


def test_packed_files_are_read(tmp_path):
    root = tmp_path / "d"
    root.mkdir()
    lines = "\n".join(json.dumps(record(n)) for n in range(3))
    (root / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (root / "b.csv.gz").write_bytes(gzip.compress(f"question,answer\n{POST}c,{REPLY}\n".encode()))
    with zipfile.ZipFile(root / "c.zip", "w") as archive:
        archive.writestr("家庭/1.json", json.dumps([f"求助者：{POST}z", f"支持者：{REPLY}"]))
        archive.writestr("__MACOSX/._1.json", "x")
    reading = read(root)
    assert (reading.kept, reading.lost) == (5, 0) and "家庭" in {item.topic for item in reading.items}
    assert read(root / "c.zip").kept == 1
    (root / "a.jsonl.gz").write_bytes((root / "a.jsonl.gz").read_bytes()[:-20])
    with pytest.raises(UserError, match=r"a.jsonl.gz.*cannot be read on"):
        read(root / "a.jsonl.gz")


def test_blank_rows_further_answers_and_scalars(tmp_path):
    blank = read(put(tmp_path / "b.csv", f"question,answer\n{POST},{REPLY}\n" + ",\n" * 5))
    assert (blank.kept, blank.lost) == (1, 0) and "5 blank row(s)" in blank.remarks()[0]
    multi = read(
        put(tmp_path / "m.csv", "id,question,answer\n" + "".join(f"0,{POST},{REPLY}{n}\n" for n in range(3)))
    )
    assert [len(item.answers) for item in multi.items] == [3] and multi.lost == 0
    mixed = [record(0, keywords=[None, 5]), record(1, id=0), {**record(2), "answers": [REPLY]}]
    mixed += [{"question": POST, "answer": REPLY, "topic": 3, "id": 0.5}]
    reading = read(put(tmp_path / "x.jsonl", "\n".join(json.dumps(value) for value in mixed)))
    assert (reading.kept, reading.lost) == (4, 0)
    assert [item.topic for item in reading.items] == ["5", "", "", "3"] and reading.items[1].id == "0"


def test_turns_may_have_brackets_and_any_order(tmp_path):
    turns = [{"content": f"[一些]{{事}}{POST}", "role": "client"}, {"content": REPLY, "role": "counselor"}]
    assert read(put(tmp_path / "24.json", turns)).items[0].references == [REPLY]


def test_deep_nesting_is_one_line(tmp_path):
    with pytest.raises(UserError, match="nested too deeply") as error:
        read(put(tmp_path / "deep.json", "[" * 20_000 + "]" * 20_000))
    assert "\n" not in str(error.value)


def test_hub_splits_and_configurations(monkeypatch):
    import datasets

    rows = {"train": [record("a")], "test": [record("b")]}
    asked = []
    monkeypatch.setattr(datasets, "load_dataset", lambda *names, streaming: asked.append(names) or rows)
    reading = read("hf:owner/name:zh")
    assert asked == [("owner/name", "zh")] and reading.kept == 2 and reading.lost == 0

    def broken(*names, streaming):
        def stream():
            yield record("a")
            raise TypeError("Couldn't cast array of type string to null")

        return {"train": stream()}

    monkeypatch.setattr(datasets, "load_dataset", broken)
    with pytest.raises(UserError, match=r"Couldn't cast.*give the folder"):
        read("hf:owner/name")


def test_the_rule_that_removed_most_is_named_with_its_setting():
    loss = removed_most({"short answer": 64, "advertisement": 2}, 100, DatasetConfig(), {"smile": 1})
    for words in ("short answer", "64%", "dataset.min_answer_chars (now 100)", "joined", "rules_off"):
        assert words in advice(loss)
    assert advice(removed_most({"advertisement": 2}, 100, DatasetConfig(), {})) == ""
    assert removed_most({"advertisement": 0}, 100, DatasetConfig(), {}) is None


def test_a_dataset_written_below_its_source_is_no_source_of_the_next(tmp_path):
    put(tmp_path / "a.json", [record(n) for n in range(3)])
    put(tmp_path / "out.building" / "request.txt", "x")
    for name in ("manifest.json", "report.json", "rejected.jsonl", "funnel.csv"):
        put(tmp_path / "out" / name, "")
    put(tmp_path / "out" / "train.jsonl", json.dumps(record(9)))
    reading = read(tmp_path)
    assert (reading.kept, reading.lost) == (3, 0) and "out: is a dataset" in "\n".join(reading.remarks())
    assert read(tmp_path / "out").kept == 1
