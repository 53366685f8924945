"""Cleaning: named rules in a fixed order, each counted, so that every removed answer and question can be accounted for.

Knows: what an advertisement looks like, how short is too short, that a duplicate post gives its answers to the first.
Does not know: how a text is mended (``text_rules``, applied first and counted here), how noise was planted. The rules read the
text only; the noise labels are read by
:func:`planted_noise_report` alone, which marks the rules.

The paper reports that advertisements, noise and answers below 100 characters are removed (paper section 'Empathy-QA');
the rules themselves are our choice.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd

from empathy_lib.config import DatasetConfig
from empathy_lib.empathy_qa.deduplicate import near_duplicate_pairs, normalise
from empathy_lib.empathy_qa.schema import Answer, Item
from empathy_lib.empathy_qa.text_rules import TEXT_RULES, is_chinese
from empathy_lib.errors import UserError

RULES = (
    "empty answer",
    "not Chinese",
    "advertisement",
    "short answer",
    "exact duplicate question",
    "near-duplicate question",
    "duplicate answer",
    "question without answer",
)
SWITCHABLE = (*TEXT_RULES, *(rule for rule in RULES if rule != "question without answer"))  # that one, every later step relies on
NOISE_KINDS = ("advertisement", "short", "duplicate")  # what the synthesis plants

# One of these is proof enough.
_CHANNEL = r"(?:微信|威信|薇信|微\s?信号|[vw]\s?x|[+加]\s?v|v\s?信|q\s?q|扣扣|企鹅号|公众号|公号|订阅号|小程序|抖音|快手|淘宝|店铺)"
_STRONG = re.compile(
    rf"{_CHANNEL}\s*(?:号|群)?\s*[:：是为搜]?\s*[a-z0-9][a-z0-9_-]{{4,}}"  # a channel followed by its id
    rf"|(?:加|添加|搜|搜索|关注|扫|进)(?:一下|下)?(?:我|我们|老师|导师|客服|助理|助教|小助手|工作室)?(?:们)?(?:的)?{_CHANNEL}"
    r"|(?:扫|识别)(?:一下|下)?(?:下方|上方|图中|文末)?的?(?:二维)?码|二维码"
    r"|(?:点击|戳)(?:一下|下)?(?:链接|下方|头像|主页|左下角|阅读原文)"
    r"|https?://|www\.|[a-z0-9-]+\.(?:com|cn|net|top)\b"
    r"|(?<!\d)1[3-9]\d(?:[ -]?\d{4}){2}(?!\d)",  # a mobile number; help lines (12356, 400-…) are none
    re.IGNORECASE,
)
# Two different kinds of these are: each alone also stands in honest replies ("可以预约心理咨询师").
_WEAK = {
    "contact": r"私信我|私聊我|私我|滴滴我|联系我们|联系我|加我|加老师|找我咨询|咨询我们|主页有|联系方式|咨询热线|客服|进群|加群|名片",
    "offer": r"优惠|折扣|打折|(?<!独)特价|限时|立减|半价|原价|仅需|只要\d+|只需\d+|\d+(?:\.\d+)?\s?元|\d+\s?折"
    r"|免费(?:领|送|试|体验|测|咨询|名额|听)|领取|名额|福利|活动价|首单|赠送",
    "product": r"课程|训练营|工作坊|套餐|疗程|会员|下单|购买|报名|预约|一对一|1对1|产品|服务|咨询室|工作室|平台|机构|app",
    "claim": r"包治|根治|见效|保证|百分百|100%|成功案例|万人|资深导师|金牌|权威|独家|秘籍|挽回|神器|好评|口碑|十年经验|专业团队|轻松搞定",
}
_WEAK_PATTERNS = {kind: re.compile(pattern, re.IGNORECASE) for kind, pattern in _WEAK.items()}


def advertisement_cues(text: str) -> list[str]:
    """The passages that speak for an advertisement, e.g. ``["contact: 私信我", "offer: 限时"]``."""
    found = [f"strong: {match.group(0)}" for match in _STRONG.finditer(text)]
    for kind, pattern in _WEAK_PATTERNS.items():
        if match := pattern.search(text):
            found.append(f"{kind}: {match.group(0)}")
    return found


def is_advertisement(text: str) -> bool:
    """One strong cue (a channel's id, a link, a mobile number, "scan the code"), or ``offer`` or ``contact`` beside another weak kind."""
    kinds = {cue.split(":", 1)[0] for cue in advertisement_cues(text)}
    return "strong" in kinds or (len(kinds) >= 2 and bool(kinds & {"offer", "contact"}))


def visible_length(text: str) -> int:
    """Characters that are not white space."""
    return len("".join(text.split()))


@dataclass
class Funnel:
    """What each rule removed.

    Attributes:
        rows: one dict a rule; see :meth:`frame`.
        removed_answers: (item id, index in the raw item's ``answers``) to the rule that removed it.
        merged: id of a duplicate question to the id of the question that took its answers.
        changed: text rule to the number of posts and answers it mended.
    """

    rows: list[dict[str, str | int]] = field(default_factory=list)
    removed_answers: dict[tuple[str, int], str] = field(default_factory=dict)
    merged: dict[str, str] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)

    def frame(self) -> pd.DataFrame:
        """One row a rule: ``rule`` and ``answers_``/``questions_`` ``before``, ``removed``, ``after``."""
        return pd.DataFrame(self.rows)


@dataclass
class _Pool:
    """The questions still there, and their answers with where each came from."""

    items: dict[str, Item]
    answers: dict[str, list[tuple[str, int, Answer]]]

    def counts(self) -> tuple[int, int]:
        return sum(map(len, self.answers.values())), len(self.items)


def clean(items: list[Item], config: DatasetConfig) -> tuple[list[Item], Funnel]:
    """Apply :data:`TEXT_RULES <empathy_lib.empathy_qa.text_rules.TEXT_RULES>`, then :data:`RULES`, but for ``config.rules_off``.

    Of duplicate questions (equal, or 5-gram Jaccard >= ``config.near_duplicate_jaccard``) the first stays and takes the
    others' answers: they answer the same post, so they are further references. Applying it twice changes nothing more.

    Returns:
        The kept items in their order (the input is not changed), and the funnel.

    Raises:
        UserError: two items share an id, a name in ``config.rules_off`` is no rule, or nothing is left; names the rule that
            removed most and the remedy.
    """
    if unknown := [rule for rule in config.rules_off if rule not in SWITCHABLE]:
        raise UserError(f"dataset.rules_off: no rule '{unknown[0]}'; use any of: {', '.join(SWITCHABLE)}")
    pool = _Pool({item.id: item for item in items}, {item.id: [(item.id, i, a) for i, a in enumerate(item.answers)] for item in items})
    if len(pool.items) != len(items):
        raise UserError(f"{len(items) - len(pool.items)} items repeat the field 'id' of another; give every item its own id")
    funnel = Funnel()
    for rule, mend in TEXT_RULES.items():
        funnel.changed[rule] = 0 if rule in config.rules_off else _mend(pool, mend)
    steps = {
        "empty answer": lambda: _drop_answers(pool, funnel, "empty answer", lambda text: not text.strip()),
        "not Chinese": lambda: _drop_foreign(pool, funnel),
        "advertisement": lambda: _drop_answers(pool, funnel, "advertisement", is_advertisement),
        "short answer": lambda: _drop_answers(pool, funnel, "short answer", lambda text: visible_length(text) < config.min_answer_chars),
        "exact duplicate question": lambda: _merge_exact(pool, funnel),
        "near-duplicate question": lambda: _merge_near(pool, funnel, config.near_duplicate_jaccard),
        "duplicate answer": lambda: _drop_repeated_answers(pool, funnel),
        "question without answer": lambda: _drop_unanswered(pool),
    }
    for rule in RULES:
        answers, questions = pool.counts()
        if rule not in config.rules_off:
            steps[rule]()
        answers_left, questions_left = pool.counts()
        row: dict[str, str | int] = {"rule": rule, "answers_before": answers, "answers_removed": answers - answers_left}
        row |= {"answers_after": answers_left, "questions_before": questions, "questions_removed": questions - questions_left}
        funnel.rows.append(row | {"questions_after": questions_left})
    kept = [item.model_copy(update={"answers": [a for _, _, a in pool.answers[item.id]]}) for item in pool.items.values()]
    if not kept:
        worst = max(funnel.rows, key=lambda row: row["answers_removed"])
        remedy = "lower dataset.min_answer_chars" if worst["rule"] == "short answer" else "give more data"
        raise UserError(
            f"no question is left after cleaning: rule '{worst['rule']}' removed {worst['answers_removed']} of "
            f"{funnel.rows[0]['answers_before']} answers; {remedy}"
        )
    return kept, funnel


def _mend(pool: _Pool, mend: Callable[[str], str]) -> int:
    changed = 0
    for key, item in pool.items.items():
        if (question := mend(item.question)) != item.question and question:  # a post that is all noise is left to the rules that remove
            pool.items[key] = item.model_copy(update={"question": question})
            changed += 1
        for place, (owner, index, answer) in enumerate(pool.answers[key]):
            if (text := mend(answer.text)) != answer.text:
                pool.answers[key][place] = (owner, index, answer.model_copy(update={"text": text}))
                changed += 1
    return changed


def _drop_foreign(pool: _Pool, funnel: Funnel) -> None:
    _drop_answers(pool, funnel, "not Chinese", lambda text: not is_chinese(text))
    for key, item in list(pool.items.items()):
        if not is_chinese(item.question):
            funnel.removed_answers |= {(owner, index): "not Chinese" for owner, index, _ in pool.answers[key]}
            del pool.items[key], pool.answers[key]


def _drop_answers(pool: _Pool, funnel: Funnel, rule: str, is_noise) -> None:
    for key, answers in pool.answers.items():
        keep = []
        for owner, index, answer in answers:
            if is_noise(answer.text):
                funnel.removed_answers[owner, index] = rule
            else:
                keep.append((owner, index, answer))
        pool.answers[key] = keep


def _merge(pool: _Pool, funnel: Funnel, duplicate: str, first: str) -> None:
    funnel.merged[duplicate] = first
    pool.answers[first] += pool.answers.pop(duplicate)
    del pool.items[duplicate]


def _merge_exact(pool: _Pool, funnel: Funnel) -> None:
    seen: dict[str, str] = {}
    for item in list(pool.items.values()):
        first = seen.setdefault(normalise(item.question), item.id)
        if first != item.id:
            _merge(pool, funnel, item.id, first)


def _merge_near(pool: _Pool, funnel: Funnel, threshold: float) -> None:
    items = list(pool.items.values())
    for i, j, _ in near_duplicate_pairs([item.question for item in items], threshold):
        first, duplicate = items[i].id, items[j].id
        if first in pool.items and duplicate in pool.items:  # a post that was merged away attracts no others
            _merge(pool, funnel, duplicate, first)


def _drop_repeated_answers(pool: _Pool, funnel: Funnel) -> None:
    for key, answers in pool.answers.items():
        seen: set[str] = set()
        keep = []
        for owner, index, answer in answers:
            text = normalise(answer.text)
            if text in seen:
                funnel.removed_answers[owner, index] = "duplicate answer"
            else:
                keep.append((owner, index, answer))
            seen.add(text)
        pool.answers[key] = keep


def _drop_unanswered(pool: _Pool) -> None:
    for key in [key for key, answers in pool.answers.items() if not answers]:
        del pool.items[key], pool.answers[key]


def planted_noise_report(raw: list[Item], funnel: Funnel) -> pd.DataFrame | None:
    """Mark the rules against the noise the synthesis planted; None where the raw items carry no noise label (real data).

    Which of two equal posts is *the* duplicate is a matter of order, so duplicates are counted per group of merged posts:
    of the r posts removed from a group that holds p planted ones, min(r, p) are hits.

    Returns:
        One row a kind: ``kind``, ``planted``, ``removed`` (by that kind's rule), ``hits``, ``precision`` (hits / removed),
        ``recall`` (hits / planted), ``f1``; NaN where a denominator is 0.
    """
    planted = {(item.id, i): a.noise for item in raw for i, a in enumerate(item.answers) if a.noise}
    duplicates = {item.id for item in raw if item.noise == "duplicate"}
    if not planted and not duplicates:
        return None
    rows = []
    for kind, rule in (("advertisement", "advertisement"), ("short", "short answer")):
        removed = {key for key, by in funnel.removed_answers.items() if by == rule}
        rows.append(
            _score(kind, sum(noise == kind for noise in planted.values()), len(removed), sum(planted.get(k) == kind for k in removed))
        )
    hits = 0
    for first in set(funnel.merged.values()):
        group = [duplicate for duplicate, into in funnel.merged.items() if into == first]
        hits += min(len(group), len(duplicates.intersection([first, *group])))
    rows.append(_score("duplicate", len(duplicates), len(funnel.merged), hits))
    return pd.DataFrame(rows)


def _score(kind: str, planted: int, removed: int, hits: int) -> dict[str, str | int | float]:
    precision = hits / removed if removed else float("nan")
    recall = hits / planted if planted else float("nan")
    f1 = 2 * hits / (planted + removed) if planted + removed else float("nan")
    return {"kind": kind, "planted": planted, "removed": removed, "hits": hits, "precision": precision, "recall": recall, "f1": f1}
