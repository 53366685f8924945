"""The Chain of Empathy of every answer: taken from the source (``gold``), or made from the post by rules
(``rules``).

Knows: which words and clauses of a post speak for an emotion, a cause, a request. Does not know: what a post
means. The rules annotator quotes and never invents, so it is always grounded and often shallow: sarcasm,
reported speech and unnamed feelings escape it, and it gives all answers of a post the same chain. The third
annotator, a language model, is in ``teacher``. The paper does not say how its chains were made; all rules are
our choice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from empathy_lib.core.coe import ChainOfEmpathy
from empathy_lib.core.errors import UserError
from empathy_lib.core.schema import Intent, Item
from empathy_lib.dataset.lexicon import load_lexicon
from empathy_lib.dataset.store import map_items

Annotator = Literal["gold", "rules"]
MAX_QUOTE = 40
SELF_HARM = re.compile(
    r"自杀|自残|自伤|轻生|割腕|跳楼|寻死|想死|去死|不想活|活不下去|活着没(?:有)?意[思义]|结束(?:自己的?)?生命|一了百了"
)

# A clause holds no bracket of a quotation (「」) and none of a tag (<>), so that quoting it breaks neither.
_CLAUSE = re.compile(r"[^。！？!?；;…\n\r，,：:<>「」]+[？?]?")
_ANY_TEXT = re.compile(r"[^<>「」\s]+")
_NEGATION = re.compile(r"(?:不|没|没有|并不|不再|不太|不是|毫不)$")
_TELLING = 8  # a shorter first clause is mostly a greeting or an age
# Everyday words; the lexicon's own were chosen to tell the emotions of synthetic posts apart, and miss half
# of the real posts.
_EVERYDAY = {
    "悲伤": ("难受", "痛苦", "不开心", "低落", "沮丧", "郁闷", "大哭", "哭了"),
    "焦虑": ("烦躁", "担心", "担忧", "压力", "着急", "胡思乱想"),
    "愤怒": ("讨厌", "好恨", "厌恶", "受不了", "无语"),
    "恐惧": ("好怕", "怕", "不敢", "阴影"),
    "羞耻": ("自卑", "嘲笑"),
    "无助": ("绝望", "崩溃", "撑不下去", "没办法"),
    "疲惫": ("好累", "很累", "太累", "没精神", "提不起"),
    "迷茫": ("不知道该", "纠结", "没有意义", "没意义"),
    "孤独": ("没朋友", "没有朋友", "不合群"),
}
_CAUSE = re.compile(r"因为|由于|自从|自打|起因|原因|导致|害得|都怪|怪我|缘于|源于|逼得")
_WEAK_CAUSE = re.compile(r"从小|小时候|曾经|以前|之前|之后|以后|后来|那次|每次|被")
_WISH = re.compile(r"想|希望|渴望|求|[？?]$")
_ASKS: dict[Intent, re.Pattern[str]] = {
    "advice": re.compile(
        r"怎么办|咋办|怎么(?!会|可能|就|了|回事|的)|怎样|如何|该不该|要不要|什么办法|有.{0,3}办法吗|办法[？"
        r"?]|建议|支招|指点|帮帮我|能不能帮|应该.*吗|选哪|何去何从"
    ),
    "validated": re.compile(
        r"是不是我|我是不是|是我.{0,3}错|我错了|正常吗|不正常|奇怪吗|矫情|小题大做|情有可原|换作?(?:别人|谁)|想多|过分|太敏感|太.{0,4}了吗|这样对吗|不应该吗|算不算|有没有问题|认可|肯定我"
    ),
    "understood": re.compile(
        r"没有?人.{0,3}(?:懂|理解|听|明白)|理解我|懂我|听我|听听|倾诉|说出来|说说|聊聊|吐槽|为什么|为何|怎么会|怎么了|怎么回事|憋"
    ),
}
_BELIEFS = {
    "overgeneralization": re.compile(r"从来|永远|所有人|每个人都|没有一个|什么都(?:不|没)|谁都"),
    "catastrophizing": re.compile(r"完了|毁了|全完|没救|一辈子.{0,6}(?:不|没|完)"),
    "mind_reading": re.compile(
        r"(?:他|她|别人|大家|人家|他们|她们).{0,6}(?:肯定|一定|都).{0,4}(?:觉得|认为|看不起|讨厌|嫌|笑)"
    ),
    "personalization": re.compile(r"都是我的?错|都怪我|是我害|我对不起"),
    "should_statements": re.compile(r"(?<![对给跟和让])我就?(?:应该|必须|一定要|不该|不应该)"),
    "labeling": re.compile(r"我(?:就|真)?是(?:个|一个)?.{0,4}(?:废物|失败|没用|垃圾|多余|累赘|笨)"),
}


@dataclass(frozen=True)
class RulesAnnotator:
    """A small, transparent, extractive annotator. Each layer quotes clauses of the post in 「」, at most 40
    characters each.

    Args:
        emotions: emotion to all words that name it (L1).
        biases: key to the name of a cognitive bias (L2), at least those of ``_BELIEFS``.
        intents: intent to the phrase that names it (L3).
    """

    emotions: Mapping[str, Sequence[str]]
    biases: Mapping[str, str]
    intents: Mapping[Intent, str]

    def chain(self, post: str) -> ChainOfEmpathy:
        """The four layers for a post (any non-blank text).

        L1: the emotion whose words, not negated, occur most often, the earlier of equals, with the clause of
        its first word; everyday words count only where the lexicon has none. Without any, the text says that
        no emotion is named and quotes the first clause of at least 8 characters.
        L2: the first clause with a causal word (因为, 自从, …), else the first that looks back (从小, 后来,
        …), else the longest that no other layer quotes; and a belief, if a clause has the wording of a known
        bias. L3: the intent with most asking clauses, the post's last one counted three times since the
        request mostly stands at the end (advice before validated before understood where equal), and the last
        clause of that intent; else the last clause that wishes, or the last of all, as a wish to be
        understood. L4: a strategy put together from the three; self-harm puts safety first.
        """
        clauses = _clauses(post)
        emotion, where, at = self._emotion(clauses)
        intent, asked, asked_at = self._intent(clauses)
        cause, cause_at = _cause(clauses, {where, asked})
        feeling = _quote(clauses, where, at)
        reason = _quote(clauses, cause, cause_at)
        belief = next(
            (
                (bias, i, m.start())
                for i, c in enumerate(clauses)
                for bias, p in _BELIEFS.items()
                if (m := p.search(c))
            ),
            None,
        )
        doubt = f"；{_quote(clauses, *belief[1:])}里可能有“{self.biases[belief[0]]}”的想法" if belief else ""
        return ChainOfEmpathy(
            L1=f"来访者感到{emotion}，原话是{feeling}。"
            if emotion
            else f"来访者没有直接说出情绪，所处的情境是{feeling}。",
            L2=f"这与{reason}有关{doubt}。",
            L3=f"从{_quote(clauses, asked, asked_at)}看，来访者{self.intents[intent]}。",
            L4=_strategy(post, emotion or "感受", reason, intent),
        )

    def labels(self, post: str) -> tuple[str, Intent]:
        """The emotion (empty if none is named) and the intent that :meth:`chain` writes."""
        clauses = _clauses(post)
        return self._emotion(clauses)[0], self._intent(clauses)[0]

    def _emotion(self, clauses: list[str]) -> tuple[str, int, int]:
        for lexicon in (self.emotions, _EVERYDAY):
            hits: dict[str, list[tuple[int, int]]] = {}
            for emotion, words in lexicon.items():
                pattern = re.compile("|".join(map(re.escape, sorted(words, key=len, reverse=True))))
                found = [
                    (i, match.start())
                    for i, clause in enumerate(clauses)
                    for match in pattern.finditer(clause)
                ]
                if found := [(i, at) for i, at in found if not _NEGATION.search(clauses[i][:at])]:
                    hits[emotion] = found
            if hits:
                best = min(hits, key=lambda emotion: (-len(hits[emotion]), hits[emotion][0]))
                return best, *hits[best][0]
        return "", next((i for i, clause in enumerate(clauses) if len(clause) >= _TELLING), 0), 0

    def _intent(self, clauses: list[str]) -> tuple[Intent, int, int]:
        asking: dict[Intent, list[tuple[int, int]]] = {intent: [] for intent in _ASKS}
        for i, clause in enumerate(clauses):
            for intent, pattern in _ASKS.items():
                if match := pattern.search(clause):
                    asking[intent].append((i, match.start()))
        final = max((found[-1] for found in asking.values() if found), default=None)
        # first of equals
        intent = max(
            asking,
            key=lambda name: len(asking[name]) + 2 * (bool(asking[name]) and asking[name][-1] == final),
        )
        if asking[intent]:
            return intent, *asking[intent][-1]
        wishes = [(i, match.start()) for i, clause in enumerate(clauses) if (match := _WISH.search(clause))]
        return "understood", *(wishes[-1] if wishes else (len(clauses) - 1, 0))


def _clauses(post: str) -> list[str]:
    """Clauses with a letter or digit; for a post of punctuation alone its runs of text, else none."""
    found = [match.group(0).strip() for match in _CLAUSE.finditer(post)]
    return [clause for clause in found if any(ch.isalnum() for ch in clause)] or _ANY_TEXT.findall(post)


def _cause(clauses: list[str], taken: set[int]) -> tuple[int, int]:
    for pattern in (_CAUSE, _WEAK_CAUSE):
        for i, clause in enumerate(clauses):
            if (match := pattern.search(clause)) and not clause.endswith(("？", "?")):
                return i, match.start()
    free = [i for i in range(len(clauses)) if i not in taken] or list(range(len(clauses)))
    return max(free, key=lambda i: len(clauses[i]), default=0), 0


def _quote(clauses: list[str], index: int, at: int) -> str:
    """The clause in 「」, cut to 40 characters around the cue at ``at``; "原帖" for a post without any
    clause."""
    if not clauses:
        return "原帖"
    clause = clauses[index]
    # 8: room for the cue itself
    start = 0 if at < MAX_QUOTE - 8 else max(0, min(at - MAX_QUOTE // 2, len(clause) - MAX_QUOTE))
    return f"「{clause[start : start + MAX_QUOTE].strip()}」"


def _strategy(post: str, emotion: str, reason: str, intent: Intent) -> str:
    safety = (
        "先关心来访者此刻是否安全，请其尽快联系身边的人或专业的危机援助；"
        if speaks_of_self_harm(post)
        else ""
    )
    plan = {
        "advice": f"先接住来访者的{emotion}，再说出对{reason}的理解，最后给一两个小而可行的步骤。",
        "validated": f"先说明有这样的{emotion}情有可原，再联系{reason}讲出它的来由，不急着给建议。",
        "understood": f"先用自己的话复述处境和{emotion}，再回应{reason}带来的影响，多倾听，少评判。",
    }
    return safety + plan[intent]


def speaks_of_self_harm(text: str) -> bool:
    """Whether a word of suicide or self-injury stands in the text: a prompt for a human to look, no
    assessment of risk."""
    return SELF_HARM.search(text) is not None


def has_gold(item: Item) -> bool:
    """Whether the source itself gives chains for the item."""
    return item.coe_origin == "gold" and any(answer.coe is not None for answer in item.answers)


def resolve_annotator(items: Sequence[Item], wanted: Annotator) -> Annotator:
    """``wanted``, or ``rules`` where gold is wanted and any item has none (real data); prints a line when it
    falls back."""
    lacking = sum(not has_gold(item) for item in items)
    if wanted == "gold" and lacking:
        print(
            f"annotator: {lacking} of {len(items)} questions carry no gold Chain of Empathy, so the rules "
            f"annotator makes all chains"
        )
        return "rules"
    return wanted


def annotate(items: Sequence[Item], annotator: Annotator) -> Sequence[Item]:
    """Items with a chain on every answer and ``coe_origin`` set; the input is not changed.

    An answer without a chain in a ``gold`` item is planted noise that got past the cleaning. It stays, as
    noise of a real corpus would, with the chain of the item's first answer that has one: L1 to L3 are true of
    the post whatever the answer.

    Raises:
        UserError: ``gold`` is asked for and an item has none.
    """
    return map_items(_with_gold if annotator == "gold" else _with_rules, items)[0]


def _with_gold(items: list[Item]) -> tuple[list[Item], None]:
    for item in items:
        if not has_gold(item):
            raise UserError(
                f"item '{item.id}', field 'coe': no gold Chain of Empathy; set dataset.annotator=rules"
            )
    return [_with_chains(item, next(a.coe for a in item.answers if a.coe), keep=True) for item in items], None


def _with_rules(items: list[Item]) -> tuple[list[Item], None]:
    rules = default_rules()
    chained = [_with_chains(item, rules.chain(item.question), keep=False) for item in items]
    return [item.model_copy(update={"coe_origin": "rules"}) for item in chained], None


def _with_chains(item: Item, chain: ChainOfEmpathy, *, keep: bool) -> Item:
    answers = [
        answer if keep and answer.coe else answer.model_copy(update={"coe": chain}) for answer in item.answers
    ]
    return item.model_copy(update={"answers": answers})


@cache
def default_rules() -> RulesAnnotator:
    """The rules annotator with the dataset's own lexicon."""
    lexicon = load_lexicon()
    return RulesAnnotator(emotions=lexicon.emotions, biases=lexicon.biases, intents=lexicon.intents)


def emotion_words() -> dict[str, tuple[str, ...]]:
    """Emotion to all words that name it: the lexicon's and the everyday ones."""
    return {
        emotion: (*words, *_EVERYDAY.get(emotion, ())) for emotion, words in load_lexicon().emotions.items()
    }


def rules_accuracy(items: list[Item]) -> dict[str, float] | None:
    """Share of items whose gold ``emotion`` and ``intent`` the rules find; None where no item has gold labels
    (real data).

    Optimistic, and no held-out result: the rules' words and the synthetic posts come from the same project,
    and some cues of ``validated`` (小题大做, 情有可原, 换作别人, 奇怪吗, 不正常) were added after reading the
    synthetic posts' closing sentences.
    """
    known = [(item.question, item.gold) for item in items if item.gold]
    if not known:
        return None
    rules = default_rules()
    found = [(rules.labels(post), gold) for post, gold in known]
    return {
        "emotion": sum(emotion == gold.emotion for (emotion, _), gold in found) / len(found),
        "intent": sum(intent == gold.intent for (_, intent), gold in found) / len(found),
    }
