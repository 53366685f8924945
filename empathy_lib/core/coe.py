"""The Chain-of-Empathy text format: one grammar, and everything that follows from it.

Knows: how a completion is rendered, parsed, validated and displayed. Does not know: what a good chain says
(``metrics``), how one is annotated (``dataset.annotate``) or generated.

The grammar (tags as reported of the paper, arXiv 2509.14851; white space between tags is free)::

    completion := "<empathy_think>" L1 L2 L3 L4 "</empathy_think>" "<answer>" text "</answer>"
    Ln         := "<Ln>" text "</Ln>"

``text`` holds a letter or digit of any script, and none of the grammar's own tags: a layer of invisible
characters (U+200B and its kind) or of marks ("。") is no layer.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, field_validator

LAYERS = ("L1", "L2", "L3", "L4")
TAGS = ("empathy_think", *LAYERS, "answer")
LAYER_TITLES = {
    "L1": "情绪与情境 · emotions and context",
    "L2": "原因与信念 · causes and beliefs",
    "L3": "意图 · intent",
    "L4": "回应策略 · response strategy",
}
LAYER_COLOURS = {"L1": "#0072B2", "L2": "#B35900", "L3": "#007A5A", "L4": "#8F4A7A", "answer": "#333333"}

_TAG = re.compile(rf"<(/?)({'|'.join(TAGS)})>")
_ORDER = (
    ["<empathy_think>"]
    + [t for n in LAYERS for t in (f"<{n}>", f"</{n}>")]
    + ["</empathy_think>", "<answer>", "</answer>"]
)
_COMPLETION = re.compile(
    r"\s*<empathy_think>\s*"
    + r"\s*".join(rf"<{name}>(?P<{name}>.+?)</{name}>" for name in LAYERS)
    + r"\s*</empathy_think>\s*<answer>(?P<answer>.+?)</answer>\s*",
    re.DOTALL,
)


# blank to look at, yet letters or marks to Unicode: Hangul fillers, the Braille blank, a joiner
_BLANKS = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f") | set(map(chr, range(0xFE00, 0xFE10)))
_UNSEEN = ("Cc", "Cf", "Zl", "Zp", "Zs")
_REASONING = re.compile(r"<(think|thinking|reasoning)>", re.IGNORECASE)
_REASONED = re.compile(r"</(think|thinking|reasoning)>", re.IGNORECASE)


def _lack(text: str) -> Literal["", "empty", "only invisible characters", "only marks"]:
    """What a part lacks to count as text; empty where it holds a letter or digit."""
    if any(character.isalnum() and character not in _BLANKS for character in text):
        return ""
    if not text.strip():
        return "empty"
    unseen = all(c in _BLANKS or unicodedata.category(c) in _UNSEEN for c in text)
    return "only invisible characters" if unseen else "only marks"


def _clean_text(value: str) -> str:
    if lack := _lack(value):
        fault = "is empty" if lack == "empty" else f"holds {lack}"
        raise ValueError(f"{fault}; every part of a Chain of Empathy needs text")
    if _TAG.search(value):
        raise ValueError("holds a tag of the CoE grammar; remove it from the text")
    return value.strip()


class ChainOfEmpathy(BaseModel):
    """The four layers, stripped of surrounding white space. Raises pydantic's error on empty text or nested
    tags."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    L1: str
    L2: str
    L3: str
    L4: str

    _check = field_validator(*LAYERS)(_clean_text)


class Completion(BaseModel):
    """A whole well-formed completion: the chain and the reply that follows from it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    coe: ChainOfEmpathy
    answer: str

    _check = field_validator("answer")(_clean_text)


@dataclass(frozen=True)
class Fault:
    """What breaks the grammar: ``kind`` of fault at ``tag`` (or ``"text"`` for stray words between tags)."""

    kind: Literal[
        "missing",
        "doubled",
        "out of order",
        "empty",
        "only invisible characters",
        "only marks",
        "stray text",
    ]
    tag: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.tag}"


def opening(layers: Mapping[str, str]) -> str:
    """A completion up to its reply, with these layers alone."""
    chain = "".join(f"<{name}>{text}</{name}>" for name, text in layers.items())
    return f"<empathy_think>{chain}</empathy_think><answer>"


def render(coe: ChainOfEmpathy, answer: str) -> str:
    """Write a completion; ``parse(render(coe, answer))`` gives both back."""
    return f"{opening(coe.model_dump())}{_clean_text(answer)}</answer>"


def parse(text: str) -> Completion | None:
    """Return the completion that ``text`` holds, or None where it breaks the grammar (see
    :func:`validate`)."""
    # first, since the pattern takes minutes on a chain that repeats itself
    if len(_TAG.findall(text)) != len(_ORDER):
        return None
    match = _COMPLETION.fullmatch(text)
    if match is None:
        return None
    parts = match.groupdict()
    if any(map(_lack, parts.values())):
        return None
    return Completion(coe=ChainOfEmpathy(**{name: parts[name] for name in LAYERS}), answer=parts["answer"])


def is_well_formed(text: str) -> bool:
    """Whether ``text`` follows the grammar; this is the paper's binary ``r_format``."""
    return parse(text) is not None


def validate(text: str) -> list[Fault]:
    """Name every fault of ``text``; an empty list means well-formed."""
    if parse(text) is not None:
        return []
    found = [match.group(0) for match in _TAG.finditer(text)]
    faults = [Fault("missing", tag) for tag in _ORDER if tag not in found]
    faults += [Fault("doubled", tag) for tag in _ORDER if found.count(tag) > 1]
    firsts = list(dict.fromkeys(found))
    expected = [tag for tag in _ORDER if tag in firsts]
    faults += [Fault("out of order", seen) for seen, due in zip(firsts, expected, strict=True) if seen != due]
    for name in (*LAYERS, "answer"):
        lacks = (_lack(part) for part in re.findall(rf"<{name}>([^<]*)</{name}>", text))
        if lack := next(filter(None, lacks), ""):
            faults.append(Fault(lack, f"<{name}>"))
    if not faults or _has_stray_text(text):
        faults.append(Fault("stray text", "text"))
    return faults


def _has_stray_text(text: str) -> bool:
    """Whether words stand where no layer and no answer is open; a truncated layer or answer is no stray
    text."""
    start, inside = 0, False
    for match in _TAG.finditer(text):
        if not inside and text[start : match.start()].strip():
            return True
        start, inside = match.end(), not match.group(1) and match.group(2) != "empathy_think"
    return not inside and bool(text[start:].strip())


def main_fault(text: str) -> str:
    """Why ``text`` is not well-formed, in a few words of one kind, so that completions can be counted by it;
    empty for a well-formed one."""
    faults = validate(text)
    found = [match.group(0) for match in _TAG.finditer(text)]
    if not faults:
        return ""
    if not found:
        return "no tag of the grammar"
    if found == _ORDER[: len(found)] and len(found) < len(_ORDER) and not _has_stray_text(text):
        return f"stops after {found[-1]}"  # most often cut off by the length limit
    return str(faults[0])


def cut_reasoning(text: str) -> str:
    """``text`` without what a reasoning model thinks aloud: ``<think>``, ``<thinking>`` and ``<reasoning>``
    blocks.

    A block that is never closed ends at the next tag of the grammar, else with the text. What stands before
    an end tag that was never opened is a block as well: some chat templates open it in the prompt.
    """
    if not (_REASONING.search(text) or _REASONED.search(text)):
        return text
    parts, at, unclosed = [], 0, set()
    while found := _REASONING.search(text, at):
        parts.append(text[at : found.start()])
        name = found.group(1).lower()
        end = None
        if name not in unclosed:  # looked for once, or many open blocks would take quadratic time
            end = re.compile(f"</{name}>", re.IGNORECASE).search(text, found.end())
        if end is None:
            unclosed.add(name)
            tag = _TAG.search(text, found.end())
            at = tag.start() if tag else len(text)
        else:
            at = end.end()
    kept = "".join(parts) + text[at:]
    ends = list(_REASONED.finditer(kept))
    if ends and not _TAG.search(kept, 0, ends[-1].start()):
        kept = kept[ends[-1].end() :]
    return kept.strip()


def written_answer(text: str) -> str | None:
    """What stands in the last ``<answer>`` that holds text, up to its end tag; None where none does."""
    parts = [part.split("</answer>", 1)[0] for part in cut_reasoning(text).split("<answer>")[1:]]
    return next((_TAG.sub("", part).strip() for part in reversed(parts) if not _lack(part)), None)


def answer_of(text: str) -> str:
    """The reply a reader would see: the answer of a well-formed completion, else :func:`written_answer`, else
    the text up to ``</answer>`` without its tags; never a reasoning block, nor what follows an answer."""
    completion = parse(text)
    if completion is not None:
        return completion.answer
    plain = cut_reasoning(text)
    if "<answer>" in plain:
        return written_answer(plain) or ""
    return _TAG.sub("", plain.split("</answer>", 1)[0]).strip()


def to_html(text: str, *, label: str = "", expected: bool = True, note: str = "") -> str:
    """Render a completion for a notebook: one coloured block per layer; everything the model wrote is
    escaped.

    ``expected=False`` is for systems that are not asked for a chain: their text is shown as it is, without
    faults. ``note``: a line about it, in grey.
    """
    completion = parse(text)
    head = gloss_html(label) + gloss_html(note)
    if completion is None and not expected:
        body = f"<div style='white-space:pre-wrap'>{html.escape(text)}</div>"
    elif completion is None:
        faults = html.escape("; ".join(map(str, validate(text))))
        body = (
            f"<div style='color:#A00000'>not well-formed ({faults})</div><div "
            f"style='white-space:pre-wrap'>{html.escape(text)}</div>"
        )
    else:
        rows = [(LAYER_COLOURS[n], f"{n} {LAYER_TITLES[n]}", getattr(completion.coe, n)) for n in LAYERS]
        rows.append((LAYER_COLOURS["answer"], "回复 · answer", completion.answer))
        body = "".join(
            f"<div style='border-left:4px solid {colour};padding:2px 8px;margin:3px 0'>"
            f"<b style='color:{colour}'>{html.escape(title)}</b><br>{html.escape(value)}</div>"
            for colour, title, value in rows
        )
    return f"<div style='border:1px solid #ddd;padding:6px;margin:4px 0;text-align:left'>{head}{body}</div>"


def gloss_html(gloss: str) -> str:
    """A small grey line of a card, such as a post's labels in English, escaped; nothing without text."""
    return f"<div style='color:#555;font-size:85%'>{html.escape(gloss)}</div>" if gloss else ""


def _post_html(question: str, gloss: str) -> str:
    return (
        f"<div style='text-align:left;margin:6px 0'><b>求助帖 · post</b><br>{html.escape(question)}"
        f"{gloss_html(gloss)}</div>"
    )


def side_by_side(
    question: str, completions: dict[str, str], gloss: str = "", notes: Mapping[str, str] | None = None
) -> str:
    """HTML of one post above several systems' completions, a column each; all text is escaped.

    ``gloss``: the post's labels in English (``dataset.glosses.gloss_line``). ``notes``: a line about a
    system's completion, such as its marks (``reward.marking.Marker.in_english``).
    """
    cell = f"<td style='width:{100 // max(1, len(completions))}%;vertical-align:top;background:white'>"
    told = notes or {}
    cells = "".join(
        f"{cell}{to_html(text, label=name, note=told.get(name, ''))}</td>"
        for name, text in completions.items()
    )
    return (
        f"{_post_html(question, gloss)}<table style='width:100%;table-layout:fixed'><tr>{cells}</tr></table>"
    )


def stepper(
    question: str,
    completions: dict[str, str],
    name: str,
    gloss: str = "",
    notes: Mapping[str, str] | None = None,
) -> str:
    """HTML of one post whose completions are stepped through: a block to open for each, the last one open;
    all text is escaped.

    ``<details>`` needs neither style sheet nor script, so an untrusted notebook and GitHub show it too.
    ``name`` tells several steppers of one page apart: browsers that know it keep one block open at a time.
    A block whose text is that of the one before says so. ``gloss`` and ``notes`` as in :func:`side_by_side`.
    """
    told = notes or {}
    labels, texts = list(completions), list(completions.values())
    blocks = []
    for number, (label, text) in enumerate(zip(labels, texts, strict=True)):
        head = html.escape(label)
        if number and text == texts[number - 1]:
            head += " · unchanged"
        opened = " open" * (number == len(texts) - 1)
        body = to_html(text, note=told.get(label, ""))
        blocks.append(
            f"<details name='{html.escape(name)}'{opened}><summary>{head}</summary>{body}</details>"
        )
    return f"{_post_html(question, gloss)}<div style='text-align:left'>{''.join(blocks)}</div>"
