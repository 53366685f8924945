"""Turns that hold several speakers' words: ``我最近睡不好。支持者：你可以早点睡。求助者：试过了，没用。``

Knows: the labels under which Chinese corpora write who speaks. Does not know: layouts, records.

A label is unmistakable where a turn may begin: at the start of the text, after white space, after a
sentence's end or a closing quote. Behind an opening quote or bracket it is part of what is told. A label
within a sentence is narrated ("他告诉来访者：…") unless both sides' labels stand there: then nobody can tell
where which side speaks, and the record is refused.
"""

from __future__ import annotations

import re

Turn = tuple[str, str, str]  # side, text, field

_SIDES = {
    "client": "来访者|求助者|咨询者|求询者|倾诉者|提问者",
    "counselor": "心理咨询师|咨询师|支持者|倾听者|辅导者",
}
_LABEL = re.compile(
    rf"(?P<open>[【\[（(])?(?:(?P<client>{_SIDES['client']})|(?P<counselor>{_SIDES['counselor']}))\d{{0,2}}"
    r"(?(open)[】\]）)]\s{0,3}[:：]?|\s{0,3}[:：])"
)
_BEGINS = re.compile(r"[\s。！？!?…~～;；.”」』》)）\]】]")
_TOLD = "“‘「『《\"'（(【["


class Unclear(ValueError):
    """Labels of both sides stand where no turn begins."""


def cut(turn: Turn) -> list[Turn]:
    """The turn as one or several: at every unmistakable label a new one begins, without the label.

    Raises:
        Unclear: speakers cannot be told apart; the message says which labels stand there.
    """
    side, text, field = turn
    starts, glued = [], {}
    for label in _LABEL.finditer(text):
        speaker = "client" if label["client"] else "counselor"
        before = text[label.start() - 1] if label.start() else "\n"
        if _BEGINS.match(before):
            starts.append((label.start(), label.end(), speaker))
        elif before not in _TOLD:
            glued.setdefault(speaker, label[0])
    if len(glued) == 2:
        raise Unclear(f"holds labels of both sides within sentences ({', '.join(sorted(glued.values()))})")
    if not starts:
        return [turn]
    parts = [(side, text[: starts[0][0]], field)]
    ends = [start for start, *_ in starts[1:]] + [len(text)]
    parts += [(who, text[begin:end], field) for (_, begin, who), end in zip(starts, ends, strict=True)]
    return [part for part in parts if part[1].strip()] or [(side, "", field)]
