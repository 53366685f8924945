"""Many items with little memory: a sequence that lies on disk, and functions of items spread over processes.

Knows: how items are kept, sent and counted. Does not know: what is done to them. Everything that takes items
takes a list or an :class:`ItemStore` alike.
"""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, overload

from joblib import Parallel, cpu_count, delayed

from empathy_lib.core.files import cache_dir
from empathy_lib.core.schema import Item

CHUNK = 256  # items sent to a process at a time
FEWEST_TO_SPREAD = 4_000  # below this, starting processes takes longer than it saves


class ItemStore(Sequence[Item]):
    """Items in a temporary file without a name, which is gone when the process ends, however it ends.

    Reads like a list; an item read is a new object every time, so changing one changes nothing here. Memory:
    16 bytes an item.
    """

    def __init__(self, items: Iterable[Item] = ()) -> None:
        try:
            # not the system's temporary folder, which often is memory
            cache_dir().mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=cache_dir(), prefix="items-")  # noqa: SIM115  (lives as long as the store)
        except OSError:  # a cache that cannot be written is no reason to stop
            self._file = tempfile.TemporaryFile(prefix="items-")  # noqa: SIM115
        self._starts, self._ends, self._written = array("Q"), array("Q"), 0
        for item in items:
            self.append(item)

    def append(self, item: Item) -> None:
        """Put one item at the end."""
        self.append_line(line_of(item))

    def append_line(self, line: bytes) -> None:
        """Put one item, as :meth:`lines` gives it, at the end."""
        self._file.write(line)
        self._starts.append(self._written)
        self._written += len(line)
        self._ends.append(self._written)

    def replace(self, position: int, item: Item) -> None:
        """Put an item in another's place."""
        self.append(item)
        self._starts[position], self._ends[position] = self._starts.pop(), self._ends.pop()

    def select(self, positions: Iterable[int]) -> ItemStore:
        """The items at these positions, in this order, in the same file: append to neither from then on."""
        chosen = object.__new__(ItemStore)
        chosen._file, chosen._written = self._file, self._written
        positions = array("Q", positions)
        chosen._starts, chosen._ends = (
            array("Q", (ends[p] for p in positions)) for ends in (self._starts, self._ends)
        )
        return chosen

    def lines(self) -> Iterator[bytes]:
        """The items as they lie in the file."""
        self._file.flush()
        for start, end in zip(self._starts, self._ends, strict=True):
            yield os.pread(self._file.fileno(), end - start, start)

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[Item]:
        return map(Item.model_validate_json, self.lines())

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> ItemStore: ...
    def __getitem__(self, index: int | slice) -> Item | ItemStore:
        if isinstance(index, slice):
            return self.select(range(*index.indices(len(self))))
        place = range(len(self))[index]  # the range raises IndexError and counts from the end
        return next(iter(self.select([place])))


def select(items: Sequence[Item], positions: Iterable[int]) -> Sequence[Item]:
    """The items at these positions, in this order."""
    return items.select(positions) if isinstance(items, ItemStore) else [items[place] for place in positions]


def map_items(
    function: Callable[[list[Item]], tuple[list[Item], Any]], items: Sequence[Item]
) -> tuple[Sequence[Item], list[Any]]:
    """``function`` of all items, chunk by chunk, on all cores and into an :class:`ItemStore` where there are
    many.

    Args:
        function: takes items; returns items, as many as it likes, and anything else. Must work item by item,
            and be importable.
        items: N items.

    Returns:
        The items of all chunks in order, and the rest of what each chunk gave.
    """
    if len(items) < FEWEST_TO_SPREAD:
        done, rest = function(list(items))
        return done, [rest]
    store, rests = ItemStore(), []
    lines = lines_of(items)
    workers = Parallel(n_jobs=cpu_count(), return_as="generator")
    for made, rest in workers(
        delayed(_apply)(function, chunk) for chunk in iter(lambda: list(islice(lines, CHUNK)), [])
    ):
        for line in made:
            store.append_line(line)
        rests.append(rest)
    return store, rests


def _apply(
    function: Callable[[list[Item]], tuple[list[Item], Any]], lines: Sequence[bytes]
) -> tuple[list[bytes], Any]:
    made, rest = function([Item.model_validate_json(line) for line in lines])
    return [line_of(item) for item in made], rest


def lines_of(items: Sequence[Item]) -> Iterator[bytes]:
    """Items as :meth:`ItemStore.lines` gives them."""
    return items.lines() if isinstance(items, ItemStore) else map(line_of, items)


def line_of(item: Item) -> bytes:
    """An item as it lies in an :class:`ItemStore`; holds no line feed."""
    return item.model_dump_json(exclude_defaults=True).encode()
