"""L2, first half: where the feelings come from, as far as the post says so.

Knows: connectives (因为, 导致), events between people (who does what to whom), losses, turns, comparisons,
contrasts, early years. Does not know: whether the writer is right about the cause.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from empathy_lib.dataset.rules.clauses import MIN_RETOLD, asks, is_polite

Kind = Literal["causal", "event", "loss", "turn", "comparison", "contrast", "past", "passive", ""]

_CUES: dict[str, tuple[float, re.Pattern[str]]] = {
    "causal": (
        3.0,
        re.compile(
            r"因为|由于|起因|根源|原因(?=是|在|就)|的原因|导致|害得|都怪|怪我|缘于|源于|逼得|造成(?!的)|引起|使得|归咎"
        ),
    ),
    "loss": (
        3.0,
        re.compile(
            r"(?<![没不未])(?<!没有)(?:去世|离世|过世|病故|车祸|走了以后|分手|离婚|失恋|失去了?|被裁|裁员|失业|没考上|落榜|流产|胎停|确诊|查出|生了?重?病"
            r"|住院|破产|挂科|休学|被甩|出轨|背叛|破裂|断绝)"
        ),
    ),
    "turn": (
        2.0,
        re.compile(
            r"自从|自打|从那(?:以后|之后|时|次)|后来|那次|那天|突然|直到|没想到|结果(?=[他她我却被])|.{3}(?:之后|以后)(?![的也会我])|开始"
        ),
    ),
    "comparison": (
        2.5,
        re.compile(
            r"别人家|比我|不如(?:别人|他|她|人)|比不上|(?:和|跟|与)(?:别人|他们|同龄人|同学|姐姐|妹妹|哥哥|弟弟)[^，]{0,3}比|比较|攀比"
            r"|人家都|别人都|同龄人|身边的人都"
        ),
    ),
    "contrast": (1.5, re.compile(r"^(?:但|可(?![以能怜爱])|却|然而)|明明|却")),
    "past": (2.0, re.compile(r"从小|小时候|童年|小学|原生家庭|幼时|年轻时")),
    "passive": (1.5, re.compile(r"被(?!子|窝|动)|每次|总是|经常|一直|逼|必须|不得不")),
}
_CONNECTIVE = re.compile(
    r"^[^，]{0,4}?(?:(?:根本|主要|最大的|部分)?原因(?:就)?(?:是|在于)(?:因为|由于)?|是?(?:不是)?因为|由于|起因(?:是|于)|根源(?:是|在于)|缘于|源于|都怪)"
)
_BEFORE = re.compile(r"^(?:也|就|都|这|才|从而|并)?(?:导致|害得|使得|逼得|造成|引起)")
_WITHIN = re.compile(r"(?:所以|因此|导致|害得|使得|逼得|造成|引起)")

_ACTORS = {
    "父母": "父母|爸妈|爸爸妈妈|家长|爹妈|老父母",
    "母亲": "妈妈|母亲|我妈|老妈|亲妈|妈",
    "父亲": "爸爸|父亲|我爸|老爸|爸",
    "婆家": "婆婆|公公|公婆|婆家",
    "伴侣": "老公|丈夫|老婆|妻子|男朋友|女朋友|男友|女友|对象|男票|女票|爱人|前任|前男友|前女友|前夫|前妻",
    "孩子": "孩子|儿子|女儿|宝宝",
    "手足": "弟弟|妹妹|哥哥|姐姐",
    "老师": "老师|班主任|导师",
    "上司": "领导|老板|上司|主管|经理",
    "同事": "同事",
    "室友": "室友|舍友",
    "同学": "同学|全班|班里的人|班上的人",
    "朋友": "朋友|闺蜜|好友|好朋友",
    "家人": "家人|家里人|家里|亲戚|爷爷|奶奶|外婆|外公|姥姥|嫂子",
    "别人": "别人|大家|周围的?人|身边的?人|人家|他们|她们|有的?人",
    "对方": "对方|他|她",
}
_ACTIONS = {
    "指责": "批评|指责|骂|训斥|训我|数落|责怪|责备|吼|凶我|嚷|挑剔|指手画脚"
    "|说我(?:太|没用|懒|胖|丑|笨|自私|不孝|不懂事|不努力|不如)|嫌我|嫌弃|发火|发脾气|生气",
    "否定": "否定|打击|打压|看不起|瞧不起|贬低|不认可|不相信|不信任|看扁|侮辱|不看好|不喜欢我",
    "冷落": "不理|冷落|忽视|忽略|冷淡|冷漠|不回我?(?:的)?(?:消息|信息|微信|电话)|不在乎|不关心|不管我|敷衍"
    "|冷暴力|疏远|不联系|无视|不主动"
    "|躲着|不怎么说话|不体贴|不够体贴|不愿意?(?:和|跟|与)|逃避",
    "不理解": "不理解|不懂我|不支持|不同意|反对|不体谅|不能理解|说是我|不当回事|不以为然",
    "逼迫与管束": "逼|催|管着|控制|强迫|不让我|干涉|要求我|管得|管我|安排|监视|不准|不许|非要|一定要我",
    "离开": "分手|离开|不要我|抛弃|甩了|离婚|断了联系|拉黑|删了我|搬走|提了?分开|走了",
    "欺骗与背叛": "骗|出轨|背叛|撒谎|隐瞒|劈腿|暧昧|食言|不守信|推脱|变心|变了一个人",
    "排挤与嘲笑": "嘲笑|欺负|笑话|孤立|排挤|取笑|议论|霸凌|排斥|针对|说坏话|说闲话",
    "动手": "打我|动手|打骂|扇",
    "偏心": "偏心|偏爱|重男轻女|更喜欢(?:弟|妹|哥|姐)",
    "离世": "去世|过世|离世|病逝",
    "病痛": "生病|住院|病重|癌|重病|抑郁症|病了|查出",
}
_MUTUAL = "吵架|争吵|冷战|吵了|吵起来|闹矛盾|闹翻|冲突|矛盾|爆发|两句不和|闹掰|打架"
_WHO = {word: who for who, words in _ACTORS.items() for word in words.split("|")}
_ACTOR = "|".join(sorted((word.replace("的?", "的?") for word in _WHO), key=len, reverse=True))
_ACTION = {what: re.compile(words) for what, words in _ACTIONS.items()}
_EVENT = re.compile(
    rf"(?P<who>{_ACTOR})(?P<gap>[^，。？?]{{0,8}}?)(?P<what>{'|'.join(_ACTIONS.values())}|(?P<mutual>{_MUTUAL}))"
)
_VAGUE = re.compile(r"一些|某些|种种|各种|什么原因|(?:时候|(?<!小)时|中|里)$|工作需要")
_TO = re.compile(
    r"(?:怕|担心|感觉|觉得|待|把|对|向|给|跟|和|与|骂|让|说|怪|劝|陪|帮|打)$"
)  # what follows is done to
_MY_ACT = re.compile(r"(?<![把对让跟和给向被嫌叫管说骂催逼理])我(?!们)")
_DENIED = re.compile(r"(?:没有?|不|从不|不会|(?<!特)别|并未)(?:再)?$")
NAMED = 1.5  # a clause below tells no cause


@dataclass(frozen=True)
class Cause:
    """``text`` is the part of ``clause`` that tells the cause; ``gist`` names the event between people, if
    one was seen ("母亲的指责"); ``kind`` is empty where the post names no cause."""

    kind: Kind
    clause: int
    text: str
    at: int
    gist: str


def event(clause: str) -> str:
    """Who does what, as a noun ("母亲的指责", "与伴侣的争吵"); empty where the clause tells no such thing.

    What the help-seeker does to others, what is denied, and a mere "he is not …" are none.
    """
    for match in _EVENT.finditer(clause):
        before = clause[: match.start("who")]
        if _DENIED.search(match["gap"]) or _MY_ACT.search(match["gap"]):
            continue
        who = next(name for name, words in _ACTORS.items() if re.fullmatch(words, match["who"]))
        if match["mutual"]:
            return f"与{who}的冲突"
        if _TO.search(before) and not before.endswith(("被", "让")):
            continue
        what = next(name for name, pattern in _ACTION.items() if pattern.fullmatch(match["what"]))
        return f"{who}的{what}"
    return ""


def read(found: list[str], taken: set[int]) -> Cause:
    """The clause that tells most of a cause: weights of its cues added, the earlier of equals; questions,
    greetings and the clauses of other layers weigh less. Where no clause has a cue, the longest free one, and
    ``kind`` is empty."""
    best, best_score, best_kind, best_gist = 0, float("-inf"), "", ""
    for i, clause in enumerate(found):
        cues = {kind: weight for kind, (weight, pattern) in _CUES.items() if pattern.search(clause)}
        gist = event(clause)
        if gist:
            cues["event"] = 3.0
        if not cues:
            continue
        # of one kind the whole weight, of the others a little: else the longest clause would win
        score = max(cues.values()) + 0.5 * (len(cues) - 1)
        score += 0.5 * ("我" in clause)
        score += 0.5 * (i < 2) - 1.5 * (_VAGUE.search(clause) is not None)
        score -= 3.0 * asks(clause) + 5.0 * is_polite(clause) + 1.0 * (i in taken)
        score -= 1.5 * (len(clause) < 6) + 0.5 * (len(clause) > 40)
        if score > best_score:
            kind = max(cues, key=cues.get)
            best, best_score, best_kind, best_gist = i, score, kind, gist
    if best_score < NAMED:
        free = [
            i for i in range(len(found)) if i not in taken and not asks(found[i]) and not is_polite(found[i])
        ]
        longest = max(free or range(len(found)), key=lambda i: min(len(found[i]), 30), default=0)
        return Cause("", longest, found[longest] if found else "", 0, "")
    return _told_by(found, best, best_kind, best_gist)


def _told_by(found: list[str], index: int, kind: str, gist: str) -> Cause:
    """The cause without its connective; for "…, so that …" what stands before it, else what follows."""
    clause = found[index]
    if kind != "causal":
        return Cause(kind, index, clause, _CUES[kind][1].search(clause).start() if kind in _CUES else 0, gist)
    if _BEFORE.search(clause) and index:
        before = found[index - 1]
        return Cause(kind, index - 1, before, 0, event(before))
    rest = _CONNECTIVE.sub("", clause)
    start = len(clause) - len(rest)
    if (effect := _WITHIN.search(rest)) and effect.start() >= MIN_RETOLD:
        rest = rest[: effect.start()]
    elif (inner := re.search(r"(?<!不)(?:是|就是)?(?:因为|由于)", rest)) and len(
        rest
    ) - inner.end() >= MIN_RETOLD:
        start, rest = start + inner.end(), rest[inner.end() :]
    rest = rest.rstrip("而就才")
    if len(rest) < MIN_RETOLD:
        return Cause(kind, index, clause, 0, gist)
    return Cause(kind, index, rest, start, gist)
