"""Does a post speak of danger: suicide, self-injury, violence suffered or threatened?

Knows: words, what denies them just before, and idioms that only sound so (想死你了, 跳楼价). Does not know:
how great a danger is, or irony. It is a prompt for a human being to look, no assessment of risk. Where it
is in doubt (a question, 没勇气自杀) it says yes: a chain that opens with safety does no harm.
"""

from __future__ import annotations

import re
from typing import Literal

from empathy_lib.dataset.rules.clauses import ME, clauses

Danger = Literal["self", "abuse", "harm", "near"]

# The lookaheads let idioms pass: 想死你了 (I miss you), 不想活在别人的眼光里, 跳楼价 (a bargain), 割舍.
_SELF = re.compile(
    r"自杀(?!式)|(?:想过?|幻想过?|考虑过?)(?:自己)?(?:会)?死(?=去|后|的|了|$)|离开(?:这个|人)(?:世界|世间|世)|离开人世|自残|自伤|轻生|割腕|割手|寻死|寻短见|自我了断|自尽|上吊|跳楼(?![价机大])|跳河|跳桥|服毒|遗书|厌世"
    r"|想(?:要|去)?死(?![你您他她它我大心磕守记]|爸|妈|爷|奶|姥|家里|那|老|吃|喝)|想死我自己|去死(?!吧|皮|党)"
    r"|死了(?:算了|就好|更好|一了百了|是不是|才好)|不如死|(?:如果|要是|假如|万一)我?(?:就)?死了|活够了"
    r"|不想(?:再|继续)?活(?![在成得出动泼跃着在])|不想(?:再)?活着?了|不想(?:再)?活着(?!别人)|活不下去"
    r"|活着(?:真|也|就|好|太|都|还)?(?:是)?(?:没有?(?:什么)?(?:意[思义]|必要)|没劲|(?:真|太|好)累)|不配活"
    r"|(?:结束|了结|终结|放弃)(?:掉)?(?:我|自己|这|我自己)?的?(?:这一?条)?(?:生命|性命)|了结自己|结束这一切"
    r"|生命.{0,3}(?:终止|结束)"
    r"|(?:伤害|划伤|弄伤|割伤|掐|捶打|抽打)(?:我)?自己|(?:打|扇|抽)自己(?:的)?(?:耳光|巴掌|脸|头)"
    r"|(?:用|拿)(?:小|美工|水果)?刀(?:子|片)?(?:划|割)|划(?:手腕|手臂|胳膊)|撞墙"
    r"|(?:吞|吃)了?(?:好多|很多|一瓶|一把|大量|半瓶|几十片)(?:的)?(?:安眠)?药"
    r"|(?:想|希望|恨不得)(?:要|自己)?(?:从(?:这个)?世界上?)?(?:彻底|永远|就此)?消失(?!的)"
    r"|恨不得(?:去|马上)?死|(?:希望|盼着)[^，他她]{0,8}?(?:猝死|死掉|死去)|死(?:了|掉)(?:的话)?(?:就|还)?(?:不用|解脱)"
    r"|(?:没有|没了|失去)[^，]{0,4}?活下去的|不想(?:再)?好好活|为什么(?:还)?要活着|想象(?:着)?自己死|(?:手臂|胳膊|手腕|身)上划"
    r"|(?:再也|永远)(?:不要?|不用|不想)(?:再)?醒(?:来|过来)|长眠|一了百了"
)
_ABUSE = re.compile(
    r"家暴|家庭暴力|性侵|强奸|强暴|猥亵|性骚扰|霸凌|校园(?:暴力|欺凌)|(?<!想)虐待(?!动物|小动物|猫|狗)|毒打|殴打"
    r"|被[^，]{0,6}?(?:侵犯|打了|打得|打骂|暴打|打伤|打到|打过|掐住|扇了?|踢打|囚禁|关起来)"
    r"|(?<![说敲])打我(?![的]?(?:电话|手机|车|招呼|字|算|听|开|小报告|主意|扮|断|扰|击|动|败|工))"
    r"|动手打我|扇我|掐我(?:脖子)?|踢我|对我(?:动手|拳打脚踢|动粗)|(?:想|要|会)(?:杀|弄死|打死|砍死|掐死)了?我"
    r"|(?:逼|强迫)我(?:和|跟|与)?.{0,4}(?:上床|发生关系|脱)"
)
_HARM = re.compile(
    r"(?:想|要|会|忍不住|恨不得|差点|报复)[^，自]{0,6}?(?:杀|砍|捅|弄死|打死|掐死|毒死)(?:了|掉|死)?"
    r"(?:他|她|别人|人(?!犯)|老公|老婆|孩子|全家|大家|自己的|父|母|我?爸|我?妈)|杀死(?:父|母|爸|妈|他|她)|(?:想|要|恨不得|差点)把(?:他|她|他们|她们|孩子|人)(?:杀|砍|捅|弄死|打死|掐死)"
    r"|同归于尽|报复社会"
    r"|(?:我[^，他她]{0,4}?(?:动手|毒|暴)|(?:忍不住|控制不住|经常|总)[^，他她]{0,4}?)打(?!听|电话|扰|算|扮|开|工|招呼)(?:了|过)?"
    r"(?:他|她|孩子|儿子|女儿|老公|老婆|妈|爸|人|男朋友|女朋友)"
    r"|(?:伤害|攻击)(?:了|到)?(?:别人|他人|其他人|身边的人|孩子|家人)(?!的感情)|就会动手打他|伤人伤己"
)
_NOT = re.compile(
    r"(?:(?<!有)没有?|从不|从未|从没有?|未曾|不会|不是|并非|不想|不曾|绝不|不打算|不至于|还不到|谈不上|不|(?<![特个])别|不要|不能)"
    r"(?:真的?|想过?|考虑过?|打算|要|去|过|任何|什么|有|再|到|说|曾|会|用|因此|因为这|就|发生|经历|遭遇)*$"
)
_DOUBLE = re.compile(r"(?:不是|并非|不能说|难道)(?:我|说)?$")
_OTHERS = re.compile(
    r"(?<![跟和对被与给向])(?:[他她]|爸|妈|父|母|哥|姐|弟|妹|爷|奶|外公|外婆|姥|老公|老婆|丈夫|妻子|男友|女友|男朋友|女朋友|对象|前任|儿子|女儿"
    r"|孩子|朋友|闺蜜|同学|室友|舍友|同事|老师|邻居|有人|别人|学生|明星|亲戚)"
)
# what only ends something else: 辞职一了百了
_ELSE = re.compile(r"离开|辞职|离婚|分手|退学|删掉|卖掉|搬走")
_PLAY = re.compile(r"主角|剧情|(?:电影|小说|电视剧|剧|游戏|新闻)里|狼人杀|的新闻")


def _spoken(pattern: re.Pattern[str], clause: str) -> re.Match[str] | None:
    """The first cue in a clause that nothing denies."""
    for match in pattern.finditer(clause):
        before = clause[max(0, match.start() - 12) : match.start()]
        denial = _NOT.search(before)
        if denial and not _DOUBLE.search(before[: denial.start()]):
            continue
        if match.group(0) == "一了百了" and _ELSE.search(clause):
            continue
        return match
    return None


def mentions(clause: str) -> bool:
    """Whether a clause holds any cue of danger, denied or not: no such words are retold."""
    return any(pattern.search(clause) for pattern in (_SELF, _ABUSE, _HARM))


def danger(found: list[str]) -> tuple[Danger, int] | None:
    """What danger the clauses speak of, and in which clause; None where they speak of none.

    ``self``: the help-seeker's own wish to die or self-injury; ``abuse``: violence suffered; ``harm``:
    towards others; ``near``: suicide or self-injury of somebody else. The first of these that is found."""
    whole, near = "，".join(found), None
    for i, clause in enumerate(found if _SELF.search(whole) else ()):
        if (match := _spoken(_SELF, clause)) and not _PLAY.search(clause):
            before = clause[: match.start()]
            others = [m.end() for m in _OTHERS.finditer(before)]
            mine = [m.end() for m in ME.finditer(before)]
            if (
                others
                and (not mine or others[-1] > mine[-1])
                and not before.endswith(("让我", "叫我", "逼我"))
            ):
                near = near or ("near", i)
            else:
                return "self", i
    for kind, pattern in (("abuse", _ABUSE), ("harm", _HARM)):
        for i, clause in enumerate(found if pattern.search(whole) else ()):
            if _spoken(pattern, clause) and not _PLAY.search(clause):
                return kind, i
    return near


def speaks_of_self_harm(text: str) -> bool:
    """Whether suicide or self-injury, not denied, is spoken of in the text, whoever's: a prompt for a human
    to look, no assessment of risk."""
    return any(_spoken(_SELF, clause) and not _PLAY.search(clause) for clause in clauses(text))
