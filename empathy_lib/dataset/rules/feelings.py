"""L1: which emotions a post names, how strongly, in which area of life and since when.

Knows: words of emotions, and whose they are as far as a clause tells. Does not know: sarcasm, and feelings
that no word names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from empathy_lib.dataset.rules.clauses import ME, asks, first_telling

# Everyday words; the lexicon's own were chosen to tell the emotions of synthetic posts apart, and miss half
# of the real posts.
EVERYDAY = {
    "悲伤": (
        *(
            "难受",
            "痛苦",
            "不开心",
            "低落",
            "沮丧",
            "郁闷",
            "大哭",
            "哭了",
            "想哭",
            "流泪",
            "眼泪",
            "心痛",
            "抑郁",
        ),
        *("伤感", "闷闷不乐", "不快乐", "emo", "舍不得", "哭着", "一直哭", "痛哭"),
    ),
    "焦虑": (
        *(
            "烦躁",
            "担心",
            "担忧",
            "压力",
            "着急",
            "胡思乱想",
            "忐忑",
            "心烦",
            "烦恼",
            "没有安全感",
            "没安全感",
        ),
        *("患得患失", "睡不着", "失眠", "缺乏安全感", "不踏实", "慌张", "心急", "愁", "困扰"),
    ),
    "愤怒": (
        "讨厌",
        "好恨",
        "厌恶",
        "受不了",
        "无语",
        "反感",
        "不爽",
        "抓狂",
        "忍无可忍",
        "气死",
        "气得",
        "暴躁",
        "暴怒",
        "怒火",
        "恶心",
        "介意",
        "烦死",
        "好烦",
    ),
    "恐惧": ("好怕", "很怕", "阴影", "恐怖", "噩梦", "吓得", "吓到", "怕黑"),
    "羞耻": (
        "自卑",
        "嘲笑",
        "无地自容",
        "尴尬",
        "没面子",
        "不自信",
        "讨人厌",
        "惹人讨厌",
        "被讨厌",
        "讨厌自己",
        "丑",
    ),
    "无助": ("绝望", "崩溃", "撑不下去", "没办法", "无力", "不知所措", "无奈", "走投无路", "逼疯", "失控"),
    "疲惫": (
        "好累",
        "很累",
        "太累",
        "没精神",
        "提不起",
        "心力交瘁",
        "感到累",
        "厌倦",
        "厌学",
        "没有动力",
        "没动力",
    ),
    "迷茫": (
        *(
            "不知道该",
            "纠结",
            "没有意义",
            "没意义",
            "无意义",
            "犹豫",
            "空虚",
            "麻木",
            "看不清",
            "不知道自己",
            "矛盾",
        ),
        *("看不懂", "想不通", "想不明白", "搞不懂", "不确定"),
    ),
    "孤独": ("没朋友", "没有朋友", "不合群", "没有人理", "没人理", "没人陪", "一个朋友都"),
    "委屈": ("不理解我", "不公", "凭什么", "没人理解", "没有人理解", "嫌弃"),
    "自责": ("负罪", "对不起", "都是我的错", "怪我", "很愧"),
    "失望": ("不甘", "遗憾", "失意"),
    "嫉妒": ("攀比", "不平衡"),
    "压抑": ("憋着", "憋在", "压得"),
}
# Words that say little alone; looked for where no other is.
FAINT = {
    "焦虑": ("怕", "不敢", "慌", "烦"),
    "疲惫": ("累", "疲", "没劲", "不想动"),
    "悲伤": ("放不下", "忘不掉", "忘不了", "哭", "难熬", "痛", "不幸福", "伤"),
    "愤怒": ("气", "恨", "吵架", "争吵"),
    "迷茫": ("不知道", "不明白", "不懂", "不知", "到底", "奇怪"),
    "孤独": ("孤立", "一个人", "内向", "融不进", "合不来"),
    "失望": ("冷淡", "不如意", "没有感觉"),
}
_NEGATION = re.compile(
    r"(?:不|没|没有|并不|不再|不太|不是|毫不|不会|不用|不必|(?<!特)别|不要|从不|没什么|没有任何|没有感到|没觉得|不觉得|也不)(?:那么|很|太|感到|觉得)?$"
)
_STRONG = re.compile(
    r"非常|特别|极度|极其|十分|太|真的|好(?!好)|很是|快要|快被|崩溃|受不了|无比|深深|巨|超级|每天都|要命|逼疯"
)
_MILD = re.compile(r"有点|有些|一点|稍微|略|偶尔|有时")
_LASTING = re.compile(r"一直|总是|每天|长期|整天|经常|常常|多年|天天|反复|老是|越来越")
_OTHERS = re.compile(
    r"[他她](?!说的?我)|妈妈|爸爸|父母|父亲|母亲|老师|老公|老婆|丈夫|妻子|男友|女友|男朋友|女朋友|孩子|儿子|女儿|妹妹|弟弟|哥哥|姐姐"
    r"|同学|朋友|别人|室友|对方|领导|同事"
)
_HALF = 0.4  # of an everyday word: two weigh less than one of the lexicon's
_GUARDS = (
    "社交恐惧",
    "恐惧症",
    "不安全",
    "羡慕我",
    "羡慕的",
    "让人羡慕",
    "令人羡慕",
    "生气勃勃",
)  # none of these feels
_AS_IF = re.compile(r"(?:像|好像|仿佛|似的)[^，]{0,3}$")

_NUMBER = "[一二两三四五六七八九十几半0-9]"
_SINCE = re.compile(
    rf"从小|小时候|高考(?:后|以后|之后|完)|毕业(?:后|以后|之后)|分手(?:后|以后|之后)|结婚(?:后|以后|之后|以来)|生完?孩子(?:后|以后|之后)"
    rf"|上(?:了)?(?:大学|高中|初中)(?:后|以后|之后|以来)|疫情(?:以来|之后|期间)|最近{_NUMBER}{{1,3}}(?:个)?(?:多)?(?:月|周|天|年)|(?:近|这){_NUMBER}{{1,3}}(?:个)?(?:多)?(?:月|周|天|年)(?:来|以来)?"
    r"|这段时间|这段日子|这阵子|近来|近期|最近|这几[天周年]|这两[天周年]|近几年|长期以来|多年来|一直以来"
)
AREAS = {
    "婚姻": r"老公|丈夫|老婆|妻子|婚姻|离婚|婆婆|公婆|婚后|结婚|夫妻|娘家|婆家",
    "感情": r"男朋友|女朋友|男友|女友|分手|前任|谈过?恋爱|表白|暗恋|喜欢的人|异地|感情|复合|相亲|出轨|"
    r"前男友|前女友|初恋|恋人|处对象",
    "养育孩子": r"孩子|儿子|女儿|宝宝|育儿|二胎|二孩|宝妈|娃",
    "家庭": r"爸|妈|父母|父亲|母亲|家里|家人|弟弟|妹妹|(?<!小)哥哥|(?<!小)姐姐|奶奶|爷爷|外婆|外公|"
    r"原生家庭|亲戚|姥",
    "学业": r"考试|学习|成绩|高考|作业|高[一二三]|初[一二三]|考研|复习|上课|学校|老师|论文|专业|休学|"
    r"厌学|读书|中考|班主任|导师|成绩单",
    "工作": r"工作|公司|领导|同事|上班|职场|辞职|老板|加班|实习|单位|客户|找工作|项目|跳槽|失业|求职|面试",
    "人际相处": r"朋友|闺蜜|同学|室友|舍友|宿舍|人际|社交|交流|不合群|寝室|聊天",
    "身心健康": r"失眠|抑郁症|焦虑症|强迫症|吃药|医院|医生|产检|确诊|心理医生|躯体|睡不着|病|体检|"
    r"心悸|躁郁|双相",
    "对自己的看法": r"自卑|性格|内向|自己是|自我|价值|意义|外貌|颜值|减肥|胖|长相|不自信|完美主义|拖延|自信",
}
_AREA = {area: re.compile(pattern) for area, pattern in AREAS.items()}


@dataclass(frozen=True)
class Feelings:
    """What L1 says: emotions (none, one or two), the clause that shows the first and the cue's place in
    it."""

    emotions: tuple[str, ...]
    clause: int
    at: int
    strength: str
    lasting: bool
    since: str
    area: str


class Words:
    """Finds the words of several emotions at once; a longer word wins over a shorter one at the same
    place."""

    def __init__(self, emotions: Mapping[str, Sequence[str]]) -> None:
        self.of = {word: emotion for emotion, words in emotions.items() for word in words}
        ordered = sorted(self.of, key=len, reverse=True)
        ordered = [*_GUARDS, *ordered]
        self.pattern = re.compile("|".join(map(re.escape, ordered)))

    def hits(self, found: list[str], weighs: float = 1.0) -> dict[str, list[tuple[float, int, int]]]:
        """Emotion to (weight, clause, place) of each word that is not denied; what is another's, asked or
        only likened weighs less."""
        hits: dict[str, list[tuple[float, int, int]]] = {}
        for i, clause in enumerate(found):
            denied = -9
            for match in self.pattern.finditer(clause):
                before = clause[max(0, match.start() - 12) : match.start()]
                if match.group(0) in _GUARDS:
                    continue
                if _NEGATION.search(before) or match.start() - denied <= 2:
                    denied = match.end()  # 没有伤心难过: the second word is denied as well
                    continue
                weight = weighs
                if _OTHERS.search(before) and not ME.search(before):
                    weight *= 0.3
                if "一样" in clause and _AS_IF.search(before):  # 像生气一样
                    weight *= 0.2
                hits.setdefault(self.of[match.group(0)], []).append((weight, i, match.start()))
        return hits


@cache
def _everyday() -> tuple[Words, Words]:
    return Words(EVERYDAY), Words(FAINT)


def read(found: list[str], lexicon: Words) -> Feelings:
    """The feelings of a post: by the lexicon's words and the everyday ones, which weigh less than half; by
    faint ones where there is none of these.

    The emotion with the greatest weight, the earlier of equals; a second one if it has half of that. Without
    any, ``clause`` is the first that tells something.
    """
    area = _area(found)
    hits = lexicon.hits(found)
    for emotion, some in _everyday()[0].hits(found, _HALF).items():
        hits[emotion] = hits.get(emotion, []) + some
    faint = not hits or max(sum(hit[0] for hit in some) for some in hits.values()) < 0.12
    if faint:
        hits = _everyday()[1].hits(found, _HALF)
    total = {emotion: sum(hit[0] for hit in some) for emotion, some in hits.items()}
    if not total or max(total.values()) < 0.12:
        return Feelings((), first_telling(found), 0, "", False, _since(found, 0), area)
    order = sorted(hits, key=lambda e: (-total[e], min(hit[1:] for hit in hits[e])))
    _, clause, at = max(hits[order[0]], key=lambda hit: (hit[0], -hit[1], -hit[2]))
    second = [e for e in order[1:2] if not faint and total[e] >= max(1.0, total[order[0]] / 2)]
    near = found[clause][max(0, at - 8) : at + 8]
    strength = "强烈" if _STRONG.search(near) else "轻微" if _MILD.search(near) else ""
    since = _since(found, clause)
    return Feelings((order[0], *second), clause, at, strength, bool(_LASTING.search(near)), since, area)


def _since(found: list[str], clause: int) -> str:
    """Since when, if the clause or its neighbour before says so."""
    match = _SINCE.search("，".join(found[max(0, clause - 1) : clause + 1]))
    return match.group(0) if match else ""


def _area(found: list[str]) -> str:
    """The area of life with most words, those of the first and last clauses counted twice; empty below
    two."""
    text = "，".join([*found, *found[:1], *found[1:][-1:]])
    counts = {area: float(len(pattern.findall(text))) for area, pattern in _AREA.items()}
    counts["养育孩子"] *= 1.5  # a parent says "mother" and "father" as well
    best = max(counts, key=counts.get)
    return best if counts[best] >= 2 else ""


def has_emotion_word(clause: str, lexicon: Words) -> bool:
    """Whether any word of the lexicon stands in the clause."""
    return lexicon.pattern.search(clause) is not None


def shows(found: list[str], feelings: Feelings) -> bool:
    """Whether the clause of the first emotion is short and no question, so that it can stand in L1."""
    return bool(feelings.emotions) and len(found[feelings.clause]) <= 18 and not asks(found[feelings.clause])
