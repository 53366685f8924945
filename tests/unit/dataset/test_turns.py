"""A turn that holds several speakers' words is cut at their labels; what is told stays; what is unclear is
refused."""

import json

import pytest

from empathy_lib.core.config import DatasetConfig
from empathy_lib.dataset.sources import read_source
from empathy_lib.dataset.turns import Unclear, cut

POST = "我最近总是睡不好，白天也没有精神，工作老是出错。"
REPLY = "听起来你已经撑了很久，可以先把手机放到另一个房间，早点躺下。"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            f"{POST}支持者：{REPLY}求助者：试过了，没用。",
            [("client", POST), ("counselor", REPLY), ("client", "试过了，没用。")],
        ),
        (f"求助者: {POST}\n咨询师: {REPLY}", [("client", f" {POST}\n"), ("counselor", f" {REPLY}")]),
        (f"{POST} 【心理咨询师】：{REPLY}", [("client", f"{POST} "), ("counselor", REPLY)]),
        (f"来访者1：{POST}”倾听者：{REPLY}", [("client", f"{POST}”"), ("counselor", REPLY)]),
        ("求助者：" + POST, [("client", POST)]),
    ],
)
def test_a_turn_is_cut_at_its_labels(text, expected):
    assert [
        (side, part) for side, part, field in cut(("client", text, "0.content")) if field == "0.content"
    ] == expected


@pytest.mark.parametrize(
    "text",
    [
        "我在咨询里问过，他摇摇头。（咨询师：你自己都不知道，我怎么知道？）我更难受了。",
        "这种态度好像在告诉来访者：你是需要被我帮助的。",
        "他说：“支持者：你好”，我没有回。",
        "我问他：你怎么了？他答：没事。",
        "我找过一位咨询师，来访者很多。",
    ],
)
def test_what_is_told_is_no_turn(text):
    assert cut(("client", text, "0")) == [("client", text, "0")]


def test_labels_within_sentences_are_refused():
    with pytest.raises(Unclear, match="支持者：, 求助者："):
        cut(("client", "我睡不好支持者：你可以早点睡求助者：试过了", "0"))


def test_a_source_is_cut_and_counted_and_what_is_unclear_is_rejected(tmp_path):
    whole = [
        {"role": "client", "content": f"{POST}支持者：{REPLY}求助者：试过了，没用。"},
        {"role": "counselor", "content": "那我们慢慢来。"},
    ]
    unclear = [{"role": "client", "content": "我睡不好支持者：早点睡求助者：试过了"}, whole[1]]
    for name, dialogue in (("a", whole), ("b", unclear)):
        (tmp_path / f"{name}.json").write_text(json.dumps(dialogue, ensure_ascii=False), encoding="utf-8")
    reading = read_source(DatasetConfig(data=str(tmp_path), max_rejected_share=0.9), 1)
    (item,) = reading.items
    assert item.question == POST and item.references == [REPLY]
    assert reading.notes.turns_cut == 1 and any("1 turn(s)" in line for line in reading.remarks())
    (rejected,) = reading.rejected
    assert rejected.field == "0.content" and "labels of both sides" in rejected.reason
