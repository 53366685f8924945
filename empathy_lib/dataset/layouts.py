"""The public layouts of Chinese counselling corpora: how a record is recognised, and which post and answers
it holds.

Knows: one adapter a layout, from a parsed record to a :class:`Draft`. Does not know: files (``sources``),
cleaning, annotation.

A layout with several turns gives one post and at most one answer, by :func:`post_and_reply`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Literal

from empathy_lib.dataset.turns import Unclear, cut

Turns = Literal["first", "joined"]
MIN_POST_CHARS = 60  # of the rule "joined": shorter openings are a greeting, not a post


class BadRecord(ValueError):
    """A record that cannot be read: ``field`` names where, the message says why and what would be right."""

    def __init__(self, field: str, reason: str, answers: int = 1):
        super().__init__(reason)
        self.field, self.answers = field, max(1, answers)

    def costing(self, answers: int) -> BadRecord:
        """The same fault, at the price of so many answers."""
        self.answers = max(1, answers)
        return self


@dataclass(frozen=True)
class Draft:
    """What an adapter found; texts are not checked yet. ``answers`` pairs each answer's field with its
    value."""

    question: Any
    answers: list[tuple[str, Any]]
    topic: str = ""
    subtopic: str = ""
    question_field: str = "question"
    id: str = ""  # as the record gives it; empty where it gives none
    turns_cut: int = 0  # turns that held several speakers' words


@dataclass(frozen=True)
class Layout:
    """``fits`` looks at a record's shape only; ``draft`` takes (record, rule for turns, least characters of a
    reply) and is None for records that are items already.

    ``turns`` is the rule that suits the layout: where counsellors open with a greeting or a question,
    ``first`` would keep that.
    """

    name: str
    title: str
    fits: Callable[[Any], bool]
    draft: Callable[[Any, Turns, int], Draft] | None
    turns: Turns = "first"


def post_and_reply(turns: list[tuple[str, str, str]], rule: Turns, min_reply: int) -> Draft:
    """One post and one reply of a dialogue, by a documented rule.

    Args:
        turns: ``(side, text, field)`` in order; side is ``client`` or ``counselor``. Turns of one side in a
            row are one turn; a counselor's greeting before the first post is left out.
        rule: ``first``: the first post and the first reply. ``joined``: counsellors often open with a
            question; the client's turns are joined, what the counsellor asks in between is left out, and the
            answer is the first reply of at least ``min_reply`` characters to a post of at least 60. A
            dialogue without such a reply falls back to ``first``.

    A turn that holds several speakers' words is cut at their labels first (``turns``).

    Raises:
        BadRecord: the client says nothing, or it cannot be told who says what.
    """
    cuts = [_cut(turn) for turn in turns]
    draft = _post_and_reply([part for parts in cuts for part in parts], rule, min_reply)
    return replace(draft, turns_cut=sum(len(parts) > 1 for parts in cuts))


def _cut(turn: tuple[str, str, str]) -> list[tuple[str, str, str]]:
    try:
        return cut(turn)
    except Unclear as unclear:
        reason = f"{unclear}; give every speaker's words a turn of their own, or remove the record"
        raise BadRecord(turn[2], reason) from None


def _post_and_reply(turns: list[tuple[str, str, str]], rule: Turns, min_reply: int) -> Draft:
    merged: list[tuple[str, str, str]] = []
    for side, group in groupby(turns, key=lambda turn: turn[0]):
        members = list(group)
        merged.append((side, "\n".join(text.strip() for _, text, _ in members).strip(), members[0][2]))
    merged = merged[1:] if merged and merged[0][0] == "counselor" else merged
    if not merged or not merged[0][1]:
        where = merged[0][2] if merged else "record"
        raise BadRecord(
            where, "the first client turn is empty or missing; give the post's text or remove the record"
        )
    if rule == "joined":
        for place in range(1, len(merged), 2):
            post = "\n".join(text for side, text, _ in merged[:place] if side == "client")
            if len(post) >= MIN_POST_CHARS and len(merged[place][1]) >= min_reply:
                return Draft(post, [(merged[place][2], merged[place][1])], question_field=merged[0][2])
    return Draft(merged[0][1], [(where, text) for _, text, where in merged[1:2]], question_field=merged[0][2])


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise BadRecord(where, f"must be text, not {type(value).__name__}")
    return value


def _word(value: Any, where: str) -> str:
    """A label as text: numbers are read as they are written, nothing (null, NaN) is empty."""
    if value is None or value != value:
        return ""
    return _text(
        value if isinstance(value, str) else str(value) if _is_scalar(value) else value, where
    ).strip()


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (int, float))


def _list(value: Any, where: str) -> list:
    if not isinstance(value, list):
        raise BadRecord(where, f"must be a list, not {type(value).__name__}")
    return value


def _has(record: Any, *keys: str) -> bool:
    return isinstance(record, dict) and all(key in record for key in keys)


def bare_answer(answer: Any) -> Any:
    """The text of an answer that stands in the list as text, alone or before labels."""
    if isinstance(answer, list) and answer and not any(isinstance(label, str) for label in answer[1:]):
        return answer[0]
    return answer if isinstance(answer, str) else None


def _is_own(record: Any) -> bool:
    if not _has(record, "id", "question", "answers"):
        return False
    answers = record["answers"]
    return not isinstance(answers, list) or not any(_has(answer, "answer_text") for answer in answers)


def _psyqa(record: Any, rule: Turns, min_reply: int) -> Draft:
    answers = _list(record.get("answers"), "answers")
    pairs: list[tuple[str, Any]] = [
        (f"answers.{i}.answer_text", a.get("answer_text") if isinstance(a, dict) else bare_answer(a))
        for i, a in enumerate(answers)
    ]
    question = record.get("question")
    if isinstance(question, str) and question.strip():
        question = _with_description(question, record)
    keywords = record.get("keywords")
    words = (
        [_word(word, "keywords") for word in keywords]
        if isinstance(keywords, list)
        else re.split(r"[,，、;；\s]+", _word(keywords, "keywords"))
    )
    topic, subtopic = ([word for word in words if word] + ["", ""])[:2]
    return Draft(question, pairs, topic, subtopic, id=_word(record.get("id"), "id"))


def _with_description(title: str, record: Any) -> str:
    parts = (title.strip(), _word(record.get("description"), "description"))
    return "\n".join(part for part in parts if part)


def _row(record: Any, rule: Turns, min_reply: int) -> Draft:
    topics = (_word(record.get(key), key) for key in ("topic", "subtopic"))
    return Draft(
        record["question"], [("answer", record["answer"])], *topics, id=_word(record.get("id"), "id")
    )


def _turns(
    record: list, side_key: str, text_key: str, sides: dict[str, str], where: str
) -> list[tuple[str, str, str]]:
    turns = []
    for number, turn in enumerate(record):
        place = f"{where}{number}"
        if not isinstance(turn, dict):
            raise BadRecord(
                place, f"must be a turn with {side_key} and {text_key}, not {type(turn).__name__}"
            )
        side = turn.get(side_key)
        if not isinstance(side, str) or side not in sides:
            raise BadRecord(f"{place}.{side_key}", f"is {side!r}; use one of {', '.join(sides)}")
        if sides[side]:
            turns.append(
                (sides[side], _text(turn.get(text_key), f"{place}.{text_key}"), f"{place}.{text_key}")
            )
    return turns


def _smile(record: Any, rule: Turns, min_reply: int) -> Draft:
    return post_and_reply(
        _turns(record, "role", "content", {"client": "client", "counselor": "counselor"}, ""), rule, min_reply
    )


# not ^\s*, which takes quadratic time on many line ends
_SPEAKER = re.compile(r"^[^\S\n]*(来访者|求助者|咨询者|心理咨询师|咨询师|支持者)\s*[:：]", re.MULTILINE)


def _first_text(record: Any) -> str:
    first = record[0] if isinstance(record, list) and record else record
    return first if isinstance(first, str) else ""


def is_turn(value: Any) -> bool:
    """Whether an element of a list is a turn of a dialogue, so that the list is the record."""
    if isinstance(value, str):
        return len(_SPEAKER.findall(value)) == 1
    return isinstance(value, dict) and "role" in value and layout_of(value) is None


def _dialogue_text(record: Any, rule: Turns, min_reply: int) -> Draft:
    """CPsyCounD's text, or CPsyCounE's list of turns."""
    if isinstance(record, list):
        record = "\n".join(_text(turn, str(number)) for number, turn in enumerate(record))
    parts = _SPEAKER.split(record)
    turns = [
        ("counselor" if "师" in side or side == "支持者" else "client", text, f"turn {number}")
        for number, (side, text) in enumerate(zip(parts[1::2], parts[2::2], strict=True), 1)
    ]
    return post_and_reply(turns, rule, min_reply)


def _emollm(record: Any, rule: Turns, min_reply: int) -> Draft:
    turns = []
    for number, pair in enumerate(_list(record["conversation"], "conversation")):
        for side, key in (("client", "input"), ("counselor", "output")):
            where = f"conversation.{number}.{key}"
            turns.append((side, _text(pair.get(key) if isinstance(pair, dict) else None, where), where))
    return post_and_reply(turns, rule, min_reply)


_CHAT = {
    "user": "client",
    "human": "client",
    "client": "client",
    "assistant": "counselor",
    "gpt": "counselor",
    "counselor": "counselor",
}


def _messages(record: Any, rule: Turns, min_reply: int) -> Draft:
    key = "messages" if "messages" in record else "conversations"
    messages = _list(record[key], key)
    share_gpt = bool(messages) and isinstance(messages[0], dict) and "from" in messages[0]
    names = ("from", "value") if share_gpt else ("role", "content")
    draft = post_and_reply(_turns(messages, *names, {**_CHAT, "system": ""}, f"{key}."), rule, min_reply)
    topic = record.get("normalizedTag") or record.get("topic") or ""
    return replace(draft, topic=_word(topic, "topic"), id=_word(record.get("id"), "id"))


def _efaqa(record: Any, rule: Turns, min_reply: int) -> Draft:
    """efaqa-corpus-zh: title and description are the post; what the audience wrote before the owner's next
    message is one answer."""
    turns = []
    for number, chat in enumerate(_list(record["chats"], "chats")):
        where = f"chats.{number}"
        if not isinstance(chat, dict) or chat.get("sender") not in ("owner", "audience"):
            raise BadRecord(f"{where}.sender", "must be owner or audience")
        if chat.get("type", "textMessage") == "textMessage":
            turns.append(
                (
                    "client" if chat["sender"] == "owner" else "counselor",
                    _text(chat.get("value"), f"{where}.value"),
                    f"{where}.value",
                )
            )
    post = _with_description(_text(record["title"], "title"), record)
    draft = post_and_reply([("client", post, "title"), *turns], rule, min_reply)
    labels = record.get("label") if isinstance(record.get("label"), dict) else {}
    return replace(draft, topic=_word(labels.get("s1"), "label.s1"))


LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout("schema", "the project's own schema", _is_own, None),
        Layout("psyqa", "PsyQA", lambda r: _has(r, "question", "answers"), _psyqa),
        Layout("row", "rows of question, answer, topic", lambda r: _has(r, "question", "answer"), _row),
        Layout(
            "smile", "SMILE/MeChat", lambda r: isinstance(r, list) and bool(r) and _has(r[0], "role"), _smile
        ),
        Layout(
            "cpsycoun",
            "CPsyCounD/CPsyCounE",
            lambda r: bool(_SPEAKER.search(_first_text(r))),
            _dialogue_text,
            "joined",
        ),
        Layout("emollm", "EmoLLM", lambda r: _has(r, "conversation"), _emollm),
        Layout(
            "messages",
            "SoulChat/PsyDT messages or ShareGPT",
            lambda r: _has(r, "messages") or _has(r, "conversations"),
            _messages,
        ),
        Layout("efaqa", "efaqa-corpus-zh", lambda r: _has(r, "title", "chats"), _efaqa),
    )
}


def layout_of(record: Any) -> Layout | None:
    """The layout whose shape a record has, or None."""
    return next((layout for layout in LAYOUTS.values() if layout.fits(record)), None)
