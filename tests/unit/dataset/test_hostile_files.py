"""Files that mean harm: archives without end, records that cost quadratic time, bytes that are no text. Each
gives a clear error or a counted rejection, soon, and touches nothing but the file itself."""

import codecs
import gzip
import json
import zipfile

import pandas as pd
import pytest

from empathy_lib.core.config import DatasetConfig
from empathy_lib.core.errors import UserError
from empathy_lib.dataset import files, records, sources
from empathy_lib.dataset.files import Notes
from empathy_lib.dataset.reading import path_records
from empathy_lib.dataset.sources import read_source

POST, REPLY = "最近夜里总醒，白天没有力气。", "谢谢你说出来，先让自己歇一歇。"
GOOD = {"question": POST, "answer": REPLY}
LINE = json.dumps(GOOD, ensure_ascii=False).encode() + b"\n"


def read(path, **more):
    return read_source(DatasetConfig(data=str(path), **more), 1)


def put(path, data):
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def zipped(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


@pytest.fixture
def small(monkeypatch):
    """The bound on what may be unpacked unchecked, as small as the tests' files."""
    monkeypatch.setattr(files, "UNCHECKED", 1 << 20)


BOMB = b" " * (8 << 20)
TEXT = b'"' + b"a" * 1_000 + b'"'
LINES, LIST = (TEXT + b"\n") * 8_000, b"[" + (TEXT + b",") * 8_000


@pytest.mark.parametrize("data", [BOMB, LINES, LIST], ids=["one line", "lines", "list"])
@pytest.mark.parametrize("name", ["b.jsonl.gz", "b.json.gz", "b.csv.gz", "b.txt.gz"])
def test_a_packed_file_that_unpacks_without_end_is_refused(tmp_path, small, monkeypatch, name, data):
    monkeypatch.setattr(sources, "HOPELESS", 1 << 30)
    monkeypatch.setattr(records, "MAX_JSON_CHARS", 1 << 30)
    path = put(tmp_path / name, gzip.compress(data))
    with pytest.raises(
        UserError, match=rf"{name}: [\d,]+ bytes unpack to more than [\d,]+, over 200 .*unpack"
    ):
        read(path, max_rejected_share=1)


def test_a_zip_counts_all_its_members_together_and_a_member_in_any_method(tmp_path, small):
    half = b" " * (700 << 10)
    assert len(list(path_records(zipped(tmp_path / "one.zip", [("a.jsonl", half)])))) == 0
    for number, members in enumerate(([("a.jsonl", half), ("b.jsonl", half)], [("a.parquet", BOMB)])):
        for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
            path = zipped(tmp_path / f"{number}{method}.zip", members, method)
            with pytest.raises(UserError, match=r"\.zip: .*unpack to more than"):
                read(path)


def test_members_that_share_their_bytes_are_counted_each(tmp_path, small):
    """The central directory names one packed member many times."""
    path = tmp_path / "over.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jsonl", b" " * (300 << 10))
        archive.filelist = archive.filelist * 8
    with pytest.raises(UserError, match="unpack to more than"):
        read(path)


def test_what_compresses_as_texts_do_is_read_whatever_its_size(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "UNCHECKED", 1_000)
    lines = b"".join(json.dumps({**GOOD, "id": str(n * 7919 % 100_003)}).encode() + b"\n" for n in range(400))
    assert read(put(tmp_path / "a.jsonl.gz", gzip.compress(lines))).kept == 400
    members = [(f"{n}.jsonl", lines[:2_000].rpartition(b"\n")[0]) for n in range(40)]
    assert read(zipped(tmp_path / "a.zip", members)).lost == 0


def test_the_members_of_an_archive_are_never_written_whatever_they_are_called(tmp_path):
    names = ["/etc/evil.jsonl", "../../evil.jsonl", "a/../../evil.jsonl", "C:\\evil.jsonl", "."]
    (tmp_path / "deep").mkdir()
    path = zipped(tmp_path / "deep" / "names.jsonl.zip", [(name, LINE) for name in names])
    before = sorted(tmp_path.rglob("*"))
    notes = Notes()
    found = list(path_records(path, notes))
    assert sorted(tmp_path.rglob("*")) == before
    assert [str(record.file) for record in found] == [f"{path}/etc/evil.jsonl", f"{path}/C:\\evil.jsonl"]
    assert all("evil" in name for name in notes.hidden) and len(notes.hidden) == 2
    alone = zipped(tmp_path / "x.jsonl.zip", [(".", LINE)])
    assert [record.value for record in path_records(alone)] == [GOOD]


def test_thousands_of_members_are_read(tmp_path):
    path = zipped(tmp_path / "many.zip", [(f"{n}.json", LINE) for n in range(3_000)], zipfile.ZIP_STORED)
    assert len(list(path_records(path))) == 3_000


def test_a_zip_with_any_byte_changed_is_an_error_or_read(tmp_path):
    whole = zipped(tmp_path / "w.zip", [("帖.jsonl", LINE)], zipfile.ZIP_LZMA).read_bytes()
    for place in range(len(whole)):
        data = bytearray(whole)
        data[place] ^= 0xFF
        with_fault = put(tmp_path / "f.zip", bytes(data))
        try:
            assert list(path_records(with_fault))
        except UserError as error:
            assert "f.zip" in str(error)


def test_a_parquet_file_that_lies_is_an_error_or_read(tmp_path):
    path = tmp_path / "p.parquet"
    pd.DataFrame([GOOD] * 3).to_parquet(path)
    whole = path.read_bytes()
    for place in range(len(whole) - 400, len(whole), 5):
        data = bytearray(whole)
        data[place] ^= 0xFF
        list(path_records(put(path, bytes(data))))


def test_a_parquet_file_of_equal_rows_without_end_is_refused(tmp_path, small):
    path = tmp_path / "same.parquet"
    pd.DataFrame({"question": [POST * 20] * 20_000, "answer": REPLY}).to_parquet(path)
    with pytest.raises(UserError, match=r"same\.parquet: .*unpack to more than"):
        read(path)


def test_a_date_that_python_cannot_hold_costs_its_group(tmp_path):
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "d.parquet"
    far = pyarrow.array([2**60, 1, 2], pyarrow.int64()).cast(pyarrow.timestamp("ms"))
    columns = {"question": [POST] * 3, "answer": [REPLY] * 3, "at": far}
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    with pytest.raises(UserError, match=r"d\.parquet.*is no whole Parquet file.*3 of 3 answers"):
        read(path)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.json", "[" + "1," * 50_000 + "1]"),
        ("big first.json", '["' + "a" * 4_000_000 + '"' + ",1" * 50_000 + "]"),
        ("blank lines.json", json.dumps(["\n" * 400_000])),
        ("lines of one dialogue.txt", "\n" * 900_000),
        ("answers of one post.jsonl", "".join(json.dumps({**GOOD, "id": "1"}) + "\n" for _ in range(5_000))),
        (
            "one id for ever.jsonl",
            LINE.decode()
            + "".join(
                json.dumps({"question": f"{n}", "answer": REPLY, "id": "row-000001"}) + "\n"
                for n in range(5_000)
            ),
        ),
        ("cells.csv", "question,answer\n" + "," * 3_000_000),
        ("quote.csv", 'question,answer\n"' + "\n" * 900_000),
        ("deep.jsonl", "[" * 900_000),
        ("open.json", '{"a":' * 300_000),
    ],
)
def test_what_would_take_quadratic_time_does_not(tmp_path, name, data):
    """Each took minutes to days: were it so again, this would not end."""
    path = put(tmp_path / name, data)
    try:
        read(path, max_rejected_share=1)
    except UserError as error:
        assert name in str(error) and "\n" not in str(error) and len(str(error)) < 2_000


def test_further_answers_of_a_post_keep_their_order(tmp_path):
    rows = [{"id": n % 2, "question": f"{POST}{n % 2}", "answer": f"{REPLY}{n}"} for n in range(6)]
    reading = read(put(tmp_path / "r.jsonl", "\n".join(map(json.dumps, rows))))
    assert [item.references for item in reading.items] == [
        [f"{REPLY}{n}" for n in (first, first + 2, first + 4)] for first in (0, 1)
    ]
    assert reading.kept == 6 and reading.notes.joined == 4


def test_a_source_that_is_hopeless_is_read_no_further(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "HOPELESS", 50)
    bad, good = b"1\n" * 60, LINE * 1_000
    with pytest.raises(UserError, match=r"50 of 50 answers \(100%\).*reading stopped there"):
        read(put(tmp_path / "b.jsonl", bad + good), max_rejected_share=0.9)
    assert read(put(tmp_path / "g.jsonl", good + bad)).lost == 60
    assert read(put(tmp_path / "a.jsonl", bad + good), max_rejected_share=1).lost == 60


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["u.json", "u.jsonl", "u.csv", "u.txt", "u.jsonl.gz"])
def test_a_file_in_utf_16_or_32_is_told_how_to_be_converted(tmp_path, name, encoding):
    mark = codecs.BOM_UTF16_BE if encoding == "utf-16-be" else b""
    data = mark + f"question,answer\n{POST},{REPLY}\n".encode(encoding)
    expected = encoding.upper()[:6]
    with pytest.raises(
        UserError, match=rf"u\.\S+: field 'file' is {expected}; .*iconv -f {expected} -t UTF-8"
    ):
        read(put(tmp_path / name, gzip.compress(data) if name.endswith("gz") else data))


@pytest.mark.parametrize("field", ["question", "answer", "topic", "subtopic", "id"])
@pytest.mark.parametrize("layout", ["row", "schema"])
def test_half_a_character_anywhere_costs_its_record_alone(tmp_path, field, layout):
    good = {"id": "x", "topic": "t", "subtopic": "s", **GOOD}
    if layout == "schema":
        good = {**good, "answers": [{"text": REPLY}]}
        del good["answer"]
        field = {"answer": "strategy"}.get(field, field)
    bad = {**good, field: "\ud800"}
    if field == "strategy":
        del bad["strategy"]
        bad["answers"] = [{"text": REPLY, "strategy": "\ud800"}]
    lines = [json.dumps({**good, "id": str(n)}) for n in range(20)]
    reading = read(put(tmp_path / "h.jsonl", "\n".join([*lines, json.dumps(bad)])))
    assert (reading.kept, reading.lost) == (20, 1)
    assert reading.rejected[0].model_dump_json()


def test_names_of_fields_that_cannot_be_written_are_escaped(tmp_path):
    path = put(tmp_path / "f.jsonl", json.dumps({"\ud800": 1, "\x1b[2J": 2}))
    with pytest.raises(UserError, match=r"\\ud800") as error:
        read(path)
    str(error.value).encode()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("nul.json", json.dumps([{**GOOD, "question": "a\x00b"}])),
        ("nul.csv", f"question,answer\na\x00b,{REPLY}\n"),
        ("digits.json", '[{"question": "a", "answer": [' + "9" * 5_000 + "]}]"),
        ("digits.jsonl", "9" * 5_000),
        ("wide.csv", f"question,answer\n{'a' * 1_100_000},{REPLY}\n"),
        ("float.jsonl", "1e999999"),
        ("bytes.json", b"\xff\xfe\xfd"),
    ],
)
def test_bytes_that_are_no_text_and_numbers_that_are_none_are_named(tmp_path, name, data):
    with pytest.raises(UserError, match=name) as error:
        read(put(tmp_path / name, data))
    assert "\n" not in str(error.value)


def test_a_cell_above_pythons_own_bound_is_read(tmp_path):
    cell = POST * 10_000  # 140,000 characters; the csv module's bound is 131,072
    reading = read(put(tmp_path / "w.csv", f"question,answer\n{cell},{REPLY}\n"))
    assert reading.items[0].question == cell


@pytest.mark.parametrize("name", ["m.json", "m.jsonl", "m.csv"])
def test_a_byte_order_mark_is_read_over(tmp_path, name):
    data = f"question,answer\n{POST},{REPLY}\n".encode() if name == "m.csv" else LINE
    assert read(put(tmp_path / name, codecs.BOM_UTF8 + data)).kept == 1
