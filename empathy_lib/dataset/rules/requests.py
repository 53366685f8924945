"""L3: what the post asks for.

Knows: wordings of a request for advice, validation or understanding. Does not know: a wish that no word
tells; then the post counts as asking to be understood, and the chain says that nothing was asked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from empathy_lib.core.schema import Intent

_WISH = re.compile(r"(?:好|只|就|很|真)?想(?!法|象|起|到|着)|希望|渴望|[？?]$")
_ASKS: dict[Intent, re.Pattern[str]] = {
    "advice": re.compile(
        r"怎么办|咋办|怎么(?!会|可能|就|了|啦|看|过来|走到|来的|回事|的|也|都|这么|那么|说)|怎样|如何|该不该|要不要|什么办法|有.{0,3}办法吗|办法[？"
        r"?]|建议|支招|支支招|出出主意|出主意|教教|指点|帮帮我|能不能帮|应该.*吗|应该.{1,14}还是|选哪|何去何从|哪一步|什么方法|有什么.{0,6}(?:做法|方法|办法)|能做点?什么"
        r"|改进的方法|还是做点什么|下一步|该做什么|能改变吗|怎么处理|(?:该|要|继续|选|坚持|放弃)[^，]{0,12}还是|想(?:要)?(?:尽快|赶紧|早点)?(?:忘记|忘掉|摆脱|走出|改变|改掉)|我该.{1,8}吗|会怎么做|帮助(?:我|她|他|解答)"
    ),
    "validated": re.compile(
        r"是不是我|我是不是|是我.{0,3}错|我错了|做错了吗|正常吗|正常的?吗|不正常|奇怪吗|不算奇怪|矫情|小题大做|情有可原|换作?(?:别人|谁)|想多|想得太多|过分|太敏感|太.{0,4}了吗"
        r"|这样对吗|不应该吗|算不算|有没有问题|认可|肯定我|被允许|无理取闹|坏人|也合理|不算小气|尽力了吧|可以了吧|只有我(?:一个人)?这样|是不是太|过头|我并没有那么糟|不丢份|心理(?:有)?问题"
        r"|健康吗|不可以吗|不行吗|算是.{1,8}吗|是不是有(?:问题|病)|是不是.{0,6}(?:症|病)|对吗[？?]?$|是抑郁|抑郁了?吗|自私吗|错了吗"
    ),
    "understood": re.compile(
        r"没有?人.{0,3}(?:懂|理解|听|明白|说)|理解我|懂我|懂(?:这种|一点)|听我|听听|被听|倾诉|说出来|说说|聊聊|吐槽|为什么|为何|为啥|怎么会|怎么了|怎么回事|憋|明白我|我明白|有人(?:懂|听|能|知道|在听)"
        r"|被看见|不用给我办法|不要道理|能懂|看懂|放在这儿|听明白|什么心理|想知道(?:他|她|自己)|劝我|我听到了|滋味|什么意思"
    ),
}
_REPORTED = re.compile(
    r"(?:他|她|妈|爸|公|婆|友|师|生|人|们|家里?)(?:还|又|就|总|会|都|老)?(?:一直)?问我?|^(?:然后|又|一直|还)问我|(?:我|就)?(?:跟|和|对|问).{1,4}说|我(?:就)?(?:说|问(?:他|她)?)"
)
# What exactly is asked: the first wording that stands in the clause of the request.
_DETAILS: dict[Intent, tuple[tuple[str, re.Pattern[str]], ...]] = {
    "advice": (
        (
            "choose",
            re.compile(
                r"该不该|要不要|还是|选|应该.{0,14}吗|何去何从|继续|离婚|分手|辞职|放弃|值得|能不能|可不可以"
            ),
        ),
        (
            "talk",
            re.compile(
                r"沟通|相处|说服|开口|表达|拒绝|面对(?:他|她|父母|爸妈)|道歉|和(?:他|她|父母|家人)说|告诉"
            ),
        ),
        ("help", re.compile(r"安慰|帮(?:助)?(?:他|她|孩子|朋友|妈|爸|妹|弟)|让(?:他|她|孩子|老大)")),
        (
            "calm",
            re.compile(
                r"忘记|忘掉|走出|调整|缓|缓解|控制|放下|克服|摆脱|稳住|放过|改变|改善|调节|平衡|释怀|忘"
            ),
        ),
        ("", re.compile(r"")),
    ),
    "validated": (
        ("fault", re.compile(r"错|怪|自私|坏人|对吗|无理取闹")),
        ("normal", re.compile(r"正常|奇怪|问题|病|症|抑郁|只有我|换作|大家都")),
        ("much", re.compile(r"")),
    ),
    "understood": (
        ("why", re.compile(r"为什么|为何|为啥|怎么会|怎么回事|什么心理|什么意思|怎么了|想知道")),
        ("alone", re.compile(r"没有?人|谁(?:能)?懂|有没有人|能懂")),
        ("told", re.compile(r"")),
    ),
}


@dataclass(frozen=True)
class Request:
    """The intent, what exactly is asked (a key of ``frames.L3``), its clause and the cue's place; ``named``
    is false where the post asks for nothing."""

    intent: Intent
    detail: str
    clause: int
    at: int
    named: bool


def read(found: list[str]) -> Request:
    """The intent with most asking clauses, the post's last one counted three times since the request mostly
    stands at the end, a first question once more, being the title (advice before validated before understood
    where equal); its last clause. Else the last clause that wishes, or the last of all, as a wish to be
    understood."""
    asking: dict[Intent, list[tuple[int, int]]] = {intent: [] for intent in _ASKS}
    for i, clause in enumerate(found):
        for intent, pattern in _ASKS.items():
            if (match := pattern.search(clause)) and not _REPORTED.search(clause[: match.start()]):
                asking[intent].append((i, match.start()))
    final = max((some[-1] for some in asking.values() if some), default=None)
    title = 1 if len(found) > 3 and found[0].endswith(("？", "?")) else -1

    def weight(name: Intent) -> int:
        some = asking[name]
        return len(some) + 2 * (bool(some) and some[-1] == final) + (bool(some) and some[0][0] < title)

    intent = max(asking, key=weight)  # the first of equals
    if asking[intent]:
        clause, at = asking[intent][-1]
        detail = next(name for name, pattern in _DETAILS[intent] if pattern.search(found[clause]))
        return Request(intent, detail, clause, at, True)
    wishes = [(i, match.start()) for i, clause in enumerate(found) if (match := _WISH.search(clause))]
    return Request("understood", "told", *(wishes[-1] if wishes else (max(0, len(found) - 1), 0)), False)
