"""Where items come from: the synthesis, or the user's file, folder or hub dataset in a public layout.

Knows: how files become records one at a time, how a record becomes an item or a rejection, when too much is
rejected. Does not know: what a layout looks like (``layouts``), cleaning, annotation, splits.

A record that cannot be read is rejected with file, place, field and reason, and the others go through; every
answer read is either kept or rejected. Files are streamed, and the items go to a store on disk: one record is
in memory at a time.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

from empathy_lib.core.config import HUB, SYNTHETIC, DatasetConfig
from empathy_lib.core.errors import UserError
from empathy_lib.core.identity import file_digest
from empathy_lib.core.json_text import half_character
from empathy_lib.core.run import ROOT, generator
from empathy_lib.core.schema import Answer, Item, first_fault
from empathy_lib.dataset.files import Notes, shown, source_files
from empathy_lib.dataset.ids import Claim, Ids
from empathy_lib.dataset.layouts import LAYOUTS, BadRecord, Layout, bare_answer, layout_of
from empathy_lib.dataset.reading import path_records
from empathy_lib.dataset.records import BYTES_AN_ANSWER, Record
from empathy_lib.dataset.store import ItemStore, select

_EXPECTED = (
    f"one of the layouts {', '.join(layout.title for layout in LAYOUTS.values())}; see docs/own-data.md"
)
# What UTF-8 read as Latin-1 or GBK leaves behind; U+FFFD marks bytes that were no text at all.
_MOJIBAKE = re.compile("\ufffd|锟斤拷|烫烫烫|(?:[ÃÂäåæçèé][\u0080-\u00bf]){2}")
_SURROGATE = re.compile("[\ud800-\udfff]")
HOPELESS = 100_000  # rejections after which a source that is mostly rejected is read no further


class Rejected(BaseModel):
    """One line of ``rejected.jsonl``. ``line`` is a line of the file, ``record`` a count from 1; ``answers``
    is how many were lost."""

    file: str
    line: int | None = None
    record: int | None = None
    field: str
    reason: str
    answers: int = 1

    def __str__(self) -> str:
        place = f", line {self.line}" if self.line else f", record {self.record}" if self.record else ""
        return f"{self.file}{place}: field '{self.field}' {self.reason}"


@dataclass
class Reading:
    """Everything a source held: items, rejections, and how many records each layout had."""

    items: Sequence[Item]
    kept: int  # answers of the items
    rejected: list[Rejected] = field(default_factory=list)
    layouts: Counter[str] = field(default_factory=Counter)
    left_out: int = 0  # answers of items beyond ``dataset.questions``
    notes: Notes = field(default_factory=Notes)

    def remarks(self) -> list[str]:
        """Lines on what was passed over, rejected or left out; none where every answer was taken."""
        lines = self.notes.lines()
        if self.rejected:
            worst = max(self.rejected, key=lambda rejection: rejection.answers)
            lines.append(f"{self.lost} answer(s) rejected, e.g. {worst}")
        if self.left_out:
            lines.append(f"{self.left_out} answer(s) are beyond dataset.questions; raise it to take them")
        return lines

    @property
    def read(self) -> int:
        """All answers that the source held."""
        return self.kept + self.lost + self.left_out

    @property
    def lost(self) -> int:
        """Answers rejected; a record whose answers cannot be counted is one."""
        return sum(rejection.answers for rejection in self.rejected)


def source_path(config: DatasetConfig) -> Path:
    """Path of the user's data: as given, or below the repository for a relative path that is not below the
    working directory.

    Raises:
        UserError: there is no such path.
    """
    given = Path(config.data).expanduser()
    for path in (given, ROOT / given):
        if path.exists():
            return path
    raise UserError(
        f"{config.data}: no such file or folder (field dataset.data); give 'synthetic', '{HUB}owner/name', "
        f"or the path of {_EXPECTED}"
    )


def source_digest(config: DatasetConfig) -> str:
    """SHA-256 over what the items come from: the user's file or folder, or the texts that the synthesis
    reads; a hub id is its own."""
    if config.data.startswith(HUB):
        return config.data
    if config.data == SYNTHETIC:
        parts = ("synthesis", "synthesis_long.yaml") if config.answer_length == "long" else ("synthesis",)
        return " ".join(file_digest(ROOT / "data" / part) for part in parts)
    path = source_path(config)
    if path.is_file():
        return file_digest(path)
    total, notes = sha256(), Notes()
    for file in source_files(path, notes):
        total.update(shown(file.relative_to(path)).encode())
        if file.is_file() and os.access(file, os.R_OK):
            total.update(file_digest(file).encode())
    return total.hexdigest()


def read_source(config: DatasetConfig, seed: int) -> Reading:
    """Read, or generate, the raw items: uncleaned, and without a CoE unless the source itself carries one.

    Of a real source at most ``config.questions`` items are taken: a seeded sample in the source's own order.

    Raises:
        UserError: the path is at fault, nothing could be read, or more than ``config.max_rejected_share`` of
            the answers is rejected.
    """
    if config.data == SYNTHETIC:
        # not needed, and not loaded, for the user's own data
        from empathy_lib.dataset.generate import generate

        items = generate(config, seed)
        return Reading(items, kept=sum(len(item.answers) for item in items))
    notes = Notes()
    if config.data.startswith(HUB):
        from empathy_lib.dataset.tables import hub_records

        name, records = config.data.removeprefix(HUB), hub_records(config.data.removeprefix(HUB))
    else:
        path = source_path(config)
        name, records = name_of(path), path_records(path, notes)
    reading = read_records(records, name, config, notes)
    check_reading(reading, len(reading.items), config)
    if (chosen := sample(len(reading.items), config, seed)) is not None:
        reading.items, everything = select(reading.items, chosen), reading.kept
        reading.kept = sum(len(item.answers) for item in reading.items)
        reading.left_out = everything - reading.kept
    return reading


def name_of(path: Path) -> str:
    """The source's name in ``Item.source``."""
    return shown(path.resolve().name)


def check_reading(reading: Reading, items: int, config: DatasetConfig) -> None:
    """Raise a :class:`UserError` where nothing, or too little, of a source could be read as items."""
    if not items and not reading.rejected:
        raise UserError(f"{config.data}: the file is empty; expected {_EXPECTED}")
    share = reading.lost / max(1, reading.lost + reading.kept)
    if not items or share > config.max_rejected_share:
        raise UserError(_too_many(config, reading, share))


def sample(items: int, config: DatasetConfig, seed: int) -> list[int] | None:
    """Positions of a seeded sample of ``config.questions`` items, in order; None where there are no more."""
    if items <= config.questions:
        return None
    return sorted(generator(seed, "sources").choice(items, size=config.questions, replace=False).tolist())


def _too_many(config: DatasetConfig, reading: Reading, share: float) -> str:
    reasons = Counter(f"field '{rejection.field}' {rejection.reason}" for rejection in reading.rejected)
    others = f" ({len(reasons) - 1} other reason(s))" if len(reasons) > 1 else ""
    answers = f"{reading.lost} of {reading.lost + reading.kept} answers ({share:.0%})"
    worst = max(reading.rejected, key=lambda rejection: rejection.answers)
    return (
        f"{worst}{others}; {answers} would be rejected, more than "
        f"dataset.max_rejected_share={config.max_rejected_share}; mend the source, name its layout with "
        f"dataset.format, or raise the share"
    )


def read_records(
    records: Iterable[Record], name: str, config: DatasetConfig, notes: Notes | None = None
) -> Reading:
    """Turn records into items; ``name`` becomes part of ``Item.source``."""
    items, ids = ItemStore(), Ids()
    further, later = defaultdict(list), ItemStore()  # of items: where their further answers lie
    reading = Reading(items, kept=0, notes=notes if notes is not None else Notes())
    for item, claim in claims(records, name, config, reading):
        question = item.question
        try:
            free, before = ids.settle(
                claim, len(items), lambda place, text=question: items[place].question == text, reading.notes
            )
        except BadRecord as fault:
            reading.rejected.append(rejected(claim, fault))
            continue
        reading.layouts[claim.layout] += 1
        if before is None:
            items.append(item.model_copy(update={"id": free}))
        else:
            further[before].append(len(later))
            later.append(item)
        reading.kept += len(item.answers)
    for place, others in further.items():  # once each: item by item would write an item again for each answer
        answers = [*items[place].answers, *(a for other in others for a in later[other].answers)]
        items.replace(place, items[place].model_copy(update={"answers": answers}))
    return reading


def claims(
    records: Iterable[Record], name: str, config: DatasetConfig, reading: Reading
) -> Iterator[tuple[Item, Claim]]:
    """Items as their records give them, and what each claims; what cannot be read goes to
    ``reading.rejected``. Whoever takes an item counts its answers there before the next.

    Raises:
        UserError: see :func:`_stop_if_hopeless`.
    """
    file, read_before = None, 0
    lost, seen = 0, 0  # reading.lost, which counts anew each time; of so many rejections
    for record in records:
        lost, seen = lost + sum(r.answers for r in reading.rejected[seen:]), len(reading.rejected)
        _stop_if_hopeless(reading, lost, config)
        if record.file != file:
            file, read_before = record.file, reading.kept + lost
        claim = Claim("", "", str(record.file), record.file.stem, record.name, record.line, record.number)
        try:
            if record.fault:
                raise _priced(record, reading.kept + lost - read_before)
            layout = LAYOUTS[config.format] if config.format != "auto" else layout_of(record.value)
            if layout is None:
                raise BadRecord(
                    "record",
                    f"has an unknown layout ({_shape(record.value)}); expected {_EXPECTED}",
                    _answers_in(record.value),
                )
            item, faults = _item(record, layout, name, config, reading.notes)
        except BadRecord as fault:
            reading.rejected.append(rejected(claim, fault))
            continue
        yield item, replace(claim, id=item.id, layout=layout.name, answers=len(item.answers))
        reading.rejected += [rejected(claim, fault) for fault in faults]


def _stop_if_hopeless(reading: Reading, lost: int, config: DatasetConfig) -> None:
    """Stop before memory is full of rejections.

    Raises:
        UserError: so many are rejected, and so many more than kept, that what follows could hardly mend it.
    """
    if len(reading.rejected) < HOPELESS:
        return
    share = lost / (lost + reading.kept)
    if share > max(0.5, config.max_rejected_share):
        raise UserError(_too_many(config, reading, share) + " (reading stopped there)")


def _priced(record: Record, answers: int) -> BadRecord:
    """The record's fault; where it stopped the reading, at the price of the answers that stand behind it,
    told from those before it."""
    fault = record.fault or BadRecord("record", "cannot be read")
    if record.unread is None:
        return fault
    unread, read = record.unread
    lost = unread * answers / read if answers and read else unread / BYTES_AN_ANSWER
    return fault.costing(round(lost))


def rejected(claim: Claim, fault: BadRecord) -> Rejected:
    """The line of ``rejected.jsonl`` on a record's fault."""
    place = {"file": shown(claim.file), "line": claim.line, "record": claim.number}
    # a field's name and an id are of the record, so they may hold what cannot be written
    field, reason = (text.encode("utf-8", "backslashreplace").decode() for text in (fault.field, str(fault)))
    return Rejected(**place, field=field, reason=reason, answers=fault.answers)


def _shape(value: Any) -> str:
    if isinstance(value, dict):
        return f"an object with fields {', '.join(map(str, list(value)[:5])) or 'none'}"
    return f"a {type(value).__name__}"


def _answers_in(value: Any) -> int:
    answers = value.get("answers") if isinstance(value, dict) else None
    return max(1, len(answers)) if isinstance(answers, list) else 1


def _item(
    record: Record, layout: Layout, name: str, config: DatasetConfig, notes: Notes
) -> tuple[Item, list[BadRecord]]:
    """The record's item, and a fault for each of its answers that cannot be used."""
    count = _answers_in(record.value)
    if not layout.fits(record.value):
        raise BadRecord("record", f"does not look like {layout.title} ({_shape(record.value)})", count)
    source = f"{layout.name}:{name}"
    try:
        if layout.draft is None:
            return _own_item(record.value, source), []
        rule = layout.turns if config.dialogue_turns == "auto" else config.dialogue_turns
        draft = layout.draft(record.value, rule, config.min_answer_chars)
        count = len(draft.answers)
        question = checked_text(draft.question, draft.question_field)
        for where in ("id", "topic", "subtopic"):
            _whole(getattr(draft, where), where)
    except BadRecord as fault:
        raise fault.costing(count) from None
    notes.turns_cut += draft.turns_cut
    answers, faults = [], []
    for where, value in draft.answers:
        try:
            answers.append(Answer(text=checked_text(value, where, may_be_empty=True)))
        except BadRecord as fault:
            faults.append(fault)
    return Item(
        id=draft.id,
        question=question,
        topic=draft.topic or _folder_topic(record, layout),
        subtopic=draft.subtopic,
        answers=answers,
        source=source,
    ), faults


def _folder_topic(record: Record, layout: Layout) -> str:
    """CPsyCounE keeps its topics in its folders' names."""
    return record.folder if layout.name == "cpsycoun" and isinstance(record.value, list) else ""


def _own_item(value: Any, source: str) -> Item:
    if isinstance(value.get("id"), (int, float)):
        value = {**value, "id": str(value["id"])}
    labels = {key: "" for key in ("topic", "subtopic") if value.get(key, "") is None}
    labels |= {
        key: str(value[key]) for key in ("topic", "subtopic") if isinstance(value.get(key), (int, float))
    }
    try:
        if isinstance(answers := value["answers"], list) and any(isinstance(a, (str, list)) for a in answers):
            labels["answers"] = [a if isinstance(a, dict) else {"text": bare_answer(a)} for a in answers]
        item = Item.model_validate({**value, **labels})
    except ValidationError as error:
        raise BadRecord(*first_fault(error)) from error
    for where, text in (
        ("question", item.question),
        *((f"answers.{i}.text", a.text) for i, a in enumerate(item.answers)),
    ):
        checked_text(text, where, may_be_empty=True)
    try:
        item.model_dump_json()  # labels, chains and names of fields too must be text that can be written
    except PydanticSerializationError:
        field, half = half_character(value) or ("record", "\ud800")
        _whole(half, field)
    return item.model_copy(update={"source": source})


def _whole(text: str, where: str) -> None:
    if _SURROGATE.search(text):
        raise BadRecord(where, "holds a lone surrogate, which is half a character; mend the text")


def checked_text(value: Any, where: str, *, may_be_empty: bool = False) -> str:
    """``value`` if it is text that can be used.

    Raises:
        BadRecord: no text, empty, lone surrogates (text that cannot be written as UTF-8), or the traces of a
            wrong encoding.
    """
    if not isinstance(value, str):
        raise BadRecord(where, f"must be text, not {type(value).__name__}")
    if not value.strip() and not may_be_empty:
        raise BadRecord(where, "is empty; give the post's text or remove the record")
    _whole(value, where)
    if "\x00" in value or (broken := _MOJIBAKE.search(value)):
        trace = "\\x00" if "\x00" in value else broken.group(0)
        raise BadRecord(
            where,
            f"was read in a wrong encoding (it holds {trace!r}); convert the file from its own, e.g. with "
            f"iconv",
        )
    return value
