"""Every layout is read as documented; every fault is one line with file, place and remedy."""

import json
from pathlib import Path

import pytest

from empathy_lib.config import DatasetConfig
from empathy_lib.empathy_qa.schema import Answer, Item, write_jsonl
from empathy_lib.empathy_qa.sources import read_source, source_digest
from empathy_lib.errors import UserError

PSYQA = [
    {
        "question": "工作压力大怎么办？",
        "description": "最近常常加班，睡不着。",
        "keywords": "职场,压力,情绪",
        "answers": [{"answer_text": "抱抱你。", "has_label": False}, {"answer_text": "先休息。"}],
    },
    {"question": "和妈妈吵架了", "description": "", "keywords": ["家庭", "母女"], "answers": []},
]
DIALOGUE = [
    {"role": "counselor", "content": "你好，请说。"},
    {"role": "client", "content": "我很难过。", "annotation": []},
    {"role": "client", "content": "不知道和谁说。"},
    {"role": "counselor", "content": "谢谢你告诉我。"},
    {"role": "counselor", "content": "我在听。"},
    {"role": "client", "content": "谢谢。"},
    {"role": "counselor", "content": "再见。"},
]


def write(path: Path, value) -> DatasetConfig:
    path.write_text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return DatasetConfig(data=str(path))


def test_psyqa(tmp_path):
    first, second = read_source(write(tmp_path / "psyqa.json", PSYQA), 1)
    assert first.question == "工作压力大怎么办？\n最近常常加班，睡不着。"
    assert (first.topic, first.subtopic, first.references) == ("职场", "压力", ["抱抱你。", "先休息。"])
    assert (second.question, second.topic, second.subtopic, second.answers) == ("和妈妈吵架了", "家庭", "母女", [])
    assert (first.source, first.coe_origin, first.id != second.id) == ("psyqa:psyqa.json", "", True)


def test_smile_takes_first_post_and_first_reply(tmp_path):
    (tmp_path / "smile").mkdir()
    write(tmp_path / "smile" / "7.json", DIALOGUE)
    write(tmp_path / "smile" / "8.json", [{"role": "client", "content": "没有人回我。"}])
    answered, alone = read_source(DatasetConfig(data=str(tmp_path / "smile")), 1)
    assert (answered.id, answered.question, answered.references) == ("smile-7", "我很难过。\n不知道和谁说。", ["谢谢你告诉我。\n我在听。"])
    assert alone.answers == []
    assert answered.source == "smile:smile"


def test_one_dialogue_is_a_source(tmp_path):
    assert len(read_source(write(tmp_path / "d.json", DIALOGUE), 1)) == 1


def test_own_jsonl_keeps_its_fields_and_is_told_from_synthetic(tmp_path):
    item = Item(id="1", question="怎么办", answers=[Answer(text="慢慢来")], topic="职场")
    write_jsonl([item], tmp_path / "own.jsonl")
    assert read_source(DatasetConfig(data=str(tmp_path / "own.jsonl")), 1) == [item.model_copy(update={"source": "jsonl:own.jsonl"})]


def test_a_byte_order_mark_is_no_fault(tmp_path):
    (tmp_path / "bom.json").write_text(json.dumps(PSYQA), encoding="utf-8-sig")
    assert len(read_source(DatasetConfig(data=str(tmp_path / "bom.json")), 1)) == 2


def test_at_most_questions_items_seeded_in_order(tmp_path):
    config = write(tmp_path / "many.json", [{**PSYQA[1], "question": f"问题{i:03d}"} for i in range(50)])
    config.questions = 10
    one, two, other = (read_source(config, seed) for seed in (1, 1, 2))
    assert len(one) == 10
    assert one == two != other
    assert [i.question for i in one] == sorted(i.question for i in one)


def test_digest_follows_the_file(tmp_path):
    config = write(tmp_path / "a.json", PSYQA)
    before = source_digest(config)
    assert source_digest(config) == before
    write(tmp_path / "a.json", PSYQA[:1])
    assert source_digest(config) != before


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.json", "", ["empty.json", "empty"]),
        ("empty.jsonl", "\n", ["empty.jsonl", "empty"]),
        ("broken.json", '[\n{"question": ]', ["broken.json", "line 2", "JSON"]),
        ("broken.jsonl", '{"id": "1"', ["broken.jsonl", "line 1", "JSON"]),
        ("object.json", {"a": 1}, ["object.json", "PsyQA"]),
        ("nothing.json", [], ["nothing.json", "PsyQA"]),
        ("list.json", ["a"], ["list.json", "PsyQA"]),
        ("alien.json", [{"conversation": []}], ["alien.json", "record 1", "conversation", "PsyQA"]),
        ("type.json", [PSYQA[0], {**PSYQA[1], "answers": "none"}], ["type.json", "record 2", "answers"]),
        ("number.json", [{**PSYQA[0], "question": 3}], ["number.json", "record 1", "question"]),
        ("text.json", [{**PSYQA[0], "answers": [{"text": "x"}]}], ["text.json", "answers.0.answer_text"]),
        ("blank.json", [{**PSYQA[0], "question": "  "}], ["blank.json", "record 1", "question", "empty"]),
        ("mixed.json", [PSYQA[0], 3], ["mixed.json", "record 2"]),
        ("role.json", [{"role": "user", "content": "x"}], ["role.json", "record 1", "role"]),
        ("turn.json", [{"role": "client", "content": None}], ["turn.json", "record 1", "content"]),
        ("silent.json", [{"role": "client", "content": " "}], ["silent.json", "content"]),
        ("reply.json", [{"role": "counselor", "content": "x"}], ["reply.json", "client"]),
        ("schema.jsonl", '{"id": "1", "question": "", "answers": []}', ["schema.jsonl", "line 1", "question"]),
        ("unknown.csv", "a,b", [".csv", ".jsonl"]),
        ("twice.jsonl", '{"id": "1", "question": "a", "answers": []}\n' * 2, ["twice.jsonl", "record 2", "id"]),
    ],
)
def test_faults(tmp_path, name, content, words):
    with pytest.raises(UserError) as error:
        read_source(write(tmp_path / name, content), 1)
    message = str(error.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


def test_missing_path_empty_folder_and_wrong_encoding(tmp_path):
    with pytest.raises(UserError, match=r"no such file.*synthetic"):
        read_source(DatasetConfig(data=str(tmp_path / "none")), 1)
    with pytest.raises(UserError, match=r"no \.json file"):
        read_source(DatasetConfig(data=str(tmp_path)), 1)
    (tmp_path / "gb.json").write_bytes(json.dumps(PSYQA, ensure_ascii=False).encode("gb18030"))
    with pytest.raises(UserError, match="UTF-8"):
        read_source(DatasetConfig(data=str(tmp_path / "gb.json")), 1)
