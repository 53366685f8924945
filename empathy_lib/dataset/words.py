"""A text as words with their kind, around a place where they are asked for.

Knows: jieba's dictionary and its tags (``ns`` places, ``nt`` organisations, ``nr`` people, ``nz`` other
names; no tag: a word that jieba put together from its statistics, in no dictionary). Does not know: what is
asked.

Only the neighbourhood of a place is cut into words, and one neighbourhood serves the places that follow, so
that the time is in proportion to the text, and nearly nothing where no rule asks.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from functools import cache, cached_property, lru_cache
from typing import NamedTuple

BEFORE, AFTER, AHEAD = 24, 6, 48  # characters looked at before and behind a place; cut in advance
_NO_LETTER = re.compile(r"[^\u3400-\u9fff]")
COMMON_FROM = (
    100  # how often a name stands in jieba's corpus from which it is an ordinary word as well (阳光)
)

FREQUENT_VERB, FREQUENT_ADJECTIVE = 3_000, 30_000  # of single characters, in jieba's corpus


class Word(NamedTuple):
    """``text[start:end]`` is ``text``; ``tag`` is empty for a word in no dictionary."""

    text: str
    start: int
    end: int
    tag: str

    @property
    def is_name(self) -> bool:
        """Whether it can only be a proper name: a place, an organisation, a person, or in no dictionary."""
        if len(self.text) < 2:
            return False
        if not self.tag:
            return not any(_is_function(letter) for letter in self.text)
        return self.tag[:2] in ("ns", "nt", "nz") or (self.tag.startswith("nr") and not self.is_common)

    @property
    def is_common(self) -> bool:
        """Whether it is an ordinary word as well."""
        return len(self.text) == 2 and _dictionary()[1].get(self.text, 0) >= COMMON_FROM


@cache
def _dictionary() -> tuple[dict[str, str], dict[str, int]]:
    """jieba's tags and frequencies; a second to load, so not before a text needs them."""
    import jieba
    from jieba import posseg

    jieba.setLogLevel(30)
    posseg.dt.initialize()
    return posseg.dt.word_tag_tab, jieba.dt.FREQ


def is_particle(letter: str) -> bool:
    """Whether a character alone is a pronoun, particle or frequent adverb: none stands in a given name."""
    tags, counts = _dictionary()
    tag = tags.get(letter, "")
    return tag[:1] in tuple("rcupy") or (tag == "d" and counts.get(letter, 0) >= FREQUENT_ADJECTIVE)


@cache
def _is_function(letter: str) -> bool:
    """Whether a character alone is a pronoun, particle, number or frequent verb: jieba joins such ones to
    words that are no names (刚上, 我考)."""
    tags, counts = _dictionary()
    tag = tags.get(letter, "")
    least = {"v": FREQUENT_VERB, "a": FREQUENT_ADJECTIVE}.get(tag)
    return tag[:1] in tuple("rdpcumqyft") or (least is not None and counts.get(letter, 0) >= least)


class Words:
    """The words of a text, cut where somebody asks; ask from left to right."""

    def __init__(self, text: str):
        self.text = text
        self._from, self._to, self._words = 0, 0, []

    @cached_property
    def _ends(self) -> list[int]:
        """Where a clause ends: positions of everything that is no Chinese character."""
        return [match.start() for match in _NO_LETTER.finditer(self.text)]

    def _until(self, start: int, most: int) -> int:
        """The end of the clause that goes on at ``start``, at most ``most`` characters on."""
        place = bisect_left(self._ends, start)
        end = self._ends[place] if place < len(self._ends) else len(self.text)
        return min(end, start + most)

    def around(self, start: int, end: int) -> tuple[list[Word], list[Word]]:
        """The words before ``end``, back to the clause's start or 24 characters before ``start``, and those
        behind; the first list is empty where no word ends at ``end``."""
        place = bisect_left(self._ends, start)
        least = max(start - BEFORE, self._ends[place - 1] + 1 if place else 0)
        most = self._until(end, AFTER)
        if not (self._from <= least and most <= self._to):
            self._from, self._to = least, self._until(end, AHEAD)
            self._words = self._cut(self._from, self._to)
        before = [word for word in self._words if least <= word.start and word.end <= end]
        behind = [word for word in self._words if end <= word.start < most]
        return (before if before and before[-1].end == end else []), behind

    def after(self, start: int) -> list[Word]:
        """The words of the few characters from ``start`` on, cut as if a sentence began there."""
        return self._cut(start, self._until(start, AFTER))

    def _cut(self, start: int, end: int) -> list[Word]:
        tags, words = _dictionary()[0], []
        for word in _pieces(self.text[start:end]):
            words.append(Word(word, start, start + len(word), tags.get(word, "")))
            start += len(word)
        return words


@lru_cache(maxsize=4096)  # corpora repeat themselves, and so do texts that would take long
def _pieces(text: str) -> tuple[str, ...]:
    import jieba

    return tuple(jieba.dt.cut(text))
