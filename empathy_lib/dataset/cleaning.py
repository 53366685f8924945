"""Cleaning: named rules in a fixed order, each counted, so that every removed answer and question can be
accounted for.

Knows: what an advertisement looks like, how short is too short, that a duplicate post gives its answers to
the first. Does not know: how a text is mended (``text_rules``, applied first and counted here), how noise was
planted. The rules read the text only; the noise labels are read by
:func:`planted_noise_report` alone, which marks the rules.

The paper reports that advertisements, noise and answers below 100 characters are removed (paper section
'Empathy-QA'); the rules themselves are our choice.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import pandas as pd

from empathy_lib.core.config import DatasetConfig
from empathy_lib.core.errors import UserError
from empathy_lib.core.schema import Item
from empathy_lib.core.text import fingerprint, normalise, visible_length
from empathy_lib.dataset.deduplicate import near_duplicate_pairs
from empathy_lib.dataset.store import ItemStore, map_items
from empathy_lib.dataset.text_rules import ANSWERS_ONLY, TEXT_RULES, is_chinese

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
# that one, every later step relies on
SWITCHABLE = (*TEXT_RULES, *(rule for rule in RULES if rule != "question without answer"))
NOISE_KINDS = ("advertisement", "short", "duplicate")  # what the synthesis plants

# One of these is proof enough.
_CHANNEL = (
    r"(?:微信|威信|薇信|微\s?信号|[vw]\s?x|[+加]\s?v|v\s?信|q\s?q|扣扣|企鹅号|公众号|公号|订阅号|小程序|抖音|"
    r"快手|淘宝|店铺)"
)
_STRONG = re.compile(
    # a channel followed by its id
    rf"{_CHANNEL}\s{{0,4}}+(?:号|群)?\s{{0,4}}+[:：是为搜]?\s{{0,4}}+[a-z0-9][a-z0-9_-]{{4,}}+"
    rf"|(?:加|添加|搜|搜索|关注|扫|进)(?:一下|下)?(?:我|我们|老师|导师|客服|助理|助教|小助手|"
    rf"工作室)?(?:们)?(?:的)?{_CHANNEL}"
    r"|(?:扫|识别)(?:一下|下)?(?:下方|上方|图中|文末)?的?(?:二维)?码|二维码"
    r"|(?:点击|戳)(?:一下|下)?(?:链接|下方|头像|主页|左下角|阅读原文)"
    r"|https?://|www\.|[a-z0-9-]\.(?:com|cn|net|top)\b"
    r"|(?<!\d)1[3-9]\d(?:[ -]?\d{4}){2}(?!\d)",  # a mobile number; help lines (12356, 400-…) are none
    re.IGNORECASE,
)
# Two different kinds of these are: each alone also stands in honest replies ("可以预约心理咨询师").
_WEAK = {
    "contact": r"私信我|私聊我|私我|滴滴我|联系我们|联系我|加我|加老师|找我咨询|咨询我们|主页有|联系方式|"
    r"咨询热线|客服|进群|加群|名片",
    "offer": r"优惠|折扣|打折|(?<!独)特价|限时|立减|半价|原价|仅需|只要\d|只需\d|\d\s?元|"
    r"\d\s?折"
    r"|免费(?:领|送|试|体验|测|咨询|名额|听)|领取|名额|福利|活动价|首单|赠送",
    "product": r"课程|训练营|工作坊|套餐|疗程|会员|下单|购买|报名|预约|一对一|1对1|产品|服务|咨询室|工作室|"
    r"平台|机构|app",
    "claim": r"包治|根治|见效|保证|百分百|100%|成功案例|万人|资深导师|金牌|权威|独家|秘籍|挽回|神器|好评|"
    r"口碑|十年经验|专业团队|轻松搞定",
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
    """One strong cue (a channel's id, a link, a mobile number, "scan the code"), or ``offer`` or ``contact``
    beside another weak kind."""
    kinds = {cue.split(":", 1)[0] for cue in advertisement_cues(text)}
    return "strong" in kinds or (len(kinds) >= 2 and bool(kinds & {"offer", "contact"}))


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


def clean(items: Sequence[Item], config: DatasetConfig) -> tuple[Sequence[Item], Funnel]:
    """Apply :data:`TEXT_RULES <empathy_lib.dataset.text_rules.TEXT_RULES>`, then :data:`RULES`, but for
    ``config.rules_off``.

    Of duplicate questions (equal, or 5-gram Jaccard >= ``config.near_duplicate_jaccard``) the first stays and
    takes the others' answers: they answer the same post, so they are further references. Applying it twice
    changes nothing more.

    Returns:
        The kept items in their order (the input is not changed), and the funnel.

    Raises:
        UserError: two items share an id, a name in ``config.rules_off`` is no rule, or nothing is left; names
            the rule that removed most and the remedy.
    """
    if unknown := [rule for rule in config.rules_off if rule not in SWITCHABLE]:
        raise UserError(f"dataset.rules_off: no rule '{unknown[0]}'; use any of: {', '.join(SWITCHABLE)}")
    tidy, tallies = map_items(partial(_tidied, config=config), items)
    ids = [identity for tally in tallies for identity in tally.ids]
    if repeated := len(ids) - len(set(ids)):
        raise UserError(f"{repeated} items repeat the field 'id' of another; give every item its own id")
    changed = sum((tally.changed for tally in tallies), Counter())
    funnel = Funnel(changed={rule: changed[rule] for rule in TEXT_RULES})
    for tally in tallies:
        funnel.removed_answers |= tally.removed
    questions_removed = Counter({"not Chinese": len(ids) - len(tidy)})
    groups = _groups(tidy, config, funnel, questions_removed)
    kept = _gathered(tidy, groups, [places for tally in tallies for places in tally.places], config, funnel)
    questions_removed["question without answer"] = len(groups) - len(kept)
    answers = sum(tally.answers for tally in tallies)
    _count(funnel, answers, len(ids), questions_removed)
    if not kept:
        worst = max(funnel.rows, key=lambda row: row["answers_removed"])
        remedy = "lower dataset.min_answer_chars" if worst["rule"] == "short answer" else "give more data"
        raise UserError(
            f"no question is left after cleaning: rule '{worst['rule']}' removed {worst['answers_removed']} "
            f"of {answers} answers; {remedy}"
        )
    return kept, funnel


@dataclass
class _Tally:
    """What the rules that look at one item alone did to a chunk of items."""

    ids: list[str] = field(default_factory=list)  # of all items given
    answers: int = 0  # that all of them had
    changed: Counter[str] = field(default_factory=Counter)
    removed: dict[tuple[str, int], str] = field(default_factory=dict)
    # of each item left: where its answers stood in the raw item
    places: list[list[int]] = field(default_factory=list)


def _tidied(items: list[Item], config: DatasetConfig) -> tuple[list[Item], _Tally]:
    """Apply every rule that needs no other item: those that mend, and those that remove an answer for its
    text."""
    tally, left = _Tally(), []
    mends = {rule: mend for rule, mend in TEXT_RULES.items() if rule not in config.rules_off}

    def mended(text: str, is_answer: bool) -> str:
        for rule, mend in mends.items():
            if rule in ANSWERS_ONLY and not is_answer:
                continue
            # a post that is all noise is left to the rules that remove
            if (new := mend(text)) != text and (new or is_answer):
                text = new
                tally.changed[rule] += 1
        return text

    for item in items:
        tally.ids.append(item.id)
        tally.answers += len(item.answers)
        question = mended(item.question, is_answer=False)
        foreign = "not Chinese" not in config.rules_off and not is_chinese(question)
        answers = [
            answer.model_copy(update={"text": mended(answer.text, is_answer=True)}) for answer in item.answers
        ]
        reasons = [_reason(answer.text, foreign, config) for answer in answers]
        tally.removed |= {(item.id, place): reason for place, reason in enumerate(reasons) if reason}
        if not foreign:
            tally.places.append([place for place, reason in enumerate(reasons) if not reason])
            left.append(
                item.model_copy(
                    update={"question": question, "answers": [answers[place] for place in tally.places[-1]]}
                )
            )
    return left, tally


def _reason(text: str, foreign_post: bool, config: DatasetConfig) -> str:
    """The first rule that removes an answer for its text; empty where none does."""
    rules: dict[str, Callable[[], bool]] = {
        "empty answer": lambda: not text.strip(),
        "not Chinese": lambda: foreign_post or not is_chinese(text),
        "advertisement": lambda: is_advertisement(text),
        "short answer": lambda: visible_length(text) < config.min_answer_chars,
    }
    return next((rule for rule, applies in rules.items() if rule not in config.rules_off and applies()), "")


def _groups(
    items: Sequence[Item], config: DatasetConfig, funnel: Funnel, questions_removed: Counter[str]
) -> dict[int, list[int]]:
    """Position of each post that stays to those of the posts merged into it, in the order merged."""
    posts = [(item.id, item.question) for item in items]
    groups: dict[int, list[int]] = {place: [] for place in range(len(posts))}

    def merge(rule: str, duplicate: int, first: int) -> None:
        funnel.merged[posts[duplicate][0]] = posts[first][0]
        groups[first] += [duplicate, *groups.pop(duplicate)]
        questions_removed[rule] += 1

    if "exact duplicate question" not in config.rules_off:
        seen: dict[int, int] = {}
        for place, (_, question) in enumerate(posts):
            if (first := seen.setdefault(fingerprint(question), place)) != place:
                merge("exact duplicate question", place, first)
    if "near-duplicate question" not in config.rules_off:
        left = list(groups)
        for i, j, _ in near_duplicate_pairs(
            [posts[place][1] for place in left], config.near_duplicate_jaccard
        ):
            if left[i] in groups and left[j] in groups:  # a post that was merged away attracts no others
                merge("near-duplicate question", left[j], left[i])
    return groups


def _gathered(
    items: Sequence[Item],
    groups: dict[int, list[int]],
    places: list[list[int]],
    config: DatasetConfig,
    funnel: Funnel,
) -> Sequence[Item]:
    """Every post that stays with its answers and those of its duplicates, each answer once; posts without any
    are left out."""
    kept: ItemStore | list[Item] = ItemStore() if isinstance(items, ItemStore) else []
    once = "duplicate answer" not in config.rules_off
    for first, item in enumerate(items):
        if first not in groups:
            continue
        answers, seen = [], set()
        for place, source in [(first, item), *((place, items[place]) for place in groups[first])]:
            for index, answer in zip(places[place], source.answers, strict=True):
                text = normalise(answer.text) if once else (place, index)
                if text in seen:
                    funnel.removed_answers[source.id, index] = "duplicate answer"
                else:
                    answers.append(answer)
                seen.add(text)
        if answers:
            kept.append(item.model_copy(update={"answers": answers}))
    return kept


def _count(funnel: Funnel, answers: int, questions: int, questions_removed: Counter[str]) -> None:
    """Fill ``funnel.rows``, rule by rule."""
    by_rule = Counter(funnel.removed_answers.values())
    for rule in RULES:
        row: dict[str, str | int] = {
            "rule": rule,
            "answers_before": answers,
            "answers_removed": by_rule[rule],
        }
        answers -= by_rule[rule]
        row |= {
            "answers_after": answers,
            "questions_before": questions,
            "questions_removed": questions_removed[rule],
        }
        questions -= questions_removed[rule]
        funnel.rows.append(row | {"questions_after": questions})


def planted_noise_report(raw: Sequence[Item], funnel: Funnel) -> pd.DataFrame | None:
    """Mark the rules against the noise the synthesis planted; None where the raw items carry no noise label
    (real data).

    Which of two equal posts is *the* duplicate is a matter of order, so duplicates are counted per group of
    merged posts: of the r posts removed from a group that holds p planted ones, min(r, p) are hits.

    Returns:
        One row a kind: ``kind``, ``planted``, ``removed`` (by that kind's rule), ``hits``, ``precision``
            (hits / removed),
        ``recall`` (hits / planted), ``f1``; NaN where a denominator is 0.
    """
    planted: dict[tuple[str, int], str] = {}
    duplicates = set()
    for item in raw:
        planted |= {(item.id, i): answer.noise for i, answer in enumerate(item.answers) if answer.noise}
        duplicates |= {item.id} if item.noise == "duplicate" else set()
    if not planted and not duplicates:
        return None
    rows = []
    for kind, rule in (("advertisement", "advertisement"), ("short", "short answer")):
        removed = {key for key, by in funnel.removed_answers.items() if by == rule}
        rows.append(
            _score(
                kind,
                sum(noise == kind for noise in planted.values()),
                len(removed),
                sum(planted.get(k) == kind for k in removed),
            )
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
    return {
        "kind": kind,
        "planted": planted,
        "removed": removed,
        "hits": hits,
        "precision": precision,
        "recall": recall,
        "f1": f1,
    }
