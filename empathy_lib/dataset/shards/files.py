"""A step's posts on disk: a set of files a shard, and a place for each post that counts through all shards.

Knows: lines and arrays. Does not know: what a step does (``steps``). Every file may be written again by a
task that runs again; a step is read only after all its tasks are done.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from empathy_lib.core.config import DatasetConfig
from empathy_lib.core.files import write_text
from empathy_lib.core.schema import Item
from empathy_lib.core.text import fingerprint
from empathy_lib.dataset.deduplicate import PERMUTATIONS, signature
from empathy_lib.dataset.store import CHUNK, line_of

_OPEN = 1_024  # arrays that stay open for the next look


@dataclass(frozen=True)
class Job:
    """One construction: where its shards lie, what decides it, and how many shards there are."""

    folder: Path
    config: DatasetConfig
    seed: int
    tasks: int
    by_file: bool = False  # whether tasks read files of their own, or one reads all

    def path(self, step: str, shard: int, what: str) -> Path:
        """A shard's file of a step, in a folder that is there."""
        (self.folder / step).mkdir(parents=True, exist_ok=True)
        return self.folder / step / f"{shard:05d}.{what}"

    def save(self, step: str, shard: int, value: Any) -> None:
        """Keep a dataclass as JSON."""
        text = TypeAdapter(type(value)).dump_json(value).decode()
        write_text(self.path(step, shard, "json"), text)

    def load(self, step: str, shard: int, kind: type) -> Any:
        """Read back what :meth:`save` kept of a class."""
        return TypeAdapter(kind).validate_json(self.path(step, shard, "json").read_bytes())

    def load_all(self, step: str, kind: type) -> list[Any]:
        """:meth:`load` of every shard."""
        return [self.load(step, shard, kind) for shard in range(self.tasks)]

    def save_arrays(self, step: str, shard: int, **arrays: np.ndarray) -> None:
        """Keep arrays under their names."""
        for name, values in arrays.items():
            np.save(self.path(step, shard, f"{name}.npy"), values)

    def array(self, step: str, shard: int, name: str) -> np.ndarray:
        """An array that :meth:`save_arrays` kept, left on disk."""
        return np.load(self.path(step, shard, f"{name}.npy"), mmap_mode="r")


class Lines:
    """One shard of posts being written, a line each."""

    def __init__(self, job: Job, step: str, shard: int) -> None:
        self._job, self._home = job, (step, shard)
        self._file = job.path(step, shard, "jsonl").open("wb")
        self._ends = array("Q")

    def put(self, line: bytes) -> None:
        """Put a post, as :func:`line_of <empathy_lib.dataset.store.line_of>` gives it, at the end."""
        self._file.write(line + b"\n")
        self._ends.append(self._file.tell())

    def close(self, **arrays: np.ndarray) -> None:
        """End the shard; arrays of numbers about its posts are kept beside it."""
        self._file.close()
        self._job.save_arrays(*self._home, ends=np.array(self._ends, np.uint64), **arrays)


class Signed(Lines):
    """Posts with the fingerprints and signatures of their questions."""

    def __init__(self, job: Job, step: str, shard: int) -> None:
        super().__init__(job, step, shard)
        self._prints = array("Q")
        self._signatures: list[np.ndarray] = []

    def add(self, item: Item, known: tuple[int, np.ndarray] | None = None) -> None:
        """Put a post at the end; ``known`` are its fingerprint and signature, where these were computed."""
        known = known or (fingerprint(item.question), signature(item.question))
        self.put(line_of(item))
        self._prints.append(known[0])
        self._signatures.append(known[1])

    def marks(self) -> tuple[np.ndarray, np.ndarray]:
        """Fingerprints (N,) and signatures (N, 128) so far."""
        signatures = np.array(self._signatures, np.uint32).reshape(-1, PERMUTATIONS)
        return np.array(self._prints, np.uint64), signatures


class Shards:
    """All posts that a step wrote, by their places; nothing is held in memory but where each shard begins."""

    def __init__(self, job: Job, step: str) -> None:
        self._job, self._step = job, step
        self._arrays = lru_cache(_OPEN)(lambda shard, name: job.array(step, shard, name))
        sizes = [len(self.array(shard, "ends")) for shard in range(job.tasks)]
        self.starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def range(self, shard: int) -> range:
        """The places of a shard's posts."""
        return range(int(self.starts[shard]), int(self.starts[shard + 1]))

    def array(self, shard: int, name: str) -> np.ndarray:
        """An array of one shard, left on disk."""
        return self._arrays(shard, name)

    def whole(self, name: str) -> np.ndarray:
        """An array of all shards, in memory."""
        return np.concatenate([self.array(shard, name) for shard in range(self._job.tasks)])

    def take(self, name: str, places: np.ndarray) -> np.ndarray:
        """The rows of an array at any places, in their order."""
        homes = np.searchsorted(self.starts, places, side="right") - 1
        first = self.array(0, name)
        rows = np.empty((len(places), *first.shape[1:]), first.dtype)
        for shard in np.unique(homes).tolist():
            here = np.flatnonzero(homes == shard)
            rows[here] = self.array(shard, name)[places[here] - self.starts[shard]]
        return rows

    def home(self, place: int) -> tuple[int, int]:
        """The shard and row of a place."""
        shard = int(np.searchsorted(self.starts, place, side="right")) - 1
        return shard, place - int(self.starts[shard])

    def item(self, place: int) -> Item:
        """The post at a place."""
        shard, row = self.home(place)
        ends = self.array(shard, "ends")
        start = int(ends[row - 1]) if row else 0
        with self._job.path(self._step, shard, "jsonl").open("rb") as handle:
            handle.seek(start)
            return Item.model_validate_json(handle.read(int(ends[row]) - start))


def chunks(job: Job, step: str, shard: int) -> Iterator[list[Item]]:
    """A shard's posts, a few at a time."""
    with job.path(step, shard, "jsonl").open("rb") as handle:
        while lines := list(islice(handle, CHUNK)):
            yield [Item.model_validate_json(line) for line in lines]
