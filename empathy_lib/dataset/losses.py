"""Where most of a corpus went, in one line: the rule, its share, and the setting that changes it.

Knows: which setting stands behind a rule. Does not know: the rules (``cleaning``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from empathy_lib.core.config import DatasetConfig
from empathy_lib.dataset.cleaning import SWITCHABLE, Funnel

NOTABLE = 0.2  # share of all answers from which a rule is named
_DIALOGUES = {"smile", "cpsycoun", "emollm", "messages", "efaqa"}


def removed_most(
    by_rule: Mapping[str, int], read: int, config: DatasetConfig, layouts: Mapping[str, int]
) -> dict[str, Any] | None:
    """The rule that removed most: ``rule``, ``answers``, ``share`` (of all read) and ``setting``; None where
    nothing was removed."""
    rule, answers = max(by_rule.items(), key=lambda pair: pair[1], default=("", 0))
    if not answers:
        return None
    return {
        "rule": rule,
        "answers": answers,
        "share": answers / read,
        "setting": _setting(rule, config, layouts),
    }


def _setting(rule: str, config: DatasetConfig, layouts: Mapping[str, int]) -> str:
    settings = {
        "short answer": f"dataset.min_answer_chars (now {config.min_answer_chars})",
        "near-duplicate question": f"dataset.near_duplicate_jaccard (now {config.near_duplicate_jaccard})",
        "beyond dataset.questions": f"dataset.questions (now {config.questions})",
        "no chain by the teacher": f"dataset.teacher.attempts (now {config.teacher.attempts})",
    }
    ways = [settings[rule]] if rule in settings else []
    if rule == "short answer" and config.dialogue_turns != "joined" and _DIALOGUES & set(layouts):
        ways.append("dataset.dialogue_turns=joined, which takes the first full reply")
    if rule in SWITCHABLE:
        ways.append(f"dataset.rules_off='[{rule}]'")
    return ", or ".join(ways)


def advice(loss: Mapping[str, Any] | None, least: float = NOTABLE) -> str:
    """The line for a reader; empty where no rule removed as much as ``least`` of the answers."""
    if loss is None or loss["share"] < least:
        return ""
    return (
        f"rule '{loss['rule']}' removed most: {loss['answers']:,} answers, {loss['share']:.0%} of all; "
        f"change it with {loss['setting']}"
    )


def funnel_advice(
    funnel: Funnel, config: DatasetConfig, layouts: Mapping[str, int], least: float = NOTABLE
) -> str:
    """:func:`advice` from a funnel, for a notebook: ``funnel_advice(funnel, config, reading.layouts)``."""
    by_rule = {row["rule"]: int(row["answers_removed"]) for row in funnel.rows}
    given = int(funnel.rows[0]["answers_before"]) if funnel.rows else 0
    return advice(removed_most(by_rule, given, config, layouts), least)
