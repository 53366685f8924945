"""Every layout is read as documented; every fault is one line with file, place and remedy."""

import json
from pathlib import Path

import pytest

from empathy_lib.core.config import DatasetConfig
from empathy_lib.core.errors import UserError
from empathy_lib.core.schema import Answer, Item, write_jsonl
from empathy_lib.dataset import records
from empathy_lib.dataset.layouts import LAYOUTS
from empathy_lib.dataset.sources import read_source, source_digest

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
    path.write_text(
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), encoding="utf-8"
    )
    return DatasetConfig(data=str(path))


def test_psyqa(tmp_path):
    first, second = read_source(write(tmp_path / "psyqa.json", PSYQA), 1).items
    assert first.question == "工作压力大怎么办？\n最近常常加班，睡不着。"
    assert (first.topic, first.subtopic, first.references) == ("职场", "压力", ["抱抱你。", "先休息。"])
    assert (second.question, second.topic, second.subtopic, second.answers) == (
        "和妈妈吵架了",
        "家庭",
        "母女",
        [],
    )
    assert (first.source, first.coe_origin, first.id != second.id) == ("psyqa:psyqa.json", "", True)


def test_smile_takes_first_post_and_first_reply(tmp_path):
    (tmp_path / "smile").mkdir()
    write(tmp_path / "smile" / "7.json", DIALOGUE)
    write(tmp_path / "smile" / "8.json", [{"role": "client", "content": "没有人回我。"}])
    answered, alone = read_source(DatasetConfig(data=str(tmp_path / "smile")), 1).items
    assert (answered.id, answered.question, answered.references) == (
        "smile-7",
        "我很难过。\n不知道和谁说。",
        ["谢谢你告诉我。\n我在听。"],
    )
    assert alone.answers == []
    assert answered.source == "smile:smile"


def test_one_dialogue_is_a_source(tmp_path):
    assert len(read_source(write(tmp_path / "d.json", DIALOGUE), 1).items) == 1


def test_own_jsonl_keeps_its_fields_and_is_told_from_synthetic(tmp_path):
    item = Item(id="1", question="怎么办", answers=[Answer(text="慢慢来")], topic="职场")
    write_jsonl([item], tmp_path / "own.jsonl")
    assert list(read_source(DatasetConfig(data=str(tmp_path / "own.jsonl")), 1).items) == [
        item.model_copy(update={"source": "schema:own.jsonl"})
    ]


def test_a_byte_order_mark_is_no_fault(tmp_path):
    (tmp_path / "bom.json").write_text(json.dumps(PSYQA), encoding="utf-8-sig")
    assert len(read_source(DatasetConfig(data=str(tmp_path / "bom.json")), 1).items) == 2


def test_at_most_questions_items_seeded_in_order(tmp_path):
    config = write(tmp_path / "many.json", [{**PSYQA[1], "question": f"问题{i:03d}"} for i in range(50)])
    config.questions = 10
    one, two, other = (read_source(config, seed).items for seed in (1, 1, 2))
    assert len(one) == 10
    assert list(one) == list(two) != list(other)
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
        ("alien.json", [{"talk": []}], ["alien.json", "record 1", "talk", "PsyQA"]),
        ("type.json", [PSYQA[0], {**PSYQA[1], "answers": "none"}], ["type.json", "record 2", "answers"]),
        ("number.json", [{**PSYQA[0], "question": 3}], ["number.json", "record 1", "question"]),
        ("text.json", [{**PSYQA[0], "answers": [{"text": "x"}]}], ["text.json", "answers.0.answer_text"]),
        ("blank.json", [{**PSYQA[0], "question": "  "}], ["blank.json", "record 1", "question", "empty"]),
        ("mixed.json", [PSYQA[0], 3], ["mixed.json", "record 2"]),
        (
            "role.json",
            [{"role": "user", "content": "x"}],
            ["role.json", "0.role", "use one of client, counselor"],
        ),
        ("turn.json", [{"role": "client", "content": None}], ["turn.json", "0.content", "must be text"]),
        ("silent.json", [{"role": "client", "content": " "}], ["silent.json", "content"]),
        ("reply.json", [{"role": "counselor", "content": "x"}], ["reply.json", "client"]),
        (
            "schema.jsonl",
            '{"id": "1", "question": "", "answers": []}',
            ["schema.jsonl", "line 1", "question"],
        ),
        ("unknown.xml", "<a/>", [".xml", ".jsonl"]),
        ("columns.csv", "a,b\n1,2\n", ["columns.csv", "line 2", "a, b"]),
        (
            "twice.jsonl",
            "".join(f'{{"id": "1", "question": "{post}", "answers": []}}\n' for post in "ab"),
            ["twice.jsonl", "line 2", "id"],
        ),
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
    with pytest.raises(UserError, match=r"holds no \.json, \.jsonl"):
        read_source(DatasetConfig(data=str(tmp_path)), 1)
    (tmp_path / "gb.json").write_bytes(json.dumps(PSYQA, ensure_ascii=False).encode("gb18030"))
    with pytest.raises(UserError, match="UTF-8"):
        read_source(DatasetConfig(data=str(tmp_path / "gb.json")), 1)


POST, REPLY = "我最近总是睡不着，" * 8, "谢谢你愿意把这些说出来。" * 10
GREETED = [("你好", "你好，请说。"), (POST, "能再多说一点吗？"), ("他们都不理我。", REPLY)]
CHATS = [
    {"sender": "audience", "type": "textMessage", "value": REPLY},
    {"sender": "owner", "type": "textMessage", "value": "谢谢"},
]


def chat(side: str, text: str, user: str, helper: str) -> list[dict]:
    return [
        {side: name, text: value}
        for pair in GREETED
        for name, value in zip((user, helper), pair, strict=True)
    ]


SAMPLES = {
    "schema": ("s.jsonl", {"id": "1", "question": POST, "answers": [{"text": REPLY}]}),
    "psyqa": ("s.json", [{"question": POST, "answers": [{"answer_text": REPLY}]}]),
    "row": ("s.csv", f"id,question,answer,topic\n7,{POST},{REPLY},职场\n"),
    "smile": ("s.json", [{"role": "client", "content": POST}, {"role": "counselor", "content": REPLY}]),
    "cpsycoun": ("s.txt", f"来访者：{POST}\n\n心理咨询师：{REPLY}\n\n来访者：谢谢。"),
    "emollm": ("s.json", [{"conversation": [{"system": "x", "input": POST, "output": REPLY}]}]),
    "messages": (
        "s.json",
        [{"messages": [{"role": "user", "content": POST}, {"role": "assistant", "content": REPLY}]}],
    ),
    "efaqa": ("s.jsonl", {"title": POST, "label": {"s1": "1.13"}, "chats": CHATS}),
}


def test_every_layout_has_a_sample():
    assert SAMPLES.keys() == LAYOUTS.keys()


@pytest.mark.parametrize("layout", SAMPLES)
@pytest.mark.parametrize("given", [True, False])
def test_layouts_are_told_from_their_content(tmp_path, layout, given):
    name, content = SAMPLES[layout]
    config = write(tmp_path / name, content)
    config.format = layout if given else "auto"
    reading = read_source(config, 1)
    assert [(item.question, item.references) for item in reading.items] == [(POST, [REPLY])]
    assert (reading.layouts, reading.rejected, reading.read) == ({layout: 1}, [], 1)


def test_parquet_and_sharegpt(tmp_path):
    import pandas as pd

    pd.DataFrame({"question": [POST], "answer": [REPLY], "topic": ["职场"]}).to_parquet(
        tmp_path / "rows.parquet"
    )
    (item,) = read_source(DatasetConfig(data=str(tmp_path / "rows.parquet")), 1).items
    assert (item.question, item.topic, item.references) == (POST, "职场", [REPLY])
    (item,) = read_source(
        write(tmp_path / "gpt.json", [{"conversations": chat("from", "value", "human", "gpt")}]), 1
    ).items
    assert (item.question, item.references) == ("你好", ["你好，请说。"])


def test_joined_turns_skip_the_counsellors_questions(tmp_path):
    config = write(tmp_path / "joined.json", [{"messages": chat("role", "content", "user", "assistant")}])
    config.dialogue_turns = "joined"
    (item,) = read_source(config, 1).items
    assert (item.question, item.references) == (f"你好\n{POST}\n他们都不理我。", [REPLY])
    config.min_answer_chars = (
        10_000  # no reply is that long: the first pair is taken, and left to the cleaning rules
    )
    assert read_source(config, 1).items[0].references == ["你好，请说。"]


def test_bad_records_are_rejected_and_the_others_go_through(tmp_path):
    good = [
        json.dumps({"question": f"{POST}{i}", "answers": [{"answer_text": REPLY}] * 2}, ensure_ascii=False)
        for i in range(40)
    ]
    bad = ["{", json.dumps({"question": POST, "answers": 3}), "x" * (records.MAX_RECORD_BYTES + 1)]
    bad.append(
        json.dumps(
            {
                "question": POST,
                "answers": [{"answer_text": REPLY}, {"answer_text": 5}, {"answer_text": "锟斤拷"}],
            }
        )
    )
    bad.append('{"question": "\\ud800", "answers": [{"answer_text": "a"}, {"answer_text": "b"}]}')
    reading = read_source(write(tmp_path / "mixed 数据.jsonl", "\n".join([*good, *bad])), 1)
    assert len(reading.items) == 41 and reading.kept == 81
    found = [(r.line, r.field, r.answers) for r in reading.rejected]
    expected = [(41, "line", 1), (42, "answers", 1), (43, "line", 1)]
    expected += [(44, "answers.1.answer_text", 1), (44, "answers.2.answer_text", 1), (45, "question", 2)]
    assert found == expected
    assert reading.read == reading.kept + reading.lost == 88
    assert all(r.file.endswith("mixed 数据.jsonl") for r in reading.rejected)


def test_a_cut_file_keeps_what_came_before_the_cut(tmp_path):
    whole = json.dumps(
        [{**PSYQA[0], "question": f"{POST}{i}"} for i in range(20)], ensure_ascii=False, indent=0
    )
    reading = read_source(write(tmp_path / "cut.json", whole[: whole.index(f"{POST}19")]), 1)
    assert len(reading.items) == 19 and "nothing after it could be read" in reading.rejected[0].reason


def test_too_many_rejected_stop_with_a_summary(tmp_path):
    config = write(tmp_path / "half.json", [PSYQA[0], 3, {"alien": 1}])
    with pytest.raises(
        UserError, match=r"record 2.*1 other reason.*2 of 4 answers \(50%\).*max_rejected_share=0.1"
    ):
        read_source(config, 1)
    config.max_rejected_share = 0.5
    assert len(read_source(config, 1).items) == 1


def test_hub_layout_by_id(tmp_path):
    write(tmp_path / "data.jsonl", SAMPLES["psyqa"][1][0])
    (item,) = read_source(DatasetConfig(data=f"hf:{tmp_path}"), 1).items
    assert item.references == [REPLY]


def test_unreachable_hub_is_one_line(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="hf:nobody/nothing: cannot be read"):
        read_source(DatasetConfig(data="hf:nobody/nothing"), 1)
