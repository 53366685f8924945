"""The source in shards: files dealt to tasks where there are enough of them, else read by one task.

Knows: which files are a task's, how ids given in several shards are settled. Does not know: how a record is
read (``sources``), what is done to a post (``steps``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain, islice

import numpy as np

from empathy_lib.core.config import HUB, SYNTHETIC, DatasetConfig
from empathy_lib.core.files import read_json, write_json
from empathy_lib.core.identity import digest
from empathy_lib.core.schema import Item
from empathy_lib.dataset.cleaning import check_rules
from empathy_lib.dataset.files import Notes, sources
from empathy_lib.dataset.ids import Claim, Ids
from empathy_lib.dataset.layouts import BadRecord
from empathy_lib.dataset.reading import holds_several, source_records
from empathy_lib.dataset.records import Record
from empathy_lib.dataset.shards.files import Job, Lines, Shards, chunks
from empathy_lib.dataset.sources import (
    Reading,
    check_reading,
    claims,
    name_of,
    read_source,
    rejected,
    sample,
    source_path,
)
from empathy_lib.dataset.store import CHUNK, line_of, lines_of


def file_sizes(config: DatasetConfig) -> list[int]:
    """Bytes of each file of the source, unpacked where that is known; none where it is no path."""
    if config.data == SYNTHETIC or config.data.startswith(HUB):
        return []
    return [file.size for file in sources(source_path(config), Notes())]


def reads_by_file(config: DatasetConfig, tasks: int) -> bool:
    """Whether the source's files can be dealt to so many tasks: none of them is more than two tasks' part."""
    sizes = file_sizes(config)
    return len(sizes) >= tasks > 1 and max(sizes) * tasks <= 2 * sum(sizes)


def read(job: Job, task: int) -> None:
    """Read the source: a task's own files, or all of it and deal the posts out in order."""
    check_rules(job.config)
    if job.by_file:
        _read_files(job, task)
        return
    reading = read_source(job.config, job.seed)
    bounds = [len(reading.items) * shard // job.tasks for shard in range(job.tasks + 1)]
    for shard in range(job.tasks):
        out = Lines(job, "read", shard)
        for line in lines_of(reading.items[bounds[shard] : bounds[shard + 1]]):
            out.put(line)
        out.close()
    job.save("read", 0, replace(reading, items=[]))


@dataclass
class Claimed:
    """What ``read`` tells of a shard beside its reading: each post's claim, a hash of its text, and how many
    rejections stood before it."""

    claims: list[Claim] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    before: list[int] = field(default_factory=list)


def _read_files(job: Job, shard: int) -> None:
    """Read a shard's files, in order; each post has the id that it wants."""
    reading, claimed = Reading([], kept=0), Claimed()
    out = Lines(job, "read", shard)
    records = _own_records(job, shard, reading.notes)
    for item, claim in claims(records, name_of(source_path(job.config)), job.config, reading):
        claimed.claims.append(claim)
        claimed.texts.append(digest(item.question))
        claimed.before.append(len(reading.rejected))
        reading.layouts[claim.layout] += 1
        reading.kept += claim.answers
        out.put(line_of(item.model_copy(update={"id": claim.wanted})))
    wanted = np.array([_hash(claim.wanted) for claim in claimed.claims], np.uint64)
    answers = np.array([claim.answers for claim in claimed.claims], np.int64)
    out.close(wanted=wanted, answers=answers)
    job.save("read", shard, reading)
    job.save("claims", shard, claimed)


def _hash(name: str) -> int:
    """Of 64 bits."""
    return int(digest(name), 16)


def _own_records(job: Job, shard: int, notes: Notes) -> Iterator[Record]:
    """Records of the files that begin in the shard's part of all bytes. What is passed over is noted by the
    shard of the next file."""
    path, passed = source_path(job.config), Notes()
    ends = np.cumsum([0, *(max(1, size) for size in file_sizes(job.config))])
    homes = (ends[:-1] * job.tasks // ends[-1]).tolist()
    for home, file in zip(homes, sources(path, passed), strict=True):
        before = _drained(passed)
        if home == shard:
            notes.add(before)
            yield from source_records(file, notes, named=holds_several(path))
    if shard == job.tasks - 1:
        notes.add(passed)


def _drained(notes: Notes) -> Notes:
    """What the notes hold, which they forget."""
    held = replace(notes)
    vars(notes).update(vars(Notes()))
    return held


def settle(job: Job, task: int) -> None:
    """Give every post its id, its further answers, and its place in the sample, as if one had read all."""
    every, parts = Shards(job, "read"), job.load_all("read", Reading)
    claimed = lru_cache(8)(lambda shard: job.load("claims", shard, Claimed))

    def told(place: int) -> tuple[Claim, str, int]:
        shard, row = every.home(place)
        own = claimed(shard)
        return own.claims[row], own.texts[row], own.before[row]

    outcomes, notes = _outcomes(every.whole("wanted"), told)
    kept, answers = np.ones(len(every), bool), every.whole("answers")
    names, joins, late = {}, [], Counter()
    for place, outcome in sorted(outcomes.items()):
        claim, _, before = told(place)
        kept[place] = isinstance(outcome, str)
        if isinstance(outcome, str):
            names[place] = outcome
        elif isinstance(outcome, int):
            joins.append((outcome, place))
            answers[outcome] += claim.answers
        else:
            shard, _ = every.home(place)
            parts[shard].rejected.insert(before + late[shard], rejected(claim, outcome))
            parts[shard].layouts[claim.layout] -= 1
            parts[shard].kept -= claim.answers
            late[shard] += 1
    reading = _whole(parts, notes)
    check_reading(reading, int(kept.sum()), job.config)
    if (chosen := sample(int(kept.sum()), job.config, job.seed)) is not None:
        taken = np.flatnonzero(kept)[chosen]
        kept[:] = False
        kept[taken] = True
        reading.left_out = reading.kept - int(answers[kept].sum())
        reading.kept -= reading.left_out
    job.save("settle", 0, reading)
    write_json(job.path("settle", 0, "names.json"), names)
    job.save_arrays("settle", 0, kept=kept, joins=np.array(sorted(joins), np.int64).reshape(-1, 2))


def _outcomes(
    wanted: np.ndarray, told: Callable[[int], tuple[Claim, str, int]]
) -> tuple[dict[int, str | int | BadRecord], Notes]:
    """The id, the place of the post whose further answers it holds, or the fault, of each post that does not
    simply get the id that it wants: of those that want the same, and of those that want one that these get.

    Args:
        wanted: hashes of the ids that N posts want.
        told: gives a place's claim, the hash of its text, and anything.
    """
    _, kinds, counts = np.unique(wanted, return_inverse=True, return_counts=True)
    chosen = counts[kinds] > 1
    while True:
        ids, notes, outcomes = Ids(), Notes(), {}
        for place in np.flatnonzero(chosen).tolist():
            claim, text, _ = told(place)
            try:
                name, before = ids.settle(
                    claim, place, lambda other, text=text: told(other)[1] == text, notes
                )
            except BadRecord as fault:
                outcomes[place] = fault
            else:
                outcomes[place] = name if before is None else before
        taken = np.array([_hash(name) for name in ids.taken], np.uint64)
        more = np.isin(wanted, taken) & ~chosen
        if not more.any():
            return outcomes, notes
        chosen |= more


def _whole(parts: Iterable[Reading], notes: Notes) -> Reading:
    """The readings of all shards as one, with what was noted of ids."""
    whole = Reading([], kept=0)
    for part in parts:
        whole.kept += part.kept
        whole.rejected += part.rejected
        whole.layouts += part.layouts
        whole.notes.add(part.notes)
    whole.notes.add(notes)
    return whole


def reading_of(job: Job) -> Reading:
    """What reading all of the source said, without its items."""
    return job.load("settle" if job.by_file else "read", 0, Reading)


def posts(job: Job, shard: int) -> Iterator[list[Item]]:
    """A shard's posts as the source has them, a few at a time."""
    settled = _settled(job, shard) if job.by_file else chain.from_iterable(chunks(job, "read", shard))
    while batch := list(islice(settled, CHUNK)):
        yield batch


def _settled(job: Job, shard: int) -> Iterator[Item]:
    every = Shards(job, "read")
    kept, joins = (job.array("settle", 0, name) for name in ("kept", "joins"))
    names = read_json(job.path("settle", 0, "names.json"))
    for place, item in zip(every.range(shard), chain.from_iterable(chunks(job, "read", shard)), strict=True):
        if kept[place]:
            first, last = np.searchsorted(joins[:, 0], [place, place + 1])
            further = [every.item(other).answers for other in joins[first:last, 1].tolist()]
            answers = [*item.answers, *chain.from_iterable(further)]
            yield item.model_copy(update={"id": names.get(str(place), item.id), "answers": answers})
