"""L2, second half: wordings of known cognitive biases.

Knows: cues of each bias of the lexicon. Does not know: whether what is said is so; "没人理我" may be the
plain truth. So a chain speaks of a possible leaning, and only where a cue stands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SELF = (
    r"(?:我|自己)(?:就|真|真的|果然|简直|其实|确实|根本|这个人|这种人|就像)*(?:是|像)?(?:太|很|多|"
    r"那么|这么|特别)?(?:一?个|一种)?"
)
# The first that matches a clause counts there; of all clauses the one whose bias stands first here.
_WORDINGS = {
    "personalization": (
        r"都是(?:因为)?我(?:的错|的问题|一个人|不好|害)|都是为了我|都怪我|怪我自己|是我害|我对不起|我拖累|(?:因为|怪)我(?:才|不够|太|没有?做|没照顾)"
        r"|一定是我|肯定是(?:因为)?我|是不是我(?:哪里|做错|不够|太|说错)|我造成|我的责任|说到底(?:就)?是(?:因为)?我|归根(?:到底|结底)"
    ),
    "mind_reading": (
        r"(?:他|她|别人|大家|人家|老师|同学|同事|领导|爸妈|父母|所有人)们?[^，]{0,6}?(?:肯定|一定|都|是不是|大概|心里|早就|根本)[^，]{0,4}?"
        r"(?:觉得|认为|以为|看不起|瞧不起|讨厌|嫌|笑|不喜欢我|没有我|不在乎|不想|看出|在议论|在说我|盘算|认定)"
        r"|(?:他|她|他们|对方)[^，]{0,6}?(?:就是)?(?:故意|存心|成心)|在(?:他|她|他们|别人|领导|爸妈|父母|大家)(?:的)?(?:眼里|心里|心中)"
        r"|(?:觉得|感觉|总觉得)(?:他|她|别人|大家|所有人)们?[^，]{0,6}?(?:讨厌|嫌弃|不喜欢|看不起|不爱|不要|针对|议论|笑话)我?"
        r"|(?:怕|担心)(?:别人|大家|他们|他|她)(?:会)?(?:觉得|认为|笑话|看不起|嫌)"
    ),
    "labeling": (
        _SELF + r"[^，]{0,4}?(?:废物|失败(?:者|的人)|没用|垃圾|多余|累赘|废人|废了|笨蛋|傻子|懦夫|胆小鬼|"
        r"怪物|笑话|不称职|坏人|白痴|没出息|差劲|窝囊|无能|一无是处|很笨|这么笨|有缺陷|心眼小)"
        r"|^(?:真是)?(?:个|太)?(?:废物|没出息)|一无是处|不称职的|我就是个|一个没用的"
    ),
    "discounting_positives": (
        r"(?:只是|不过是?|都是|全靠|是|只不过)(?:运气|侥幸|碰巧|凑巧|客气|哄我|做样子|安慰我)|做不得数|不能当真|算什么本事|(?:都|才)?不算(?:数|什么|本事)"
        r"|谁(?:来|在家|都)(?:都)?能做|换谁(?:来)?都|等于(?:什么都)?(?:没做|白)|(?:好|努力)(?:都|全)?(?:是假的|白费)|白活|配不上|没什么了不起|当成自己的"
    ),
    "all_or_nothing": (
        r"要么[^，]{1,12}要么|不然不如|只要(?:有)?一(?!直)[^，]{0,10}就|等于(?:零|失败)|(?:就|便)(?:算|等于)(?:彻底|是)?(?:失败|白|废|砸|没)|算不上|彻底(?:失败|废|砸)"
        r"|一点(?:意义|用|价值|感情)(?:都|也)没|只有[^，]{1,10}才(?:算|配|值得|能)|要做就|(?:才|就)不算(?:一个)?(?:合格|真)|全(?:都)?是假的|什么都不是|样样都|没必要(?:学|做|活|去)了"
    ),
    "catastrophizing": (
        r"(?:全|就|都|彻底|人生|这辈子|前途|一切)(?:就)?(?:都)?(?:完了|毁了|废了|完蛋)|^我?完了|全完|没救|天(?:都)?(?:要)?塌|最坏的|待不下去|一辈子[^，]{0,6}?(?:完|毁|废|抬不起|没希望)"
        r"|(?:如果|要是|一旦|万一)[^，]{1,14}(?:就|会|怎么办)(?:完|毁|死|没|再也|活不)|不堪设想|死在这|没指望"
    ),
    "emotional_reasoning": (
        r"(?:觉得|感觉|心里|难受|不踏实|没底|慌|丢脸|恶心|不自在|状态|不想)[^，]{0,8}?(?:那就|就说明|就证明|说明|证明|肯定(?:是|有|会)|一定是|就是真的)"
        r"|^(?:就|这)?(?:说明|证明)(?:我|这|身|他|事)|^那(?:就|我)?[^，]{0,6}?(?:一定是|肯定(?:是|真|有))"
    ),
    "fortune_telling": (
        r"(?:以后|将来|未来|往后|后面|迟早|早晚|总有一天|再也|注定|不管怎么|照样|肯定|一定|下次)[^，]{0,10}?(?:不会(?:再)?(?:有|好|喜欢|接纳|爱|理|被)|会(?:离开|后悔|失败|走|嫌|更|空白|搞砸|被(?!我))|都?没有?人|找不到|不可能|做不到|考不上|好不了|不亲|没法|只剩|一样)"
        r"|越来越(?:差|糟|没救)|没有(?:希望|未来|出路)了?|看不到(?:希望|未来|头|尽头)|看到头|好不起来|走不出来了|永远(?:都)?好不了|不会再有"
    ),
    "should_statements": (
        r"(?<![对给跟和让])(?:我|自己)(?:就|本来|早|真的|都)?(?:应该|必须(?![^，]{0,12}才)|一定要|不该|不应该|该|得负责)|(?:就|本|早)(?:应该|该)|理应|应当|没资格|没有资格|必须(?:要)?(?:是|懂|完美|优秀|第一|考上|成功|做到最)"
        r"|(?:做|当)(?:人|妈妈|父母|儿女|媳妇|老师|朋友)的?(?:就)?(?:应该|该|得)|不能(?:哭|示弱|出错|犯错|让人失望|辜负)|非得|(?:到了|人到)[^，]{1,6}(?:就)?(?:应该|该)"
    ),
    "overgeneralization": (
        r"从来(?:不|没|都)|永远(?!爱)|所有人(?:都|不)|每个人都|没有一个|什么都(?:不会|不行|不如|没有|做不)|谁都(?:不|比|能)|谁也(?:不|没)|没有?人(?:会|真|真心|愿意|喜欢|在乎|关心|爱|理|懂|看得起)"
        r"|总是(?:我|没|做不|失败|错|不如|搞砸|出错|被人?(?:骂|嫌|欺))|每次都(?:不|没|失败|是我|被|这样|差)|一直都(?:没|不)|到哪(?:儿|里)?都|走到哪[^，]{0,4}都[^，]{0,4}[不没融被]|处处|(?:这|半)辈子[^，]{0,8}?(?:没|不|都)|世上(?:没|再)|天下(?:没|的)|最后都"
    ),
}
# a line a clause, so that ^ is the start of a clause in the whole post as well
BELIEFS = {bias: re.compile(words, re.MULTILINE) for bias, words in _WORDINGS.items()}
_QUESTION = re.compile(r"怎么(?!都|也)|如何|什么办法|该不该|[？?]$|吗$|呢$")
_RUN_ON = 60  # a text without marks: its words belong to nobody
_MAY_ASK = ("personalization", "mind_reading")  # 是不是我哪里做错了？ is a belief as well


@dataclass(frozen=True)
class Belief:
    """A bias of the lexicon, the clause whose wording is its cue, and where the cue stands in it."""

    bias: str
    clause: int
    at: int


def read(found: list[str]) -> Belief | None:
    """The belief with the most telling cue, the earlier of equals; None without any cue."""
    best, best_rank, whole = None, len(BELIEFS), "\n".join(found)
    patterns = [(rank, bias, p) for rank, (bias, p) in enumerate(BELIEFS.items()) if p.search(whole)]
    for i, clause in enumerate(found):
        if len(clause) > _RUN_ON:
            continue
        asked = _QUESTION.search(clause) is not None
        for rank, bias, pattern in patterns:
            if rank >= best_rank:
                break
            if (match := pattern.search(clause)) and not (asked and bias not in _MAY_ASK):
                best, best_rank = Belief(bias, i, match.start()), rank
                break
    return best
