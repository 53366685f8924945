"""A text as words with their kind, around a place where they are asked for.

Knows: jieba's dictionary and its tags (``ns`` places, ``nt`` organisations, ``nr`` people, ``nz`` other names; no
tag: a word that jieba put together from its statistics, which is in no dictionary). Does not know: what is asked.

Only the neighbourhood of a place is cut into words, and one neighbourhood serves the places that follow, so that
the time is in proportion to the text, and nearly nothing where no rule asks.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

BEFORE, AFTER, AHEAD = 24, 6, 48  # characters looked at before and behind a place; cut in advance
_CLAUSE_END = re.compile(r"[^\u3400-\u9fff]")
COMMON_FROM = (
    100  # how often a name stands in jieba's corpus from which it is an ordinary word as well (阳光)
)

FREQUENT_VERB = 3_000


class Word(NamedTuple):
    """``text[start:end]`` is ``text``; ``tag`` is empty for a word in no dictionary."""

    text: str
    start: int
    end: int
    tag: str

    @property
    def is_name(self) -> bool:
        """Whether it can only be a proper name: of a place, an organisation, a person, or one in no dictionary."""
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


@cache
def _is_function(letter: str) -> bool:
    """Whether a character alone is a pronoun, particle, number, or a frequent verb: jieba joins such ones (刚上, 我考)
    to words that are no names."""
    tags, counts = _dictionary()
    tag = tags.get(letter, "")
    return tag[:1] in tuple("rdpcumqyft") or (tag == "v" and counts.get(letter, 0) >= FREQUENT_VERB)


class Words:
    """The words of a text, cut where somebody asks; ask from left to right."""

    def __init__(self, text: str):
        self.text = text
        self._from, self._to, self._words = 0, 0, []

    def around(self, start: int, end: int) -> tuple[list[Word], list[Word]]:
        """The words that end at or before ``end``, back to the clause's start or 24 characters before ``start``, and
        those behind; the first list is empty where no word ends at ``end``."""
        least = max(0, start - BEFORE)
        for place in range(start - 1, least - 1, -1):
            if _CLAUSE_END.match(self.text, place):
                least = place + 1
                break
        far = _CLAUSE_END.search(self.text, end, end + AFTER)
        most = far.start() if far else min(len(self.text), end + AFTER)
        if not (self._from <= least and most <= self._to):
            far = _CLAUSE_END.search(self.text, end, end + AHEAD)
            self._from, self._to = least, far.start() if far else min(len(self.text), end + AHEAD)
            self._words = _cut(self.text, self._from, self._to)
        before = [word for word in self._words if least <= word.start and word.end <= end]
        behind = [word for word in self._words if end <= word.start < most]
        return (before if before and before[-1].end == end else []), behind


def _cut(text: str, start: int, end: int) -> list[Word]:
    tags = _dictionary()[0]
    import jieba

    words, place = [], start
    for word in jieba.dt.cut(text[start:end]):
        words.append(Word(word, place, place + len(word), tags.get(word, "")))
        place += len(word)
    return words
