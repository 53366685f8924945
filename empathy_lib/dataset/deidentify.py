"""De-identification: names, numbers, addresses, schools, companies, exact dates and links become typed
placeholders.

Knows: what personal data looks like in Chinese posts, by rules that a reader can check. Does not know: items
or files.

Rules, not a named-entity model: most of what identifies somebody in a post has a form (digits, an id after
"微信", a road with a house number), a model of the size that a laptop runs would add false alarms without a
cue to check them by, and a rule that misses can be mended in one line. Schools, companies and people are
looked for in words (``organisations``, ``people``). What has no form is missed: a nickname, a job nobody else
has, the story itself. ``docs/deidentification.md`` gives recall and precision by type. So a text is
*de-identified as far as these rules go*, never anonymous. Help lines (12356, 400 numbers) stay: they are what
a reader may need.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from empathy_lib.core.schema import Item
from empathy_lib.dataset.organisations import organisations
from empathy_lib.dataset.people import people
from empathy_lib.dataset.store import map_items
from empathy_lib.dataset.words import Words

PLACEHOLDERS = {
    "email": "[邮箱]",
    "url": "[网址]",
    "id_card": "[身份证号]",
    "phone": "[电话]",
    "wechat": "[微信号]",
    "qq": "[QQ号]",
    "date": "[日期]",
    "address": "[地址]",
    "school": "[学校]",
    "company": "[公司]",
    "name": "[姓名]",
}
TYPES = tuple(PLACEHOLDERS)  # in the order tried: what is found first is not looked at again


@dataclass(frozen=True)
class Finding:
    """``text[start:end]`` is personal data of ``type``."""

    type: str
    start: int
    end: int


_NUMERALS = "零〇一二三四五六七八九幺壹贰叁肆伍陆柒捌玖"
_D = rf"[0-9{_NUMERALS}]"
_GAP = r"[ \t\-–—.·_*、]{0,2}"  # what people put between digits so that a filter does not see the number


def _digits(*parts: str) -> str:
    """A run of digit classes with gaps allowed between any two."""
    return _GAP.join(parts)


_END = rf"(?!{_GAP}{_D})"
_START = rf"(?<!{_D})(?<!{_D}[ \-–—.])"
_MOBILE = (
    rf"{_START}(?:\+?86{_GAP})?{_digits('[1一幺壹]', '[3-9三四五六七八九叁肆伍陆柒捌玖]', *[_D] * 9)}{_END}"
)
_LANDLINE = r"(?<!\d)(?:\(0\d{2,3}\)|0\d{2,3}[- ])\s?\d{3,4}[- ]?\d{4}(?!\d)"
# public crisis lines: nobody's personal number
_HELP_LINES = {"01082951332", "02785844666", "02512320", "075525629459"}
_ID_CARD = rf"{_START}{_digits('[1-9一二三四五六七八九]', *[_D] * 16, rf'(?:{_D}|[Xx])')}{_END}"

_WECHAT_CUE = (
    r"(?:微\s?信|威信|薇信|围信|徽信|[vw]\s?[xv]|wechat|[v]\s?信|(?<![a-z])v(?=\s?[:：号])|"
    r"卫星(?=\s?[:：号]))"
)
_QQ_CUE = r"(?:q\s?q|扣扣|企鹅|秋秋|球球|群号|(?<![a-z])q(?=\s?[:：群号\d]))"
_SP = r"\s{0,4}+"
_IS = rf"{_SP}(?:号码|账号|帐号|号|id|群)?{_SP}(?:我的|就)?(?:是|为|叫|搜索?|:|：|，|,|=|→)?{_SP}(?:是)?{_SP}"
_WECHAT = (
    rf"{_WECHAT_CUE}{_IS}(?P<found>[a-z][a-z0-9_\-]{{4,19}}|"
    rf"{_digits(*[_D] * 6)}(?:{_GAP}{_D}){{0,5}})(?![a-z0-9_])"
)
# an id that says itself what it is, or stands before its cue
_WECHAT_BEFORE = (
    r"(?<![a-z0-9_\-])(?P<found>(?=[a-z]{1,20}[0-9_\-])[a-z][a-z0-9_\-]{4,19}+)"
    r"(?=\s?加?了?我?的?(?:微信|威信|薇信))"
)
_WECHAT_ID = r"(?<![a-z0-9_\-])wxid_[a-z0-9_\-]{4,20}"
_QQ_BEFORE = rf"{_START}(?P<found>\d{{5,11}}+)(?=[，,、；;\s]{{0,2}}+(?:这?是)?(?:我的?)?q\s?q)"
_QQ = rf"{_QQ_CUE}{_IS}(?P<found>{_digits(*[_D] * 5)}(?:{_GAP}{_D}){{0,6}}){_END}"

_AT, _DOT = r"(?:@|\(at\)|\[at\]|#at#)", r"(?:\.|\(dot\)|点)"
_EMAIL = (
    rf"(?<![a-z0-9])(?<![a-z0-9][._+\-])[a-z0-9][a-z0-9._+\-]{{0,63}}+\s?{_AT}\s?[a-z0-9][a-z0-9\-]{{0,62}}+"
    rf"(?:\s?{_DOT}\s?[a-z0-9\-]{{1,63}}+){{0,4}}\s?{_DOT}\s?[a-z]{{2,6}}"
)
_HOST = r"(?<![a-z0-9@._\-])(?:[a-z0-9\-]{1,63}+\.){1,10}"
_URL = (
    r"(?:https?://|www\.)[a-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]++"
    rf"|{_HOST}(?:(?:com|cn|net|org|top|cc|xyz|vip|info)(?:/[a-z0-9\-._~/?#&=%]*+)?(?![a-z0-9])"
    r"|[a-z]{2,12}/[a-z0-9\-._~/?#&=%]++)"
)

_CN = "一二三四五六七八九十廿卅"
_YEAR = rf"(?:(?:19|20)\d\d|[一二][{_NUMERALS}]{{3}}|\d\d)"
_MONTH, _DAY = (
    r"(?:1[0-2]|0?[1-9]|十[一二]?|[一二三四五六七八九])",
    rf"(?:3[01]|[12]\d|0?[1-9]|[{_CN}]{{1,3}})",
)
_DATE = (
    rf"{_YEAR}\s?年\s?{_MONTH}\s?月\s?(?:{_DAY}\s?[日号]|(?:3[01]|[12]\d|0?[1-9])(?!\d))"
    r"|(?<!\d)(?:19|20)\d\d\s?([./\-])\s?(?:1[0-2]|0?[1-9])\s?\1\s?(?:3[01]|[12]\d|0?[1-9])(?!\d)"
    r"|(?<![\d./\-])(?:3[01]|[12]\d|0?[1-9])([./\-])(?:3[01]|[12]\d|0?[1-9])\2(?:19|20)\d\d(?!\d)"
    rf"|(?<![\d{_CN}]){_MONTH}\s?月\s?{_DAY}\s?[日号](?!线|楼|院)"
)
_BORN = (
    r"(?:出生(?:日期|于)?|生日|日期)\s?[是为:]?\s?"
    r"(?P<found>(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))(?!\d)"
)

# A proper name's characters: no pronouns, particles or verbs that would glue the words before it to it.
_NO = "我你您他她它们咱在住是的了着过和与跟同到从去来把被让给就也都又还很太多入完导这那哪某每几个些种位"
_NO += "名有没不要想会能上读考念进于离当做叫对为因所以但而且或并如果"
_W = rf"[^\W\d_a-zA-Z{_NO}]"
_NUMBER = rf"[0-9{_NUMERALS}十百]{{1,5}}(?:-[0-9]{{1,4}})?"
_ADMIN = rf"{_W}{{1,6}}?(?:省|自治区|自治州|市|新区|区|县|旗|镇|乡|街道)"
_ROAD = rf"{_W}{{1,7}}?(?:路|村|大街|街|大道|道|巷|弄|胡同|里)(?:[东南西北中]段)?"
_ESTATE = rf"{_W}{{2,8}}?(?:小区|花园|家园|公寓|新村|苑|大厦|广场|城|府|湾|庄园)"
_HOUSE = rf"{_NUMBER}\s?(?:号院|号楼|号|弄|栋|幢|座|单元|楼|层|室|房)"
_PLACE = rf"(?:{_ROAD}(?:{_ESTATE})?|{_ESTATE})"
_ADDRESS = (
    rf"(?>(?:{_ADMIN}){{2,4}}+){_PLACE}(?:\s?{_HOUSE}){{0,5}}+(?:\s?[0-9]{{3,4}}(?![0-9年月日]))?"
    rf"|(?>{_ADMIN})?{_PLACE}(?:\s?{_HOUSE}){{1,5}}+(?:\s?[0-9]{{3,4}}(?![0-9年月日]))?"
)
# A district and a road, without a number: only where a word of it is a place's name.
_DISTRICT = re.compile(
    rf"(?>{_W}{{2,6}}?(?P<unit>区|县|镇|乡|街道))(?:{_W}{{2,7}}?(?:路|大道|大街|街|巷|胡同|社区|小区|村)|{_W}{{0,5}}?(?:科技园|产业园|园区))"
    r"(?:[东南西北中一二三四五六七八九]段|[一二三四五六七八九十]组)?"
)

_RULES: dict[str, list[re.Pattern[str]]] = {
    name: [re.compile(pattern, re.IGNORECASE) for pattern in patterns]
    for name, patterns in {
        "email": [_EMAIL],
        "url": [_URL],
        "id_card": [_ID_CARD],
        "phone": [_MOBILE, _LANDLINE],
        "wechat": [_WECHAT, _WECHAT_BEFORE, _WECHAT_ID],
        "qq": [_QQ, _QQ_BEFORE],
        "date": [_DATE, _BORN],
        "address": [_ADDRESS],
    }.items()
}


_PLACE_WORD = re.compile(
    "路|村|街|道|巷|弄|胡同|里|小区|花园|家园|公寓|苑|大厦|广场|城|府|湾|庄园|社区|科技园|产业园|园区"
)
# Cheap signs without which the slow rule of addresses cannot match.
_ADDRESS_SIGN = re.compile(
    rf"[0-9{_NUMERALS}十百]\s?(?:号|弄|栋|幢|座|单元|楼|层|室|房)"
    r"|(?:[省市区县旗镇乡]|自治州|街道).{1,7}(?:[省市区县旗镇乡]|自治州|街道)"
)


class _Fold(dict):
    """NFKC of single characters, so that full-width digits are digits; one that would become several (…)
    stays: places must not move."""

    def __missing__(self, code: int) -> str:
        folded = unicodedata.normalize("NFKC", chr(code))
        self[code] = folded if len(folded) == 1 else chr(code)
        return self[code]


_FOLD = _Fold()


def _spans(kind: str, plain: str) -> Iterator[tuple[int, int]]:
    """Where the patterns of a type match."""
    if kind == "address" and not (_ADDRESS_SIGN.search(plain) and _PLACE_WORD.search(plain)):
        return
    for pattern in _RULES[kind]:
        for match in pattern.finditer(plain):
            if kind != "phone" or re.sub(r"\D", "", match[0]) not in _HELP_LINES:
                yield match.span("found") if "found" in pattern.groupindex else match.span()


def _whole(words: Words, start: int) -> int:
    """The start of an address, or the character before where that begins a place's name: 上海, 温州."""
    first = words.after(start - 1)[:1] if start else []
    return start - 1 if first and first[0].tag == "ns" and len(first[0].text) > 1 else start


def _districts(plain: str) -> Iterator[tuple[int, int]]:
    """Roads and estates of a named district, from the district's name on."""
    words = Words(plain)
    for match in _DISTRICT.finditer(plain):
        inside, _ = words.around(match.end("unit"), match.end("unit"))
        named = [word for word in inside if match.start() <= word.start and word.is_name]
        if named and named[0].tag in ("ns", ""):
            yield named[0].start, match.end()


def find(text: str) -> list[Finding]:
    """Personal data in ``text``, in order, without overlaps; of two rules the one earlier in :data:`TYPES`
    wins."""
    plain = text.translate(_FOLD)
    taken = bytearray(len(plain))
    found = []

    def take(kind: str, start: int, end: int) -> None:
        if not any(taken[start:end]):
            taken[start:end] = b"\1" * (end - start)
            found.append(Finding(kind, start, end))

    words = Words(plain)
    named = [*organisations(plain), *(("name", *span) for span in people(plain))]
    named += [("address", *span) for span in _districts(plain)]
    for kind in TYPES:
        for start, end in _spans(kind, plain) if kind in _RULES else ():
            take(kind, _whole(words, start) if kind == "address" else start, end)
        for name in named:
            if name[0] == kind:
                take(*name)
    return sorted(found, key=lambda finding: finding.start)


def deidentify(text: str) -> tuple[str, list[Finding]]:
    """``text`` with every finding replaced by its placeholder, and the findings (positions in the
    original)."""
    findings = find(text)
    parts, last = [], 0
    for finding in findings:
        parts += [text[last : finding.start], PLACEHOLDERS[finding.type]]
        last = finding.end
    return "".join([*parts, text[last:]]), findings


def to_html(text: str) -> str:
    """The text, escaped, with every finding marked and its placeholder as a tooltip; for notebooks."""
    parts, last = [], 0
    for finding in find(text):
        shown = html.escape(text[finding.start : finding.end])
        parts.append(
            f"{html.escape(text[last : finding.start])}<mark "
            f'title="{PLACEHOLDERS[finding.type]}">{shown}</mark>'
        )
        last = finding.end
    return f'<p style="max-width:46em">{"".join(parts)}{html.escape(text[last:])}</p>'


def deidentify_items(items: Sequence[Item]) -> tuple[Sequence[Item], Counter[str]]:
    """Posts and answers de-identified, and how many findings of each type there were."""
    done, counts = map_items(deidentified, items)
    return done, sum(counts, Counter())


def deidentified(items: list[Item]) -> tuple[list[Item], Counter[str]]:
    """:func:`deidentify_items` of a few items, in this process."""
    counts: Counter[str] = Counter()

    def cleaned(text: str) -> str:
        replaced, findings = deidentify(text)
        counts.update(finding.type for finding in findings)
        return replaced

    done = [
        item.model_copy(
            update={
                "question": cleaned(item.question),
                "answers": [
                    answer.model_copy(update={"text": cleaned(answer.text)}) for answer in item.answers
                ],
            }
        )
        for item in items
    ]
    return done, counts
