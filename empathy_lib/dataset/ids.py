"""Which item gets which id, and which records hold further answers of an item read before.

Knows: what a record says of itself and where it stands. Does not know: how it is read (``sources``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from empathy_lib.dataset.files import Notes
from empathy_lib.dataset.layouts import BadRecord


@dataclass
class Claim:
    """Where a record stands, and what its item's id is to be made of.

    ``id`` is the one given, or empty; ``name`` is unique to the file, ``stem`` is its plain name.
    """

    id: str
    layout: str
    file: str
    stem: str
    name: str
    line: int | None
    number: int | None
    answers: int = 0

    @property
    def wanted(self) -> str:
        """The id given, or one by the record's place, and its file's where there are several."""
        if self.id:
            return self.id
        place = self.line or self.number
        parts = [self.layout, self.name] if self.name else [self.layout]
        return "-".join([*parts, f"{place:06d}"] if place else parts if self.name else [*parts, self.stem])


class Ids:
    """Which ids are taken, and by what."""

    def __init__(self) -> None:
        self.taken: dict[str, tuple[int, str, str]] = {}  # id: position, place, file
        self._numbers: dict[str, int] = {}  # id: how often it was numbered, for it was taken

    def settle(
        self, claim: Claim, position: int, same: Callable[[int], bool], notes: Notes
    ) -> tuple[str, int | None]:
        """An id of the item's own, and the position of the one whose further answers it holds.

        Args:
            position: of the item, if it is one of its own.
            same: whether the item at a position has the same post.

        Raises:
            BadRecord: its file gives the same id to another post.
        """
        given, before, wanted = bool(claim.id), None, claim.wanted
        if given and wanted in self.taken:
            before, place, other = self.taken[wanted]
            if not place.startswith("~") and same(before):
                notes.joined += 1
                return wanted, before
            if other == claim.file and not place.startswith("~"):
                raise BadRecord(
                    "id",
                    f"'{wanted}' is that of {place}, another post; give every item its own",
                    claim.answers,
                )
            if not place.startswith("~"):
                notes.renamed += 1
            wanted = f"{claim.name or claim.stem}:{wanted}"
            if wanted in self.taken and same(self.taken[wanted][0]):
                notes.joined += 1
                return wanted, self.taken[wanted][0]
        free = wanted
        while free in self.taken:
            self._numbers[wanted] = self._numbers.get(wanted, 1) + 1
            free = f"{wanted}-{self._numbers[wanted]}"
        place = (
            f"line {claim.line}" if claim.line else f"record {claim.number}" if claim.number else claim.file
        )
        self.taken[free] = (position, place if given else f"~{place}", claim.file)
        return free, None
