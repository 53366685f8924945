"""A post as clauses, and a clause as another would tell it.

Knows: where a clause ends, how "I" becomes "the help-seeker", what can be left out. Does not know: which
clause matters. Where a clause cannot be retold safely (it addresses somebody, it is long) it is quoted in
「」, word for word.
"""

from __future__ import annotations

import re

MAX_QUOTE = 40
MAX_RETOLD, MIN_RETOLD = 30, 4
_TELLING = 8  # a shorter first clause is mostly a greeting or an age

# A clause holds no bracket of a quotation (「」) and none of a tag (<>), so that quoting it breaks neither.
_CLAUSE = re.compile(r"[^。！？!?；;…\n\r，,：:<>「」]+[？?]?")
_ANY_TEXT = re.compile(r"[^<>「」\s]+")
_ASKED = re.compile(r"[？?]$|吗$|呢$|怎么办|为什么|如何|该不该|要不要|是不是")
_POLITE = re.compile(
    r"谢谢|大家好|你好|您好|请问|老师好|各位|标题|如题|请教|求助|先说说|事情是这样|慢慢说"
    r"|^(?:我|本人)?(?:今年|是(?:一个|个|一名)?)?[0-9]{1,2}(?:周?岁|[，。])|^我是(?:一个|一名|个)|^本人"
)

_LEAD = re.compile(
    r"^(?:但是|但(?!凡)|可是|可(?![以能怜爱惜恨])|然后|所以|因此|而且|并且|而(?!已)|其实|不过|虽然|尽管|还有|另外"
    r"|于是|总之|反正|毕竟|首先|即使|就是|结果(?=[他她我被却])|之所以|之前还)+"
)
_FILLER = re.compile(
    r"(?<![是不])真的(?!假)|其实|非常的?|特别(?![是的])|实在(?![的人])|简直|反正|总之|[啊呀呢吧嘛哦哈噢哎唉~～]+$"
)
_ADDRESSED = re.compile(r"[你您咱“”\"‘’『』【】]|[和对跟给让把被与向]我们")
_GROUP = re.compile(r"我们(?=家|班|宿舍|寝室|学校|公司|部门|单位)")
_PAIR = re.compile(
    r"在一起|分手|吵|结婚|恋|异地|感情|复合|离婚|同居|见面|聊天|联系|闹|相处|认识|沟通|冷战|矛盾"
)
ME = re.compile(r"我(?![国们爸妈父母哥姐弟妹爷奶姥老男女朋同室舍闺家儿孩对前现])|自己")  # not "my father"
_I = re.compile(r"(?<![自忘唯])我(?!国|们)")
_OWN = re.compile(
    r"(?:爸|妈|爹|娘|哥|姐|弟|妹|爷|奶|姥|外公|外婆|父|母|老公|老婆|丈夫|妻子|前?男友|前?女友|前?男朋友|前?女朋友|对象|儿子"
    r"|女儿|孩子|家|闺蜜|室友|舍友|同学|同事|领导|老板|老师|朋友|公婆|婆婆|公公|前任|表|堂|姑|舅|叔|姨|宝)"
)
_FROM_ME = re.compile(r"^(?:[^他她它们爸妈父母人]{0,6}?)$")


def clauses(post: str) -> list[str]:
    """Clauses with a letter or digit; for a post of punctuation alone its runs of text, else none."""
    found = [match.group(0).strip() for match in _CLAUSE.finditer(post)]
    return [clause for clause in found if any(ch.isalnum() for ch in clause)] or _ANY_TEXT.findall(post)


def asks(clause: str) -> bool:
    """Whether a clause is a question: what it names is not certain."""
    return _ASKED.search(clause) is not None


def is_polite(clause: str) -> bool:
    """Whether a clause greets, thanks, announces or introduces the writer: it tells nothing."""
    return _POLITE.search(clause) is not None


def first_telling(found: list[str]) -> int:
    """The place of the first clause that tells something: of at least 8 characters, no greeting, no question;
    0 where there is none."""
    long = [i for i, clause in enumerate(found) if len(clause) >= _TELLING and not is_polite(clause)]
    return next((i for i in long if not asks(found[i])), long[0] if long else 0)


def quote(found: list[str], index: int, at: int = 0, most: int = MAX_QUOTE) -> str:
    """The clause in 「」, cut to ``most`` characters around the cue at ``at``; "原帖" for a post without any
    clause. A placeholder such as [姓名] is kept whole or left out."""
    if not found:
        return "原帖"
    clause = found[index]
    # 8: room for the cue itself
    start = 0 if at < most - 8 else max(0, min(at - most // 2, len(clause) - most))
    return f"「{_whole(clause, start, start + most)}」"


def _whole(clause: str, start: int, end: int) -> str:
    """``clause[start:end]`` without a placeholder's half at either end."""
    opened, closed = clause.rfind("[", 0, start), clause.rfind("]", 0, start)
    if opened > closed and (close := clause.find("]", start)) >= 0 and close + 1 < end:
        start = close + 1
    opened, closed = clause.rfind("[", start, end), clause.rfind("]", start, end)
    if opened > max(closed, start) and end < len(clause) and clause.find("]", end) >= 0:
        end = opened
    return clause[start:end].strip() or clause[:MAX_QUOTE].strip()


def retell(clause: str) -> str | None:
    """The clause in the third person, without leading connectives and fillers; None where that is not safe:
    it addresses somebody, holds another's words or a "we" of unknown members, or has not 4 to 30
    characters.

    The first "I" is the help-seeker (来访者). Later ones are 自己 where the help-seeker is the subject, since
    自己 would else be the other person.
    """
    if len(clause) > 2 * MAX_RETOLD or _ADDRESSED.search(clause):
        return None
    if clause.count("（") != clause.count("）") or clause.count("(") != clause.count(")"):
        return None
    text = _FILLER.sub("", _LEAD.sub("", clause.strip())).strip("、？? ")
    text = _GROUP.sub("来访者所在的", text).replace("所在的家", "家")
    if "我们" in text:
        if not _PAIR.search(text):
            return None
        text = text.replace("我们俩", "双方").replace("我们", "双方")
    text, subject, parts, last = text.replace("我自己", "我"), None, [], 0
    for match in _I.finditer(text):
        if subject is None:
            subject, word = _FROM_ME.match(text[: match.start()]) is not None, "来访者"
        else:
            word = "自己" if subject else "来访者"
        own = "的" if _OWN.match(text, match.end()) else ""
        parts += [text[last : match.start()], word, own]
        last = match.end()
    told = "".join([*parts, text[last:]])
    return told if MIN_RETOLD <= len(told) <= MAX_RETOLD else None


def told(found: list[str], index: int, at: int = 0, most: int = MAX_QUOTE) -> str:
    """The clause retold, else quoted."""
    return (retell(found[index]) if found else None) or quote(found, index, at, most)
