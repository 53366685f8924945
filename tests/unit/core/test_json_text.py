"""JSON that people hand in: every fault is one line with its place and remedy."""

import pytest

from empathy_lib.core.completions import read_completions, read_posts
from empathy_lib.core.errors import UserError
from empathy_lib.core.json_text import decode, nearest_name, parse_json
from empathy_lib.core.schema import read_jsonl


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (r'{"a": {"b": ["x", "\ud83d!"]}}', r"f: field 'a.b.1': holds a lone surrogate (\ud83d)"),
        (r'["\ude00"]', r"field '0': holds a lone surrogate (\ude00)"),
        (r'"\ud83d"', "field 'record': holds a lone surrogate"),
        (r'{"\ud83d": 1}', r"field '\ud83d': holds a lone surrogate"),
        ("{", "f: not valid JSON"),
        ("{\n\n", "in line 3); mend it"),
        ("[" * 30_000, "nested too deep"),
        ("9" * 5000, "holds an integer of thousands of digits; write it as text"),
    ],
)
def test_a_fault_is_one_line(text, says):
    with pytest.raises(UserError) as error:
        parse_json(text, "f", "mend it")
    assert says in str(error.value) and "\n" not in str(error.value) and ";" in str(error.value)
    str(error.value).encode()  # what is said of half a character can be printed


def test_whole_characters_are_read_escaped_or_not():
    assert parse_json(r'["\ud83d\ude00", "\\ud83d", "😀"]', "f", "") == ["😀", "\\ud83d", "😀"]
    assert decode("\ufeff你".encode(), "f") == "你"
    with pytest.raises(UserError, match=r"f: not UTF-8 text \(byte 3\); save"):
        decode(b"ab\xff", "f")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("reference", "references"),
        ("Completion", "completion"),
        ("sytem", "system"),
        ("ID", "id"),
        ("i_d", "id"),
        ("quest", "question"),
        ("ids", None),
        ("code", None),
        ("position", None),
        ("reference_id", None),
        ("参考", None),
        ("", None),
    ],
)
def test_nearest_name(name, meant):
    assert nearest_name(name, ["id", "system", "completion", "references", "question", "coe"]) == meant


@pytest.mark.parametrize(
    ("read", "line"),
    [
        (read_completions, r'{"id": "0", "system": "b", "completion": "\ud83d…"}'),
        (read_posts, r'{"id": "0", "question": "\ud83d…"}'),
        (read_posts, r'{"id": "0", "question": "x", "note": "\ud83d…"}'),
        (read_jsonl, r'{"id": "0", "question": "x", "answers": [{"text": "\ud83d…"}]}'),
    ],
)
def test_every_reader_of_lines_names_half_a_character(tmp_path, read, line):
    path = tmp_path / "文 件.jsonl"
    path.write_text(line, encoding="utf-8")
    with pytest.raises(UserError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}, line 1: field '") and "lone surrogate" in str(error.value)
