"""Names of people in a text.

Knows: where people are named: behind 叫 and 名字是, behind what somebody is to the writer (室友小雨),
before a title (张老师). Does not know: other personal data (``deidentify``).

A name is whole words: 也不叫冷漠 names nobody, since 冷漠 is a word. A name alone in a sentence is not looked
for: nothing tells it from an ordinary word but a model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from empathy_lib.dataset.words import Word, Words, is_particle

_LISTS = {
    key: words.split()
    for key, words in yaml.safe_load(
        Path(__file__).with_name("deidentify.yaml").read_text(encoding="utf-8")
    ).items()
}
_SURNAMES = f"(?:{'|'.join(_LISTS['compound_surnames'])}|[{''.join(_LISTS['surnames'])}])"
_PLAIN_SURNAMES = f"(?:{'|'.join(_LISTS['compound_surnames'])}|[{''.join(_LISTS['plain_surnames'])}])"
_NAME_WORD = "名字|姓名|真名|本名|大名|全名"
_CUE = re.compile(
    rf"(?:(?<![尖喊吼惨嚎嘶哭狂么])(?:叫做|名叫|叫)|(?:{_NAME_WORD})\s?[是叫为:]|本人)\s?:?[“\"]?(?={_SURNAMES})"
)
_BEHIND = re.compile(r"\W|今年|是个|是一|是我|也是|在|的|和|跟|说|$")
_TITLED = re.compile(rf"{_PLAIN_SURNAMES}(?:{'|'.join(_LISTS['titles'])})(?!们)")
_COUNTED = re.compile(r"[一二两三几每这那][张段]$")
_ROLE = re.compile(f"(?:{'|'.join(_LISTS['roles'])})(?=[小阿]|{_PLAIN_SURNAMES})")
_NO_NAME = frozenset(_LISTS["no_name"])


def people(text: str) -> Iterator[tuple[int, int]]:
    """``(start, end)`` of every name; a title belongs to it."""
    words = Words(text)
    for cue in _CUE.finditer(text):
        if name := _after_cue(words, cue.end()):
            yield name
    for role in _ROLE.finditer(text):
        behind = words.after(role.end())
        if behind and _is_person(behind[0], told=True):
            yield behind[0].start, behind[0].end
    words = Words(text)
    for title in _TITLED.finditer(text):
        if _COUNTED.search(text[max(0, title.start() - 1) : title.start() + 1]):
            continue
        before, _ = words.around(title.start(), title.end())
        if any(word.start == title.start() for word in before):
            yield title.span()


def _after_cue(words: Words, start: int) -> tuple[int, int] | None:
    """The name of two or three characters (four with a compound surname) that begins here, in whole words."""
    behind = words.after(start)
    if not behind:
        return None
    first = behind[0]
    if first.text in _LISTS["compound_surnames"] and len(behind) > 1:
        end, right = behind[1].end, behind[1].end - start <= 4
    elif not first.tag and len(first.text) == 2 and len(behind) > 1 and len(behind[1].text) == 1:
        end = first.end if _BEHIND.match(words.text, first.end) else behind[1].end  # 田曦 薇
        right = not any(map(is_particle, words.text[start + 1 : end]))
    elif len(first.text) > 1:
        end, right = first.end, _is_person(first, told=False)
    else:  # a surname, and what follows it: 王 小红
        end = behind[1].end if len(behind) > 1 else start
        right = 1 < end - start <= 3 and not any(map(is_particle, words.text[start + 1 : end]))
    if not right or words.text[start:end] in _NO_NAME or not _BEHIND.match(words.text, end):
        return None
    # an ordinary word that is a name as well, before more of a sentence: 叫宁静的晚上
    return None if first.is_common and words.text[end : end + 1] == "的" else (start, end)


def _is_person(word: Word, *, told: bool) -> bool:
    """Whether a word can be a person's name; ``told``: something before it says that a person comes."""
    if word.text in _NO_NAME or not 2 <= len(word.text) <= 4:
        return False
    if word.text[0] in "小阿":
        return (
            told
            and len(word.text) <= 3
            and (word.tag.startswith("nr") or not (word.tag or is_particle(word.text[1])))
        )
    if not re.match(_PLAIN_SURNAMES if told else _SURNAMES, word.text):
        return False
    if len(word.text) == 4 and word.text[:2] not in _LISTS["compound_surnames"]:
        return False
    if word.tag.startswith("nr"):
        return not word.is_common or not told
    return not word.tag and not any(map(is_particle, word.text[1:]))
