"""Broken inputs by the hundred thousand, for what reads other people's files: ``make fuzz``, by hand.

    python tests/fuzz.py [--parser 1000000] [--rest 50000] [--seed 1] [--keep FOLDER]

Targets: ``coe`` (the grammar's parser and all that follows from it), ``layouts`` (a data file's bytes,
through the reader of its suffix, to items), ``archives`` (.zip and .gz), ``score``, ``ratings`` (``rank``)
and ``answers`` (``unblind``). Inputs are seeds of our own, mutated by a seeded generator. A crash is any
exception but a UserError; a record that is counted as rejected is none. Then inputs that invite a quadratic
scan are timed at length n, 2n, 4n and 8n. The last line is a JSON object; the status is 1 where anything was
found.

What was found and mended lies in ``fuzz_corpus/``, and ``tests/unit/test_fuzz_corpus.py`` replays it. A
file's name is ``<target>-<what it is>.<suffix>``.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import random
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from empathy_lib.app.score import read_lines, score_lines
from empathy_lib.core import coe
from empathy_lib.core.config import DatasetConfig
from empathy_lib.core.errors import UserError
from empathy_lib.dataset.deidentify import deidentify
from empathy_lib.dataset.files import Notes, Source
from empathy_lib.dataset.reading import path_records, source_records
from empathy_lib.dataset.sources import read_records
from empathy_lib.human_eval.design import unblind
from empathy_lib.human_eval.ratings import read_ratings, write_ratings
from empathy_lib.human_eval.run.interchange import read_answers
from empathy_lib.human_eval.summary import summarise
from empathy_lib.metrics.scoring import Settings

CORPUS = Path(__file__).with_name("fuzz_corpus")
MEASURABLE = 0.004  # seconds; below it a doubling is the clock's noise
MOST_A_DOUBLING = 3.0  # linear is 2, quadratic 4
POST, REPLY = "我最近总是睡不着，" * 8, "谢谢你愿意把这些说出来。" * 5
GOOD = "<empathy_think><L1>累</L1><L2>b</L2>\n<L3>c</L3><L4>d</L4></empathy_think><answer>好。</answer>"
TOKENS = [
    *(f"<{slash}{name}>" for name in (*coe.TAGS, "think", "reasoning") for slash in ("", "/")),
    *"<>「」【】{}[],:;\"'\\/&%$#|=@+-\n\r\t \x00\u200b\u3000\ufeff\u2028",
    *("来访者：", "咨询师：", '"id"', '"question"', '"answers"', '"role"', "null", "NaN", "1e999", "\\ud800"),
    *("锟斤拷", "9" * 40, "<script>", "=cmd()", "../", "rank_1", "rater-01", "attention-check:first"),
]
RAW = [b"\xff", b"\xff\xfe", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\x00", b'"', b",", b"\r", b"\n\n", b"[" * 50]
ODD = [None, True, 0, -1, 0.5, float("nan"), 2**80, "", " ", "\x00", "\ud800", "锟斤拷", [], {}, [[]], [None]]
ODD += [
    "x" * 5_000,
    "\n" * 300,
    {"role": "client"},
    ["来访者：a", "咨询师：b"],
    "来访者：a咨询师：b",
    "1" * 5_000,
]
_TURNS = [{"role": "client", "content": POST}, {"role": "counselor", "content": REPLY}]
_CHAT = [{"role": "system", "content": "x"}, {"role": "user", "content": POST}]
_CHAT += [{"role": "assistant", "content": REPLY}]
RECORDS = [
    {"id": "1", "question": POST, "topic": "t", "answers": [{"text": REPLY, "strategy": "s"}]},
    {"id": 2, "question": POST, "keywords": "a,b", "answers": [{"answer_text": REPLY}, [REPLY, 1]]},
    {"id": "3", "question": POST, "answer": REPLY, "topic": "职场", "subtopic": None},
    _TURNS,
    [f"求助者：{POST}", f"支持者：{REPLY}"],
    f"来访者：{POST}\n\n心理咨询师：{REPLY}\n\n来访者：谢谢。",
    {"conversation": [{"system": "x", "input": POST, "output": REPLY}]},
    {"messages": _CHAT, "topic": "x", "id": 5},
    {"conversations": [{"from": "human", "value": POST}, {"from": "gpt", "value": REPLY}]},
    {
        "title": POST,
        "label": {"s1": "1.13"},
        "chats": [{"sender": "audience", "type": "textMessage", "value": REPLY}],
    },
]
_CHAIN = {"L1": "a", "L2": "b", "L3": "c", "L4": "d"}
_LABELS = {"emotion": "焦虑", "cause": "考试", "intent": "advice"}
LINES = [
    {"id": "1", "completion": GOOD, "references": ["好。"], "question": POST, "coe": _CHAIN},
    {"id": "2", "completion": f"<think>x</think>{GOOD}", "references": [REPLY], "coe": _LABELS},
    {"id": "3", "completion": REPLY, "coe": False},
]
RATINGS = "rater,item,dimension,system,rank,seconds\n" + "".join(
    f"r{r},q{q},Fluency,{s},{1 + (r + q + n) % 2},5\n"
    for r in range(2) for q in range(2) for n, s in enumerate(("base", "sft"))
)  # fmt: skip
KEY = {"study": "study-1", "rater-01": {"q1": {"A": "base", "B": "sft"}}}
TASK = {
    "data": {"study": "study-1", "rater": "rater-01", "item": "q1", "items": [{"id": "A"}, {"id": "B"}]},
    "annotations": [
        {
            "lead_time": 3.5,
            "result": [
                {
                    "from_name": "fluency",
                    "type": "ranker",
                    "value": {"ranker": {"rank_1": ["A"], "rank_2": ["B"], "_": []}},
                }
            ],
        }
    ],
}
SHEET = "rater,item,dimension,letter,rank,study\nrater-01,q1,Fluency,A,1,study-1\nrater-01,q1,Fluency,B,2,\n"


# --- one input, target by target: each may raise UserError and nothing else ---


def run_coe(data: bytes, suffix: str, folder: Path) -> None:
    """Everything that ``core.coe`` says of a text; what is well-formed is written and read back."""
    text = data.decode("utf-8", "surrogatepass") if suffix == "half" else data.decode("utf-8", "replace")
    found, faults = coe.parse(text), coe.validate(text)
    assert (found is None) == bool(faults), "well-formed, yet with faults, or neither"
    assert bool(coe.main_fault(text)) == bool(faults)
    if found is not None:
        assert coe.parse(coe.render(found.coe, found.answer)) is not None
    coe.answer_of(text)
    coe.written_answer(text)
    assert "<script" not in coe.to_html(text)


def run_layouts(data: bytes, suffix: str, folder: Path) -> None:
    """A data file's bytes as items; every answer is kept or rejected, and all that is kept can be written."""
    path = folder / f"fuzz.{suffix}"
    source = Source(path, "fuzz", f".{suffix}", lambda: io.BytesIO(data), len(data))  # type: ignore[arg-type]
    notes = Notes()
    _read(source_records(source, notes, named=True), notes)


def run_archives(data: bytes, suffix: str, folder: Path) -> None:
    """The same from an archive's bytes."""
    path, notes = folder / f"fuzz.jsonl.{suffix}", Notes()
    path.write_bytes(data)
    _read(path_records(path, notes), notes)


def _read(records: Iterator, notes: Notes) -> None:
    reading = read_records(records, "fuzz", DatasetConfig(data="fuzz"), notes)
    ids = [item.id for item in reading.items]
    assert len(ids) == len(set(ids)), "an id twice"
    assert reading.kept == sum(len(item.answers) for item in reading.items)
    for rejected in reading.rejected:
        rejected.model_dump_json()
    "\n".join(notes.lines()).encode()


def run_score(data: bytes, suffix: str, folder: Path) -> None:
    """``score``: the lines, and of a few of them the metrics."""
    path = folder / "fuzz.jsonl"
    path.write_bytes(data)
    lines = read_lines(path)
    if len(data) % 50 == 0:  # metrics take a thousand times as long as reading
        json.dumps(score_lines(lines[:3], Settings(segment="char", bootstrap=10))[0], ensure_ascii=False)


def run_ratings(data: bytes, suffix: str, folder: Path) -> None:
    """``rank``: the ratings, written and read back, and of a few of them the ranking."""
    path = folder / "fuzz.csv"
    path.write_bytes(data)
    table = read_ratings(path)
    write_ratings(table, path)
    assert len(read_ratings(path)) == len(table), "written, it is another table"
    if len(data) % 20 == 0:
        json.dumps(summarise(table))


def run_answers(data: bytes, suffix: str, folder: Path) -> None:
    """``unblind``: an export or a filled sheet against a sound key; then the same bytes as the key."""
    path, key = folder / f"fuzz.{suffix}", folder / "key.json"
    path.write_bytes(data)
    key.write_text(json.dumps(KEY), encoding="utf-8")
    for answers, who in ((path, key), (folder / "sheet.csv", path)):
        (folder / "sheet.csv").write_text(SHEET, encoding="utf-8")
        try:
            letters, _ = read_answers(answers)
            write_ratings(unblind(letters, who), folder / "out.csv")
        except UserError as error:
            str(error).encode()  # it is printed


TARGETS: dict[str, Callable[[bytes, str, Path], None]] = {
    "coe": run_coe,
    "layouts": run_layouts,
    "archives": run_archives,
    "score": run_score,
    "ratings": run_ratings,
    "answers": run_answers,
}


# --- inputs ---


def changed_text(text: str, rng: random.Random) -> str:
    """A text with one to five pieces deleted, doubled, moved or put in."""
    for _ in range(rng.randint(1, 5)):
        start = rng.randrange(len(text) + 1)
        end = min(len(text), start + rng.choice((0, 1, 1, 4, 20)))
        match rng.randrange(5):
            case 0:
                text = text[:start] + text[end:]
            case 1:
                text = text[:start] + text[start:end] * rng.choice((2, 2, 9)) + text[end:]
            case 2:
                place = rng.randrange(len(text) + 1)
                text = text[:place] + text[start:end] + text[place:]
            case _:
                text = text[:start] + rng.choice(TOKENS) * rng.choice((1, 1, 1, 3, 40)) + text[start:]
    return text


def changed_bytes(data: bytes, rng: random.Random) -> bytes:
    """The same for bytes, which need not be text afterwards."""
    for _ in range(rng.randint(1, 3)):
        start = rng.randrange(len(data) + 1)
        end = min(len(data), start + rng.choice((0, 1, 1, 4, 40)))
        match rng.randrange(4):
            case 0:
                data = data[:start] + data[end:]
            case 1:
                data = data[:start] + rng.choice(RAW) + data[start:]
            case 2:
                data = data[:start] + bytes([rng.randrange(256)]) + data[start + 1 :]
            case _:
                data = data[: rng.randrange(len(data) + 1)] if rng.random() < 0.2 else data + data[start:end]
    return data


def changed_value(value: object, rng: random.Random, share: float = 0.15) -> object:
    """A JSON value with parts replaced by odd ones, left out, doubled, or under another name."""
    if rng.random() < share / 2:
        return rng.choice(ODD)
    if isinstance(value, dict):
        made = {}
        for key, part in value.items():
            if rng.random() > share / 3:
                name = rng.choice(("id", "text", "\ud800", "role", key)) if rng.random() < share / 3 else key
                made[name] = changed_value(part, rng, share)
        return made
    if isinstance(value, list):
        parts = [changed_value(part, rng, share) for part in value if rng.random() > share / 3]
        return parts * 2 if rng.random() < share / 3 else parts
    if isinstance(value, str) and rng.random() < share:
        return changed_text(value, rng)
    return value


def inputs(target: str, rng: random.Random) -> Iterator[tuple[bytes, str]]:
    """Bytes and the suffix that says what they claim to be, without end."""
    while True:
        match target:
            case "coe":
                start = GOOD if rng.random() < 0.9 else "".join(rng.choices(TOKENS, k=rng.randrange(30)))
                yield changed_text(start, rng).encode("utf-8", "surrogatepass"), "txt"
            case "layouts":
                yield _data_file(rng)
            case "archives":
                yield _archive(rng)
            case "score":
                lines = [changed_value(line, rng) for line in rng.choices(LINES, k=rng.randint(1, 4))]
                yield _perhaps("\n".join(map(_json(rng), lines)).encode(), rng), "jsonl"
            case "ratings":
                text = changed_text(RATINGS, rng) if rng.random() < 0.7 else _small_table(rng)
                yield _perhaps(text.encode("utf-8", "replace"), rng), "csv"
            case _:
                if rng.random() < 0.3:
                    yield _perhaps(changed_text(SHEET, rng).encode("utf-8", "replace"), rng), "csv"
                else:
                    value = changed_value(rng.choice(([TASK], [TASK, TASK], KEY)), rng, 0.1)
                    yield _perhaps(_json(rng)(value).encode(), rng), "json"


def _json(rng: random.Random) -> Callable[[object], str]:
    written = rng.random() < 0.5  # half characters stand in escapes, else nowhere

    def dump(value: object) -> str:
        text = json.dumps(value, ensure_ascii=written)
        return text.encode("utf-8", "replace").decode()

    return dump


def _perhaps(data: bytes, rng: random.Random) -> bytes:
    return changed_bytes(data, rng) if rng.random() < 0.3 else data


def _small_table(rng: random.Random) -> str:
    """Few cells of few values, so that ties, doubles and gaps are frequent."""
    names = (["r1", "r2"], ["q1", "q2", ""], ["Fluency", "fluency", "Fluencey", "x"], ["a", "b", "=c"])
    rows = [
        [rng.choice(some) for some in names] + [rng.choice(("1", "2", "1.5", "", "0", "x"))]
        for _ in range(rng.randint(1, 8))
    ]
    return "rater,item,dimension,system,rank\n" + "".join(",".join(row) + "\n" for row in rows)


def _data_file(rng: random.Random) -> tuple[bytes, str]:
    suffix = rng.choice(("json", "json", "jsonl", "jsonl", "ndjson", "csv", "tsv", "txt"))
    chosen = rng.choices(RECORDS, k=rng.randint(1, 4))
    if rng.random() < 0.5:
        chosen = [chosen[0]] * rng.randint(1, 4)
    values = [changed_value(record, rng) for record in chosen]
    if suffix in ("csv", "tsv"):
        mark = "\t" if suffix == "tsv" else rng.choice(",,;")
        cells = [f"{mark.join((str(n % 2), POST[: 9 + n], REPLY))}\n" for n in range(rng.randint(1, 4))]
        text = f"id{mark}question{mark}{rng.choice(('answer', 'answers'))}\n" + "".join(cells)
        return _perhaps(changed_text(text, rng).encode("utf-8", "replace"), rng), suffix
    if suffix == "txt":
        return _perhaps(changed_text(RECORDS[5], rng).encode("utf-8", "replace"), rng), suffix  # type: ignore[arg-type]
    if suffix == "json":
        text = _json(rng)(values if rng.random() < 0.8 else values[0])
    else:
        text = "\n".join(map(_json(rng), values))
    return _perhaps(text.encode(), rng), suffix


def _archive(rng: random.Random) -> tuple[bytes, str]:
    data, suffix = _data_file(rng)
    if rng.random() < 0.4:
        return changed_bytes(gzip.compress(data, 1), rng), "gz"
    packed = io.BytesIO()
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(packed, "w", method) as archive:
        for number in range(rng.randint(0, 2)):
            name = rng.choice(
                (f"{number}.{suffix}", f"/{number}.{suffix}", f"../{number}.{suffix}", ".", "帖.json")
            )
            archive.writestr(name, data)
    return changed_bytes(packed.getvalue(), rng), "zip"


# --- running ---


def fuzz(target: str, count: int, seed: int, keep: Path) -> dict[str, float | int]:
    """Try ``count`` inputs; each crash is printed and its input kept."""
    warnings.simplefilter("ignore", UserWarning)  # zipfile's, of a name that is there twice
    rng, run, slowest, crashes = random.Random(f"{seed} {target}"), TARGETS[target], 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        for _, (data, suffix) in zip(range(count), inputs(target, rng), strict=False):
            started = time.perf_counter()
            try:
                with contextlib.suppress(UserError):
                    run(data, suffix, Path(folder))
            except Exception:  # the one thing that is looked for
                crashes += 1
                traceback.print_exc()
                keep.mkdir(parents=True, exist_ok=True)
                kept = keep / f"{target}-crash-{crashes}.{suffix}"
                kept.write_bytes(data)
                print(f"kept {kept}", file=sys.stderr)
                if crashes == 20:
                    break
            slowest = max(slowest, time.perf_counter() - started)
    seconds = time.monotonic() - began
    return {
        "inputs": count,
        "crashes": crashes,
        "slowest_ms": round(1e3 * slowest, 1),
        "seconds": round(seconds, 1),
    }


def _record(text: str) -> bytes:
    return json.dumps([{"question": text, "answer": text}, [f"来访者：{text}"]], ensure_ascii=False).encode()


def nasty() -> dict[str, tuple[Callable[[object], object], Callable[[int], object]]]:
    """Name -> what is timed, and its input of about n characters."""
    texts = {
        "<": lambda n: "<" * n,
        "「": lambda n: "「" * n,
        "<L1>": lambda n: "<L1>" * (n // 4),
        "<L1></L1>": lambda n: "<L1></L1>" * (n // 9),
        "<answer>": lambda n: "<answer>" * (n // 8),
        "<think>": lambda n: "<think>" * (n // 7),
        "<think>a</think>": lambda n: "<think>a</think>" * (n // 16),
        "<think><L1>": lambda n: "<think><L1>" * (n // 11),
        "twelve tags": lambda n: GOOD.replace("累", "</ L1>" * (n // 6)).replace("b", " \n" * (n // 9)),
        "twelve wrong tags": lambda n: GOOD.replace("</L4>", "</L1>").replace("累", "a" * n),
        "spaces": lambda n: GOOD.replace("</L1>", "</L1>" + " " * n + "x"),
        "lines": lambda n: "\n" * n,
        "speakers": lambda n: "来访者：a " * (n // 6),
        "commas": lambda n: "," * n,
        "digits": lambda n: "1" * n,
        "letters": lambda n: "a" * n,
        "a@": lambda n: "a@" * (n // 2),
        "1-": lambda n: "1-" * (n // 2),
    }
    files = {
        "commas.json": lambda n: b"[" + b"1," * (n // 2) + b"1]",
        "commas.csv": lambda n: b"question,answer\n" + b"," * n,
        "quotes.csv": lambda n: b"question,answer\n" + b'"a"",' * (n // 5),
        "rows.csv": lambda n: b"id,question,answer\n" + b"1,a,b\n" * (n // 6),
        "lines.jsonl": lambda n: b"\n" * n,
        "same id.jsonl": lambda n: b'{"id":1,"question":"a","answer":"b"}\n' * (n // 37),
        "open.json": lambda n: b'{"a":' * (n // 5),
        "string.json": lambda n: b'["' + b"a" * n,
    }
    cases: dict[str, tuple[Callable, Callable]] = {}
    for name, make in texts.items():
        cases[f"coe {name}"] = (lambda text: run_coe(text.encode(), "txt", Path()), make)
        cases[f"layouts {name}"] = (lambda text: _quietly(_record(text), "json"), make)
        cases[f"deidentify {name}"] = (deidentify, make)
    for name, make in files.items():
        cases[f"layouts {name}"] = (partial(_quietly, suffix=name.split(".")[-1]), make)
    return cases


def _quietly(data: bytes, suffix: str) -> None:
    with contextlib.suppress(UserError):
        run_layouts(data, suffix, Path())


def growth(shortest: int, longest: int) -> dict[str, list[float]]:
    """Milliseconds at n, 2n, 4n and 8n of each case that grows more than threefold at a doubling; n is raised
    from ``shortest`` until the time is measurable, up to ``longest``."""
    steep: dict[str, list[float]] = {}
    for name, (run, make) in nasty().items():
        n = shortest
        while _seconds(run, make(n)) < MEASURABLE and n < longest:
            n *= 2
        if n >= longest:
            continue
        times = [_seconds(run, make(n))]
        for factor in (2, 4, 8):
            times.append(_seconds(run, make(factor * n)))
            # a busy machine makes one measurement long; a quadratic scan stays long
            if times[-1] > MOST_A_DOUBLING * times[-2]:
                times[-2:] = [
                    min(_seconds(run, make(k * n)) for _ in range(3)) for k in (factor // 2, factor)
                ]
            if times[-1] > MOST_A_DOUBLING * times[-2]:
                steep[f"{name}, n = {n}"] = [round(1e3 * seconds, 1) for seconds in times]
                break
    return steep


def _seconds(run: Callable, value: object) -> float:
    started = time.perf_counter()
    run(value)
    return time.perf_counter() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--parser", type=int, default=1_000_000, help="inputs of the CoE parser")
    parser.add_argument(
        "--rest", type=int, default=50_000, help="inputs of the others; six tenths are layouts'"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=CORPUS, help="folder for inputs that crash")
    parser.add_argument("--longest", type=int, default=200_000, help="of the timed inputs; 0 times none")
    given = parser.parse_args()
    rest = dict.fromkeys(list(TARGETS)[1:], given.rest // 10) | {
        "layouts": given.rest - 4 * (given.rest // 10)
    }
    counts = {"coe": given.parser} | rest
    found = {target: fuzz(target, count, given.seed, given.keep) for target, count in counts.items()}
    steep = growth(4_000, given.longest)
    crashes = sum(one["crashes"] for one in found.values())
    for name, times in steep.items():
        print(f"grows more than {MOST_A_DOUBLING:.0f} times a doubling: {name}: {times} ms", file=sys.stderr)
    total = {"inputs": sum(counts.values()), "crashes": crashes}
    total["slowest_ms"] = max(one["slowest_ms"] for one in found.values())
    print(json.dumps(total | {"targets": found, "timed": len(nasty()), "steep": steep}, ensure_ascii=False))
    return int(bool(crashes or steep))


if __name__ == "__main__":
    sys.exit(main())
