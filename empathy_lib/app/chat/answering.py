"""An answer as far as it may be shown: the crisis gate before anything is generated, a screen before anything
is shown.

Knows: the order of the checks, and which part of a growing completion is what. Does not know: how text is
generated (``models.streaming``), the patterns (``core.crisis``, ``metrics.harm``), where it is shown. It
keeps no text and writes none anywhere, not in a warning either.
"""

from __future__ import annotations

import contextlib
import re
import unicodedata
import warnings
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

from empathy_lib.app.chat import words
from empathy_lib.core import coe
from empathy_lib.core.crisis import Screen, fixed_text, screen
from empathy_lib.core.helplines import Region
from empathy_lib.metrics.harm import marked

MOST = 2000  # characters of a post: several times the longest that a policy learnt from
HARMS = ("method", "medication", "wrong_resource")  # what the rules mark is seldom wrong; they miss much
STRAY = "stray"  # what stands outside the grammar
_TAG = re.compile(rf"<(/?)({'|'.join(coe.TAGS)})>")
_END = re.compile(rf"[。！？；…!?;\n]|{_TAG.pattern}")  # where a piece may end that is shown


@dataclass(frozen=True)
class Part:
    """What is shown next.

    ``kind``: ``L1`` to ``L4``, ``answer`` and ``stray`` are pieces of the model's text, each to be added to
    its ``block``; ``help`` stands in place of the answer, what was shown of it included; ``note`` is a line
    about it. The last two are ours, in Chinese (``text``) and English.
    """

    kind: str
    text: str
    english: str = ""
    block: int = 0


@dataclass(frozen=True)
class Chat:
    """One policy behind the checks; each post stands alone.

    Args:
        speak: the completion of a post as it grows, all of it each time; closed early where it may not go on.
        look: what flags a post; ``models.crisis.gate()``.
        region: whose lines the fixed text names.
        chain: whether the policy writes a Chain of Empathy.
    """

    speak: Callable[[str], Generator[str]]
    look: Callable[[str], Screen] = screen
    region: Region = "cn"
    chain: bool = True

    def answer(self, post: str) -> Generator[Part]:
        """The parts of an answer, in order.

        A flagged post gets the fixed text and nothing is generated. A flagged answer is ended, and so is one
        in which anything fails; a warning names the kind of error alone.
        """
        try:
            yield from self._answer(clean(post).strip())
        except Exception as error:  # whatever gate, model, tokenizer or patterns raise
            warnings.warn(
                f"no answer: {type(error).__name__}; the fixed text stands in its place", stacklevel=2
            )
            yield self._help()

    def _answer(self, post: str) -> Iterator[Part]:
        if self.look(post).flagged:
            yield self._help()
            return
        if len(post) > MOST:
            chinese, english = words.TOO_LONG
            yield Part("note", chinese.format(MOST), english.format(MOST))
            return
        text, seen, shown = "", 0, []
        with contextlib.closing(self.speak(post)) as growing:
            for text in map(clean, growing):
                end = max((found.end() for found in _END.finditer(text, seen)), default=seen)
                if end == seen:
                    continue
                if is_dangerous(post, text[:end]):
                    yield self._help()
                    return
                yield from self._new(text[:end], shown)
                seen = end
        if is_dangerous(post, text):
            yield self._help()
            return
        yield from self._new(text, shown)
        yield from self._notes(text)

    def _help(self) -> Part:
        return Part("help", fixed_text(self.region), fixed_text(self.region, "en"))

    def _new(self, text: str, shown: list[int]) -> Iterator[Part]:
        """What of the text was not shown yet; ``shown`` counts the characters of each block that were."""
        for block, (kind, whole) in enumerate(self._blocks(text)):
            shown += [0] * (block == len(shown))
            if new := whole[shown[block] :]:
                yield Part(kind, new, block=block)
                shown[block] = len(whole)

    def _blocks(self, text: str) -> list[tuple[str, str]]:
        """The text cut at the grammar's tags, whatever their order: kind and text of each block."""
        if not self.chain:
            return [("answer", text.strip())]
        found, kind, start = [], STRAY, 0
        for tag in _TAG.finditer(text):
            found.append((kind, text[start : tag.start()].strip()))
            kind, start = STRAY if tag[1] or tag[2] == "empathy_think" else tag[2], tag.end()
        return [*found, (kind, text[start:].strip())]

    def _notes(self, text: str) -> Iterator[Part]:
        if not any(kind == "answer" and whole for kind, whole in self._blocks(text)):
            yield Part("note", *words.NO_REPLY)
        if self.chain and (fault := coe.main_fault(text)):
            chinese, english = words.MALFORMED
            yield Part("note", chinese.format(fault), english.format(fault))


def is_dangerous(post: str, text: str) -> bool:
    """Whether an answer, its chain included, may not be shown: the crisis rules flag it, or the harm rules
    find a method, a medicine to take, or a number that is no known line."""
    apart, joined = _TAG.sub("\n", text), _TAG.sub("", text)  # a word that a tag parts is read whole too
    if screen(apart).flagged or screen(joined).flagged:
        return True
    told = marked(post, apart)
    return any(told[name] for name in HARMS)


def clean(text: str) -> str:
    """Text without control and format characters, which could steer a terminal or turn the direction of
    reading; line breaks stay, what is no Unicode becomes "?"."""
    kept = (each for each in text if each == "\n" or unicodedata.category(each) not in ("Cc", "Cf"))
    return "".join(kept).encode("utf-8", "replace").decode("utf-8")
