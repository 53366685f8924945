"""Rules that mend a text and remove nothing else: reasoning blocks, markup, odd characters, script, padding,
a site's boilerplate.

Knows: texts. Does not know: items, counts or what a rule that removes whole answers is (``cleaning``).

The paper says only that noise was removed (section 'Empathy-QA'); these rules and their order are our choice.
Applying one twice changes nothing more. Every pattern takes time in proportion to the text: what repeats
without end starts where nothing like it stands before, or is possessive, or is bounded.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from functools import cache

import opencc

KEPT_REPEATS = 3
MIN_CHINESE_SHARE = 0.5

# Zero-width and direction marks, byte-order marks, soft hyphens, C0 and C1 but tab and line feed; the joiner
# U+200D holds emoji together.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u200b\u200c\u200e\u200f\u202a-\u202e\u2060\ufeff]"
)
# A tag is a name of ASCII letters and attributes with values, or the few that have none: "a<b and c>d" and
# "A<B，而且C>D" hold none.
_ATTRIBUTE = r"""\s++(?:(?:hidden|disabled|checked|selected|controls|async|defer|readonly|required|open)\b|"""
_ATTRIBUTE += r"""[a-z_:@][\w:.\-]{0,60}+\s*+=\s*+(?:"[^"<>]*+"|'[^'<>]*+'|[^\s"'<>]++))"""
_TAG = rf"<(?:/?[a-z][a-z0-9:_\-]{{0,30}}+(?:{_ATTRIBUTE})*+\s*+/?|!doctype\b[^<>]*+)>"
_IS_TAG = re.compile(_TAG, re.IGNORECASE)
_MARKUP = re.compile(rf"{_TAG}|<!--|&(?:[a-z]{{2,8}}|#\d{{1,6}}|#x[0-9a-f]{{1,5}});", re.IGNORECASE)
_COMMENT = re.compile(r"<!--(?:(?!-->|<!--).)*+-->", re.DOTALL)
_HIDDEN = re.compile(r"<(script|style)\b[^<>]*+>(?:(?!</?\1\b).)*+</\1\s*+>", re.DOTALL | re.IGNORECASE)
_BREAKS = re.compile(r"<(?:br\s*+/?|/p|/div|/li|/h\d)\s*+>", re.IGNORECASE)
# What a model that thinks aloud puts around its thoughts; also where the mark itself was escaped.
_THOUGHT = re.compile(
    r"(?:<|＜|&lt;)(?P<end>\s{0,3}/)?\s{0,3}(?:think|thinking|thoughts?|reasoning)\b"
    r"[^<>＜＞&]{0,200}(?:>|＞|&gt;)",
    re.IGNORECASE,
)
# Digits may repeat for a reason (100000); so may the dots of an omission, which are kept to six.
_REPEATED = re.compile(r"([^\W\d]|[^\w\s.…])\1{4,}|(\.)\2{6,}|(…)\3{3,}")
# Full-width letters, digits and the ideographic space; Chinese punctuation is full-width by right.
_WIDTH = {
    code: code - 0xFEE0
    for first, last in ((0xFF10, 0xFF19), (0xFF21, 0xFF3A), (0xFF41, 0xFF5A))
    for code in range(first, last + 1)
}
_WIDTH[0x3000] = 0x20

_CHINESE = re.compile("[\u3400-\u9fff\U00020000-\U0003ffff]+")
_OTHER_WORD = re.compile("[\u3040-\u30ff\uac00-\ud7af]|[^\\W\\d_\u3040-\u30ff\uac00-\ud7af]+")

# What a site or app writes around an answer. Contact and sales talk is not here: it must stay for the
# advertisement rule to see.
_BOILERPLATE = re.compile(
    r"(?:^|(?<=[。！？!?\n]))[ \t]*(?:"
    r"(?:本文|本回答|原文|文章)[^。！？!?\n]{0,20}(?:首发于|发布于|来源于|转载自|由[^。！？"
    r"!?\n]{1,16}(?:提供|生成|发布))[^。！？!?\n]{0,40}"
    r"|(?:版权|著作权)(?:声明|归)[^。！？!?\n]{0,60}"
    r"|(?:未经[^。！？!?\n]{0,12}(?:授权|许可|同意)[^。！？!?\n]{0,16})?(?:请勿|禁止|谢绝|不得)转载[^。！？"
    r"!?\n]{0,20}"
    r"|转载请(?:注明|联系)[^。！？!?\n]{0,30}"
    r"|(?:(?:以上|本)(?:内容|回答|回复|建议)?)?仅供参考[^。！？!?\n]{0,16}"
    r"|(?:如果|若|要是)?[^。！？!?\n]{0,10}(?:有帮助|有用|满意)[^。！？"
    r"!?\n]{0,8}(?:采纳|点赞|点个赞|好评)[^。！？!?\n]{0,16}"
    r"|(?:编辑|发布|回答|回复)于\s?[\d\-./: 年月日时分]{6,20}"
    r"|(?:来自|发自)[^。！？!?\n]{1,12}(?:客户端|手机|iPhone|App|APP)"
    r"|(?:展开|收起|查看|阅读)(?:全文|更多)|(?:系统)?自动回复[:：][^。！？!?\n]{0,60}"
    r")[。！？!?]*(?=[ \t]*(?:$|[^。！？!?]))",
    re.MULTILINE,
)


def without_invisible(text: str) -> str:
    """Control characters and zero-width marks taken out; line ends become line feeds."""
    return _INVISIBLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def without_reasoning(text: str) -> str:
    """Reasoning blocks taken out: ``<think>``, ``<thinking>``, ``<reasoning>``, ``<thought>``, in any case,
    with attributes, one within another.

    A block that is not closed goes to the text's end: the reply was cut off within the thought. An end
    without a beginning ends a block that began with the text: templates of chat models put ``<think>`` in the
    prompt.
    """
    parts, start, depth = [], 0, 0
    for mark in _THOUGHT.finditer(text):
        if not mark["end"]:
            if not depth:
                parts.append(text[start : mark.start()])
            depth += 1
        elif depth:
            depth -= 1
        else:
            parts.clear()
        start = mark.end()
    if not start:
        return text
    return "".join([*parts, "" if depth else text[start:]]).strip()


def without_markup(text: str) -> str:
    """HTML taken out: tags (line and paragraph ends become line feeds), scripts, comments; entities become
    characters. What stands between ``<`` and ``>`` and is no tag stays."""
    if not _MARKUP.search(text):
        return text
    text = _BREAKS.sub("\n", _HIDDEN.sub("", _COMMENT.sub("", text)))
    return html.unescape(_IS_TAG.sub("", text)).replace("\xa0", " ")


def half_width(text: str) -> str:
    """Full-width letters and digits as ASCII, the ideographic space as a space."""
    return text.translate(_WIDTH)


@cache
def _converter() -> opencc.OpenCC:
    return opencc.OpenCC("tw2s")


def simplified(text: str) -> str:
    """A text in traditional characters as a simplified one, by OpenCC's phrases (``tw2s`` knows 裡 and 著
    too).

    Some characters that OpenCC changes are also right in simplified text (难捱, 瞭望), so a text is taken for
    traditional only where at least two different characters and 3 % of all would change.
    """
    converted = _converter().convert(text)
    if converted == text or len(converted) != len(text):
        return converted
    changed = [before for before, after in zip(text, converted, strict=True) if before != after]
    return converted if len(set(changed)) >= 2 and len(changed) >= 0.03 * len(text) else text


def without_repeats(text: str) -> str:
    """Five or more equal letters or marks in a row cut to three (哈哈哈哈哈哈 to 哈哈哈); digits stay, dots
    are cut to six."""

    def cut(match: re.Match[str]) -> str:
        return "." * 6 if match[2] else "……" if match[3] else match[0][:KEPT_REPEATS]

    return _REPEATED.sub(cut, text)


def without_boilerplate(text: str) -> str:
    """Sentences of a site or app around an answer taken out: first published at, no reprinting, for reference
    only, please adopt."""
    return _BOILERPLATE.sub("", text)


def tidy_space(text: str) -> str:
    """Runs of spaces as one, at most one empty line, none around the text."""
    lines = [re.sub(r"[^\S\n]+", " ", line).strip() for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


# In the order applied: reasoning and markup first, so that what they hid is seen; spaces last, since the
# others leave some.
TEXT_RULES: dict[str, Callable[[str], str]] = {
    "reasoning blocks": without_reasoning,
    "markup": without_markup,
    "invisible characters": without_invisible,
    "full-width letters": half_width,
    "traditional characters": simplified,
    "repeated characters": without_repeats,
    "boilerplate": without_boilerplate,
    "white space": tidy_space,
}
ANSWERS_ONLY = frozenset(
    {"reasoning blocks"}
)  # somebody may write about <think>; nobody posts thoughts in it


def is_chinese(text: str) -> bool:
    """Whether at least half of the words are Chinese: a Chinese character counts as one word, a run of other
    letters as one.

    Kana and Hangul count letter by letter, as Chinese does. A text without a letter is not Chinese.
    """
    rest, runs = _CHINESE.subn(" ", text)
    chinese = len(text) - len(rest) + runs
    others = len(_OTHER_WORD.findall(rest))
    return chinese > 0 and chinese / (chinese + others) >= MIN_CHINESE_SHARE
