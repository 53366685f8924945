"""Cleaning: named rules in a fixed order, each counted, so that every removed answer and question can be
accounted for.

Knows: what an advertisement looks like, how short is too short, that a duplicate post gives its answers to
the first. Does not know: how a text is mended (``text_rules``, applied first and counted here), how noise was
planted. The rules read the text only; the noise labels are read by
:func:`planted_noise_report` alone, which marks the rules (``planted``).

The paper reports that advertisements, noise and answers below 100 characters are removed (paper section
'Empathy-QA'); the rules themselves are our choice.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd

from empathy_lib.core.config import DatasetConfig
from empathy_lib.core.errors import UserError
from empathy_lib.core.schema import Item
from empathy_lib.core.text import fingerprint, normalise, visible_length
from empathy_lib.dataset.deduplicate import near_duplicate_pairs
from empathy_lib.dataset.planted import PlantedNoise, noise_table
from empathy_lib.dataset.repeats import Merging, merge_repeats
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
    check_rules(config)
    tidy, tallies = map_items(partial(tidied, config=config), items)
    ids = [identity for tally in tallies for identity in tally.ids]
    if repeated := len(ids) - len(set(ids)):
        raise UserError(f"{repeated} items repeat the field 'id' of another; give every item its own id")
    changed = sum((tally.changed for tally in tallies), Counter())
    funnel = Funnel(changed={rule: changed[rule] for rule in TEXT_RULES})
    for tally in tallies:
        funnel.removed_answers |= tally.removed
    posts = [(item.id, item.question) for item in tidy]
    prints = np.fromiter((fingerprint(question) for _, question in posts), np.uint64, len(posts))

    def near(merged: Container[int]) -> Iterator[tuple[int, int]]:
        left = [place for place in range(len(posts)) if place not in merged]
        texts = [posts[place][1] for place in left]
        return ((left[i], left[j]) for i, j, _ in near_duplicate_pairs(texts, config.near_duplicate_jaccard))

    merging = merge_repeats(prints, near, config)
    funnel.merged = {posts[place][0]: posts[into][0] for place, into in merging.merged.items()}
    kept = _gathered(tidy, merging, [places for tally in tallies for places in tally.places], config, funnel)
    questions_removed = {
        **merging.removed,
        "not Chinese": len(ids) - len(tidy),
        "question without answer": len(tidy) - len(merging.merged) - len(kept),
    }
    answers = sum(tally.answers for tally in tallies)
    count_rules(funnel, answers, len(ids), Counter(funnel.removed_answers.values()), questions_removed)
    return kept, funnel


def check_rules(config: DatasetConfig) -> None:
    """Raise a :class:`UserError` where ``config.rules_off`` names no rule."""
    if unknown := [rule for rule in config.rules_off if rule not in SWITCHABLE]:
        raise UserError(f"dataset.rules_off: no rule '{unknown[0]}'; use any of: {', '.join(SWITCHABLE)}")


@dataclass
class Tally:
    """What the rules that look at one item alone did to a chunk of items."""

    ids: list[str] = field(default_factory=list)  # of all items given
    answers: int = 0  # that all of them had
    changed: Counter[str] = field(default_factory=Counter)
    removed: dict[tuple[str, int], str] = field(default_factory=dict)
    # of each item left: where its answers stood in the raw item
    places: list[list[int]] = field(default_factory=list)


def tidied(items: list[Item], config: DatasetConfig) -> tuple[list[Item], Tally]:
    """Apply every rule that needs no other item: those that mend, and those that remove an answer for its
    text."""
    tally, left = Tally(), []
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


def _gathered(
    items: Sequence[Item],
    merging: Merging,
    places: list[list[int]],
    config: DatasetConfig,
    funnel: Funnel,
) -> Sequence[Item]:
    """Every post that stays with its answers and those of its duplicates; posts without any are left out."""
    kept: ItemStore | list[Item] = ItemStore() if isinstance(items, ItemStore) else []
    for first, item in enumerate(items):
        if first in merging.merged:
            continue
        others = [(items[place], places[place]) for place in merging.groups.get(first, ())]
        joined, again = with_answers_of([(item, places[first]), *others], config)
        funnel.removed_answers |= dict.fromkeys(again, "duplicate answer")
        if joined.answers:
            kept.append(joined)
    return kept


def with_answers_of(
    sources: Sequence[tuple[Item, Sequence[int]]], config: DatasetConfig
) -> tuple[Item, list[tuple[str, int]]]:
    """The first item with the answers of all, each once, and (item id, place) of those that are there twice.

    Args:
        sources: items, and where each one's answers stood in the raw item.
    """
    answers, seen, again = [], set(), []
    for item, places in sources:
        for index, answer in zip(places, item.answers, strict=True):
            text = normalise(answer.text)
            if text in seen and "duplicate answer" not in config.rules_off:
                again.append((item.id, index))
            else:
                answers.append(answer)
            seen.add(text)
    return sources[0][0].model_copy(update={"answers": answers}), again


def count_rules(
    funnel: Funnel,
    answers: int,
    questions: int,
    answers_removed: Mapping[str, int],
    questions_removed: Mapping[str, int],
) -> None:
    """Fill ``funnel.rows``, rule by rule, from all answers and questions and what each rule removed.

    Raises:
        UserError: nothing is left; names the rule that removed most and the remedy.
    """
    read = answers
    for rule in RULES:
        row: dict[str, str | int] = {
            "rule": rule,
            "answers_before": answers,
            "answers_removed": answers_removed.get(rule, 0),
        }
        answers -= answers_removed.get(rule, 0)
        row |= {
            "answers_after": answers,
            "questions_before": questions,
            "questions_removed": questions_removed.get(rule, 0),
        }
        questions -= questions_removed.get(rule, 0)
        funnel.rows.append(row | {"questions_after": questions})
    if not questions:
        worst = max(funnel.rows, key=lambda row: row["answers_removed"])
        remedy = "lower dataset.min_answer_chars" if worst["rule"] == "short answer" else "give more data"
        raise UserError(
            f"no question is left after cleaning: rule '{worst['rule']}' removed {worst['answers_removed']} "
            f"of {read} answers; {remedy}"
        )


def planted_noise_report(raw: Sequence[Item], funnel: Funnel) -> pd.DataFrame | None:
    """Mark the rules against the noise the synthesis planted; None where the raw items carry no noise label
    (real data). See :func:`noise_table`."""
    noise = PlantedNoise()
    noise.add(raw, funnel.removed_answers)
    removed = Counter(funnel.removed_answers.values())
    return noise_table(noise, removed, funnel.merged, noise.duplicates)
