"""The blinded study: which rater judges which items and systems, in which order, under which letters.

Knows: completions of the systems, seeded choice and shuffling, what a rater may see. Does not know: ranks.

A rater sees the post and the replies under letters. By default the chain of empathy is hidden: its tags would
tell which systems write one. Of a completion that breaks the grammar a rater sees what a user would see
(``coe.answer_of``), which may hold words of the chain. The letters are drawn anew for every (rater, item);
who is who, and which sheets are attention checks, stands in a file of its own, kept from the raters.

Sheets, exports and key carry the same mark, a digest of the sheets as drawn, so that answers meet their own
key only: letters and raters are called alike in every study.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from string import ascii_uppercase

import numpy as np
import pandas as pd

from empathy_lib.core import coe
from empathy_lib.core.completions import Completions
from empathy_lib.core.errors import UserError
from empathy_lib.core.files import write_json, write_text
from empathy_lib.core.json_text import decode, parse_json
from empathy_lib.core.run import digest
from empathy_lib.human_eval import checks
from empathy_lib.human_eval.blocks import blocks, deal
from empathy_lib.human_eval.ratings import COLUMNS, SECONDS, STUDY

STUDY_FILE = "study.jsonl"
KEY_FILE = "key.json"


@dataclass(frozen=True)
class Study:
    """``sheets``: what raters see, one per (rater, item), in the order to be shown. ``key``: rater -> item ->
    letter -> system.

    A sheet is ``{rater, position, item, post, replies: [{letter, text}]}``; where the design shows the chain
    each reply has a ``chain`` too, empty for a system that wrote none. ``checks``: items of the attention
    checks, which are not among ``items``.
    """

    sheets: list[dict]
    key: dict[str, dict[str, dict[str, str]]]
    items: list[str]
    systems: list[str]
    checks: list[str] = field(default_factory=list)

    @cached_property
    def mark(self) -> str:
        """Which study this is. It begins with a letter, or a spreadsheet might take it for a number."""
        return f"study-{digest(self.sheets)[:12]}"


def build_study(
    completions: Completions,
    posts: Mapping[str, str],
    *,
    raters: int,
    items: int,
    rng: np.random.Generator,
    items_per_rater: int = 0,
    systems_per_item: int = 0,
    attention_checks: int = 0,
    show_chain: bool = False,
) -> Study:
    """Draw a blinded study.

    Args:
        completions: item id -> system -> completion; only items that every system answered are used.
        posts: item id -> text of the post.
        raters: how many raters; named ``rater-01`` and so on.
        items: how many items at most.
        rng: decides items, orders and letters; the same generator state gives the same study.
        items_per_rater: how many of the items each rater judges; 0 for all. Every item goes to equally many
            raters, up to one.
        systems_per_item: how many of the systems stand on a sheet; 0 for all. See ``blocks`` for the balance.
        attention_checks: how many check sheets each rater gets beside the items (``checks``), none of them
            first. Their posts are held back from the study, which has fewer items where completions are few.
        show_chain: whether raters see the chain of each reply. It unblinds systems that write none.

    Raises:
        UserError: fewer than two systems or more than 26, too few items that all systems answered, a post
            missing, a part larger than the whole.
    """
    systems = sorted({system for answers in completions.values() for system in answers})
    if not 2 <= len(systems) <= len(ascii_uppercase):
        raise UserError(
            f"completions: {len(systems)} systems ({', '.join(systems)}); a ranking needs 2 to "
            f"{len(ascii_uppercase)}"
        )
    answered = sorted(item for item, answers in completions.items() if len(answers) == len(systems))
    if len(answered) <= attention_checks:
        fault = "no item was" if not answered else f"only {len(answered)} items were"
        beside = (
            f" and {attention_checks} are held back for attention checks"
            if attention_checks and answered
            else ""
        )
        raise UserError(
            f"completions: {fault} answered by all systems{beside}; let every system answer the same items"
        )
    for item in answered:
        if item not in posts:
            raise UserError(
                f"completions: item '{item}' is not among the posts; give the posts that were answered"
            )
    order = [str(item) for item in rng.permutation(answered)]
    chosen = order[: min(items, len(order) - attention_checks)]
    held_back = order[len(order) - attention_checks :]
    size = systems_per_item or len(systems)
    for name, part, whole in (
        ("items_per_rater", items_per_rater, len(chosen)),
        ("systems_per_item", size, len(systems)),
    ):
        if part > whole or (name == "systems_per_item" and part < 2):
            raise UserError(
                f"{name}={part}: there are {whole} to choose from, and a ranking needs two systems; set it "
                f"to 0 for all"
            )
    hands = deal(raters, len(chosen), items_per_rater or len(chosen), rng)
    shown = iter(blocks(sum(map(len, hands)), len(systems), size, rng))
    sheets, key = [], {}
    for number, hand in enumerate(hands, 1):
        rater = f"rater-{number:02d}"
        plan: list[tuple[str, list[str], str]] = [
            (chosen[item], [systems[s] for s in next(shown)], "") for item in hand
        ]
        for place, item in enumerate(held_back):
            some = [str(system) for system in rng.permutation(systems)[:size]]
            plan.insert(int(rng.integers(1, len(plan) + 1)), (item, some, checks.WANTED[place % 2]))
        key[rater] = {}
        for position, (item, some, wanted) in enumerate(plan, 1):
            replies, key[rater][item] = _replies(completions[item], some, wanted, show_chain, rng)
            sheets.append(
                {"rater": rater, "position": position, "item": item, "post": posts[item], "replies": replies}
            )
    return Study(sheets, key, chosen, systems, held_back)


def _replies(
    answers: Mapping[str, str], systems: list[str], wanted: str, show_chain: bool, rng: np.random.Generator
) -> tuple[list[dict[str, str]], dict[str, str]]:
    """The replies of a sheet in the order of ``systems``, and letter -> system; ``wanted`` makes one of them
    a check."""
    asked = int(rng.integers(len(systems))) if wanted else -1
    replies, who = [], {}
    for place, (letter, system) in enumerate(zip(ascii_uppercase, systems, strict=False)):
        text = coe.answer_of(answers[system])
        who[letter] = (
            checks.name_check(wanted) if place == asked else checks.name_filler(system) if wanted else system
        )
        replies.append(
            {"letter": letter, "text": checks.check_reply(text, wanted) if place == asked else text}
        )
        if show_chain:
            replies[-1]["chain"] = _chain(answers[system])
    return replies, who


def _chain(completion: str) -> str:
    """The four layers as plain text, a line each; empty where the completion has no well-formed chain."""
    parsed = coe.parse(completion)
    return (
        ""
        if parsed is None
        else "\n".join(f"{coe.LAYER_TITLES[name]}: {getattr(parsed.coe, name)}" for name in coe.LAYERS)
    )


def write_study(study: Study, folder: Path) -> None:
    """Write ``study.jsonl`` (for the raters) and ``key.json`` (not for the raters) into ``folder``, each with
    the study's mark in a field ``study``."""
    lines = "".join(
        json.dumps({**sheet, STUDY: study.mark}, ensure_ascii=False) + "\n" for sheet in study.sheets
    )
    write_text(Path(folder) / STUDY_FILE, lines)
    write_json(Path(folder) / KEY_FILE, {STUDY: study.mark, **study.key})


def sheet_to_html(sheet: dict, gloss: str = "") -> str:
    """Show one sheet as its rater sees it; all text is escaped. ``gloss``: the post's labels in English, for
    the notebook's readers alone; no rater sees it."""
    replies = "".join(
        f"<div style='border-left:4px solid #999;padding:2px 8px;margin:4px 0;white-space:pre-wrap'>"
        f"<b>{html.escape(reply['letter'])}</b> "
        + (f"<div style='color:#555'>{html.escape(reply['chain'])}</div>" if reply.get("chain") else "")
        + f"{html.escape(reply['text']) or '<i>(empty)</i>'}</div>"
        for reply in sheet["replies"]
    )
    head = f"{sheet['rater']}, sheet {sheet['position']}, item {sheet['item']}"
    return (
        "<div style='border:1px solid #ddd;padding:6px;margin:4px 0;text-align:left'>"
        f"<div style='color:#555;font-size:85%'>{html.escape(head)}</div>"
        f"<div style='white-space:pre-wrap'>{html.escape(sheet['post'])}</div>"
        f"{coe.gloss_html(gloss)}{replies}</div>"
    )


def read_key(path: str | Path) -> tuple[dict[str, dict[str, dict[str, str]]], str]:
    """Read a ``key.json``: rater -> item -> letter -> system, and the study's mark, empty in a key of before
    there were marks.

    Raises:
        UserError: no such file, no JSON, or another file than a key.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; give the {KEY_FILE} that `study` or notebook 06 wrote")
    remedy = f"give the {KEY_FILE} of the study"
    text = decode(path.read_bytes(), str(path))
    first = text.lstrip().split("\n", 1)[0]
    if path.name == STUDY_FILE or (first.startswith("{") and '"replies"' in first):
        raise UserError(f"{path}: holds the raters' sheets, not the key; give the {KEY_FILE} beside it")
    key = parse_json(text, str(path), remedy)
    if not isinstance(key, dict):
        kind = "a JSON list" if isinstance(key, list) else "no JSON object"
        raise UserError(f"{path}: holds {kind}, not rater -> item -> letter -> system; {remedy}")
    mark = key.pop(STUDY) if isinstance(key.get(STUDY), str) else ""
    for rater, items in key.items():
        letters = list(items.values()) if isinstance(items, dict) else [None]
        if not all(
            isinstance(who, dict) and all(isinstance(system, str) for system in who.values())
            for who in letters
        ):
            raise UserError(f"{path}: field '{rater}': is not item -> letter -> system; {remedy}")
    return key, mark


def belong_together(letters: pd.DataFrame, key_path: str | Path) -> bool:
    """Whether the answers say that they are of the key's study: False where one of them carries no mark.

    Raises:
        UserError: they are of another study, or the key cannot be read.
    """
    _, mark = read_key(key_path)
    if not mark or STUDY not in letters:
        return False
    for row in letters.itertuples():
        if row.study not in ("", mark):
            raise UserError(
                f"{key_path}: is the key of {mark}, but the answers of rater '{row.rater}' on item "
                f"'{row.item}' are of {row.study}; use the key of that study"
            )
    return bool((letters[STUDY] != "").all())


def unblind(letters: pd.DataFrame, key_path: str | Path) -> pd.DataFrame:
    """Turn ranks of letters into ratings.

    Args:
        letters: columns ``rater, item, dimension, letter, rank``, and ``seconds`` and ``study`` (the mark) if
            known.
        key_path: the ``key.json`` of the same study.

    Returns:
        Columns ``rater, item, dimension, system, rank`` and, where given, ``seconds`` (see ``ratings``).

    Raises:
        UserError: no such key, the key of another study, or a (rater, item, letter) the key does not hold.
    """
    belong_together(letters, key_path)
    key, _ = read_key(key_path)
    systems = []
    for row in letters.itertuples():
        system = key.get(row.rater, {}).get(row.item, {}).get(row.letter)
        if system is None:
            raise UserError(
                f"{key_path}: no letter '{row.letter}' for rater '{row.rater}', item '{row.item}'; use the "
                f"key of the same study"
            )
        systems.append(system)
    return letters.assign(system=systems)[[*COLUMNS, *letters.columns.intersection([SECONDS])]]
