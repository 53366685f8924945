"""Schools and companies that are named in a text.

Knows: what a name of a school or a company is made of, in words. Does not know: other personal data
(``deidentify``).

A name ends with a word like 大学 or 有限公司 (失败中学到 holds none), begins with a proper name (a place, a
person, a word in no dictionary), and holds but nouns in between. "重点大学" and "外贸公司" say a kind;
"英国大学" and "深圳公司" say where. An ordinary word makes a name (育才小学) only where somebody
comes to be in it: behind 在, 考上, 进了 and the like. Well-known employers and universities are a list. The
lists stand in ``deidentify.yaml``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from empathy_lib.dataset.words import Word, Words

_LISTS = {
    key: frozenset(words.split())
    for key, words in yaml.safe_load(
        Path(__file__).with_name("deidentify.yaml").read_text(encoding="utf-8")
    ).items()
}
_WIDE = _LISTS["countries"] | _LISTS["regions"]
# also a time of life, so that a place before it says where it was spent
_TENURE = frozenset({"高中", "初中", "中专", "技校"})
_BY_PLACE = _TENURE | {"幼儿园"}
_LEGAL = _LISTS["legal_ends"]
_LAST = dict.fromkeys(_LISTS["school_ends"], "school") | dict.fromkeys(
    _LEGAL | _LISTS["company_ends"], "company"
)
_ENDS = re.compile(
    r"(?<=[^\W\d_a-zA-Z的了着过我你他她它们这那是就都也又还很吗吧呢])(?:"
    + "|".join(sorted(_LAST, key=len, reverse=True))
    + r")(?<!中学(?=[到会着过得懂]))(?![生化])|(?<=[\u4e00-\u9fff])[一二三四五六七八九十]{1,3}中(?!学)"
)
_NUMBERED = re.compile(r"[一二三四五六七八九十]{1,3}中$|第[一二三四五六七八九十百]{1,4}$")
_UNITS = frozenset("省市县区镇乡州村")
_NOUNS = ("n", "vn", "an", "j", "l", "b", "s")
_NUMBERED_BEFORE = re.compile(r"(?=\W|[读上念的高初就毕时里门，]|$)")
_IN = re.compile(
    r"(?:在|就读于?|毕业于|考上了?|考入了?|考进了?|进了?|进入了?|上了|转到了?|转学到|送到了?|去了|入职了?|"
    r"加入了?|来自|从|叫)$"
)
_EMPLOYER = re.compile("|".join(sorted(_LISTS["employers"], key=len, reverse=True)))
_WORKS = re.compile(
    r"(?:总部|分公司)?里?(?:上班|工作|实习|任职|就职|打工|面试|裁员|裁掉|辞职|离职|裸辞|跳过?来|跳出来|"
    r"出来|待了|呆了|干了|做了|做到|当(?=[一-龥]{0,3}(?:员|师|工|手|管))|卖保险|流水线|"
    r"第[一二三四五六七八九十\d]{1,2}年|的(?:工作|同事|领导|员工|总部|主管|offer))"
)
_WORKS_FOR = re.compile(r"(?:入职了?|就职于|任职于|供职于|跳槽到了?|离开了?|加入了?)$")
_SHORT = re.compile("|".join(sorted(_LISTS["short_schools"], key=len, reverse=True)))


def organisations(text: str) -> Iterator[tuple[str, int, int]]:
    """``("school" or "company", start, end)`` of every name, in order."""
    words, last = Words(text), -1
    for match in _ENDS.finditer(text):
        if match.start() == last:  # 公司公司: the same word again begins no name
            last = match.end()
            continue
        last = match.end()
        if match[0] not in _LAST and (place := _place_before(words, match)):
            yield "school", place.start, match.end()
            continue
        before, behind = words.around(match.start(), match.end())
        if before and (start := _named(before, behind, match[0], match.start(), text)) is not None:
            yield _LAST.get(match[0], "school"), start, match.end()
    for kind, pattern in (("company", _EMPLOYER), ("school", _SHORT)):
        words = Words(text)
        for match in pattern.finditer(text):
            if kind == "company" and not _works_there(text, match):
                continue
            before, _ = words.around(match.start(), match.end())
            if match[0].isascii() or any(word.start == match.start() for word in before):
                yield kind, *match.span()


def _place_before(words: Words, match: re.Match[str]) -> Word | None:
    """The place before a number: 成都七中."""
    before, _ = words.around(match.start(), match.start())
    place = before[-1] if before else None
    return place if place and place.tag == "ns" and _NUMBERED_BEFORE.match(words.text, match.end()) else None


def _works_there(text: str, match: re.Match[str]) -> bool:
    before = text[max(0, match.start() - 6) : match.start()]
    return bool(_WORKS.match(text, match.end()) or _WORKS_FOR.search(before))


def _named(before: list[Word], behind: list[Word], last: str, at: int, text: str) -> int | None:
    """Where the name begins that ends with ``last`` at position ``at``; None where there is none."""
    if last == "银行" and behind and behind[0].text not in ("上班", "工作", "做", "当", "实习"):
        return None
    whole = before[-1]
    chain = [whole] if whole.start < at else []
    for word in reversed(before[:-1]):
        if word.start >= at:
            continue
        if not _may_be_part(word):
            break
        chain.insert(0, word)
    if whole.start < at and not _may_be_part(
        Word(whole.text[: at - whole.start], whole.start, at, whole.tag)
    ):
        return None
    names = [word for word in chain if _is_name(word, last, at)]
    if names and _enough(names, chain, last, at):
        return names[0].start
    plain = [word for word in chain if word.text not in _LISTS["kinds"]]
    if not names and plain and _fits_as_common(plain[-1], last, at):
        lead = text[max(0, plain[-1].start - 5) : plain[-1].start]
        if _IN.search(lead) or (last in _LEGAL and (not lead or lead[-1] == "是" or not lead[-1].isalnum())):
            return plain[-1].start
    return None


def _may_be_part(word: Word) -> bool:
    if word.text in _LISTS["never"]:
        return False
    if word.text in _UNITS or word.text in _LISTS["kinds"] or word.is_name:
        return True
    return bool(_NUMBERED.match(word.text)) or (len(word.text) > 1 and word.tag.startswith(_NOUNS))


def _is_name(word: Word, last: str, at: int) -> bool:
    stem = word.text[: at - word.start]
    return word.is_name and stem not in _LISTS["kinds"] and stem != last


def _enough(names: list[Word], chain: list[Word], last: str, at: int) -> bool:
    """Whether the proper names make this a name: a country or a large city alone says only where."""
    if _NUMBERED.match(last):
        return any(word.tag[:2] in ("ns", "nz") for word in names)
    if any(word.end > at and word.text[: at - word.start] in _LISTS["countries"] for word in names):
        return False
    if any(word.tag != "ns" or word.end > at for word in names) or any(
        _NUMBERED.match(w.text) for w in chain
    ):
        return True
    wide = all(word.text.rstrip("省市") in _WIDE for word in names)
    city = all(word.text.rstrip("省市") in _WIDE | _LISTS["cities"] for word in names)
    between = [word for word in chain if word.start > names[-1].start and word.text not in _UNITS]
    if _LAST.get(last) == "company":
        return not city if last in _LEGAL else not city and bool(between)
    return bool(between) or not (city if last in _BY_PLACE else wide)


def _fits_as_common(word: Word, last: str, at: int) -> bool:
    if (
        last in ("大学", "公司", "银行", "厂", *_TENURE)
        or word.text in _LISTS["kinds"]
        or word.text in _UNITS
    ):
        return False
    return word.end == at and 2 <= len(word.text) <= 4
