"""De-identification: names, numbers, addresses, schools, companies, exact dates and links become typed
placeholders.

Knows: what personal data looks like in Chinese posts, by rules that a reader can check. Does not know: items
or files.

Rules, not a named-entity model: most of what identifies somebody in a post has a form (digits, an id after
"微信", a road with a house number), a model of the size that a laptop runs would add false alarms without a
cue to check them by, and a rule that misses can be mended in one line. What has no form is missed: a
nickname, a job nobody else has, the story itself. So a text is *de-identified as far as these rules go*,
never anonymous. Help lines (12356, 400 numbers) stay: they are what a reader may need.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from empathy_lib.core.schema import Item
from empathy_lib.dataset.organisations import organisations
from empathy_lib.dataset.store import map_items

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
_LANDLINE = r"(?<!\d)(?:\(0\d{2,3}\)|0\d{2,3}[- ])\s?[2-9]\d{6,7}(?!\d)"
# public crisis lines: nobody's personal number
_HELP_LINES = {"01082951332", "02785844666", "02512320", "075525629459"}
_ID_CARD = rf"{_START}{_digits('[1-9一二三四五六七八九]', *[_D] * 16, rf'(?:{_D}|[Xx])')}{_END}"

_WECHAT_CUE = r"(?:微\s?信|威信|薇信|围信|徽信|[vw]\s?[xv]|wechat|[v]\s?信|(?<![a-z])v(?=\s?[:：号]))"
_QQ_CUE = r"(?:q\s?q|扣扣|企鹅|秋秋)"
_IS = r"\s*(?:号码|账号|帐号|号|id|群)?\s*(?:我的|就)?(?:是|为|叫|:|：|，|,|=|→)?\s*(?:是)?\s*"
_WECHAT = (
    rf"{_WECHAT_CUE}{_IS}(?P<found>[a-z][a-z0-9_\-]{{4,19}}|"
    rf"{_digits(*[_D] * 6)}(?:{_GAP}{_D}){{0,5}})(?![a-z0-9_])"
)
_QQ = rf"{_QQ_CUE}{_IS}(?P<found>{_digits(*[_D] * 5)}(?:{_GAP}{_D}){{0,6}}){_END}"

_AT, _DOT = r"(?:@|\(at\)|\[at\]|#at#)", r"(?:\.|\(dot\)|点)"
_EMAIL = (
    rf"[a-z0-9][a-z0-9._+\-]*\s?{_AT}\s?[a-z0-9][a-z0-9\-]*"
    rf"(?:\s?{_DOT}\s?[a-z0-9\-]+)*\s?{_DOT}\s?[a-z]{{2,6}}"
)
_URL = (
    r"(?:https?://|www\.)[a-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+"
    r"|(?<![a-z0-9@._\-])(?:[a-z0-9\-]+\.)+(?:com|cn|net|org|top|cc|xyz|vip|"
    r"info)(?:/[a-z0-9\-._~/?#&=%]*)?(?![a-z0-9])"
)

_CN = "一二三四五六七八九十廿卅"
_YEAR = rf"(?:(?:19|20)\d\d|[一二][{_NUMERALS}]{{3}}|\d\d)"
_MONTH, _DAY = (
    r"(?:1[0-2]|0?[1-9]|十[一二]?|[一二三四五六七八九])",
    rf"(?:3[01]|[12]\d|0?[1-9]|[{_CN}]{{1,3}})",
)
_DATE = (
    rf"{_YEAR}\s?年\s?{_MONTH}\s?月\s?{_DAY}\s?[日号]?"
    r"|(?<!\d)(?:19|20)\d\d\s?([./\-])\s?(?:1[0-2]|0?[1-9])\s?\1\s?(?:3[01]|[12]\d|0?[1-9])(?!\d)"
    rf"|(?<![\d{_CN}]){_MONTH}\s?月\s?{_DAY}\s?[日号](?!线|楼|院)"
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
_ADDRESS = (
    rf"(?:{_ADMIN}){{0,4}}(?:(?:{_ROAD})(?:{_ESTATE})?|"
    rf"{_ESTATE})(?:\s?{_HOUSE}){{1,5}}(?:\s?[0-9]{{3,4}}(?![0-9年月日]))?"
    rf"|(?:{_ADMIN}){{2,4}}(?:{_ROAD}|{_ESTATE})(?:\s?{_HOUSE}){{0,5}}"
)

_WORDS = {
    key: words.split()
    for key, words in yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8")).items()
}
_NO_NAME = re.compile("|".join(_WORDS["no_name"]))

_WHO = (
    "我|他|她|名字|同桌|室友|老公|老婆|丈夫|妻子|男友|女友|男朋友|女朋友|闺蜜|同事|同学|朋友|孩子|儿子|女儿|"
    "老师|医生|领导|老板"
)
_NAME_WORD = "名字|姓名|真名|本名|大名|全名"
_NAME_CUE = (
    rf"(?:(?:{_WHO}|{_NAME_WORD})?(?:叫做|叫|名叫)|(?:我的)?(?:{_NAME_WORD})\s?[是叫为:]|本人)\s?:?[“\"]?"
)
_PERSON = (
    rf"(?:{'|'.join(_WORDS['compound_surnames'])}|[{''.join(_WORDS['surnames'])}])[\u4e00-\u9fff]{{1,2}}?"
)
_NAME = rf"{_NAME_CUE}(?P<found>{_PERSON})(?=\W|今年|是个|是一|是我|也是|在|的|和|跟|说|$)"

_RULES: dict[str, list[re.Pattern[str]]] = {
    name: [re.compile(pattern, re.IGNORECASE) for pattern in patterns]
    for name, patterns in {
        "email": [_EMAIL],
        "url": [_URL],
        "id_card": [_ID_CARD],
        "phone": [_MOBILE, _LANDLINE],
        "wechat": [_WECHAT],
        "qq": [_QQ],
        "date": [_DATE],
        "address": [_ADDRESS],
        "name": [_NAME],
    }.items()
}


# Cheap signs without which a slow rule cannot match.
_HINTS = {
    "address": re.compile(
        rf"[0-9{_NUMERALS}十百]\s?(?:号|弄|栋|幢|座|单元|楼|层|室|房)|(?:[省市区县旗镇乡]|自治州|"
        rf"街道).{{1,7}}(?:[省市区县旗镇乡]|自治州|街道)"
    ),
}


class _Fold(dict):
    """NFKC of single characters, so that full-width digits are digits; one that would become several (…)
    stays: places must not move."""

    def __missing__(self, code: int) -> str:
        folded = unicodedata.normalize("NFKC", chr(code))
        self[code] = folded if len(folded) == 1 else chr(code)
        return self[code]


_FOLD = _Fold()


def _refused(kind: str, match: re.Match[str]) -> bool:
    """Whether a match of the pattern is no personal data after all."""
    if kind == "phone":
        return re.sub(r"\D", "", match.group(0)) in _HELP_LINES
    return kind == "name" and _NO_NAME.match(match["found"]) is not None


def _spans(kind: str, plain: str) -> Iterator[tuple[int, int]]:
    """Where the patterns of a type match."""
    if kind in _HINTS and not _HINTS[kind].search(plain):
        return
    for pattern in _RULES[kind]:
        for match in pattern.finditer(plain):
            if not _refused(kind, match):
                yield match.span("found") if "found" in pattern.groupindex else match.span()


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

    named = list(organisations(plain))
    for kind in TYPES:
        for start, end in _spans(kind, plain) if kind in _RULES else ():
            take(kind, start, end)
        for organisation in named:
            if organisation[0] == kind:
                take(*organisation)
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
    done, counts = map_items(_deidentified, items)
    return done, sum(counts, Counter())


def _deidentified(items: list[Item]) -> tuple[list[Item], Counter[str]]:
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
