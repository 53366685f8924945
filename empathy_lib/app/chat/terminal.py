"""The terminal: posts are read, answers written as they come; nothing a model wrote is taken for markup.

Knows: lines and colours. Does not know: what may be shown (``answering``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TextIO

from rich.console import Console
from rich.text import Text

from empathy_lib.app.chat import words
from empathy_lib.app.chat.answering import STRAY, Chat, Part
from empathy_lib.core.coe import LAYER_TITLES
from empathy_lib.core.errors import UserError


def read_post(source: TextIO) -> str:
    """All that is piped in.

    Raises:
        UserError: nothing is, or it is no UTF-8.
    """
    try:
        post = source.read()
    except UnicodeDecodeError as error:
        raise UserError(
            "stdin: not UTF-8 text; convert it, for instance: iconv -f GB18030 -t UTF-8"
        ) from error
    if not post.strip():
        raise UserError("stdin: no post; pipe one in, or give --post TEXT")
    return post


def typed_posts(source: TextIO, notices: Console) -> Iterator[str]:
    """Posts as they are typed, each ended by an empty line or Ctrl-D; Ctrl-D alone ends."""
    while True:
        notices.print(Text("\n帖子 Post (空行结束 an empty line ends it; Ctrl-D: quit)", "bold"))
        lines: list[str] = []
        while line := source.readline():
            if line.strip():
                lines.append(line)
            elif lines:
                break
        if not lines:
            return
        yield "".join(lines)


def talk(chat: Chat, posts: Iterable[str], label: str, console: Console) -> None:
    """Answer each post; ``label`` says whose answers these are."""
    for post in posts:
        _Writer(console).write(chat.answer(post), label)
        console.print(Text(words.both(words.WHAT), "dim"))
        console.print(Text(words.whom_to_turn_to(chat.region)))


class _Writer:
    """Writes one answer; a block's pieces come on one line, whatever else on lines of their own."""

    def __init__(self, console: Console) -> None:
        self._console, self._block, self._open = console, -1, False

    def write(self, parts: Iterable[Part], label: str) -> None:
        for part in parts:
            if part.kind == "help":
                self._help(part)
            elif part.kind == "note":
                self._line(f"[{part.text} {part.english}]", "yellow")
            else:
                self._piece(part, label)
        self._line("")

    def _piece(self, part: Part, label: str) -> None:
        """A piece of the model's text; the first of a block comes beneath the block's title."""
        style = "" if part.kind == "answer" else "dim"
        if self._block < 0:
            self._line(f"[{words.both(words.LABEL)} · {label}]", "bold magenta")
        if part.block != self._block:
            titles = {"answer": words.both(words.REPLY), STRAY: words.both(words.STRAY)}
            self._line(titles.get(part.kind) or f"{part.kind} {LAYER_TITLES[part.kind]}", f"bold {style}")
            self._block = part.block
        # soft_wrap: the terminal breaks lines, rich would break each piece by itself
        self._console.print(Text(part.text, style), end="", soft_wrap=True)
        self._open = True

    def _help(self, part: Part) -> None:
        if self._block >= 0:
            self._line(words.both(words.WITHDRAWN), "bold red")
        for line in (words.both(words.HELP), part.text, part.english):
            self._line(line, "bold")

    def _line(self, text: str, style: str = "") -> None:
        if self._open:
            self._console.print()
        self._console.print(Text(text, style), soft_wrap=True)
        self._open = False
