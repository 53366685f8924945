"""The Chain-of-Empathy text format: one grammar, and everything that follows from it.

Knows: how a completion is rendered, parsed, validated and displayed. Does not know: what a good chain says
(``metrics``), how one is annotated (``dataset.annotate``) or generated.

The grammar (tags as reported of the paper, arXiv 2509.14851; white space between tags is free)::

    completion := "<empathy_think>" L1 L2 L3 L4 "</empathy_think>" "<answer>" text "</answer>"
    Ln         := "<Ln>" text "</Ln>"

``text`` is non-empty and holds none of the grammar's own tags.
"""

from __future__ import annotations

import html
import re
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


def _clean_text(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty; every part of a Chain of Empathy needs text")
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

    kind: Literal["missing", "doubled", "out of order", "empty", "stray text"]
    tag: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.tag}"


def render(coe: ChainOfEmpathy, answer: str) -> str:
    """Write a completion; ``parse(render(coe, answer))`` gives both back."""
    chain = "".join(f"<{name}>{getattr(coe, name)}</{name}>" for name in LAYERS)
    return f"<empathy_think>{chain}</empathy_think><answer>{_clean_text(answer)}</answer>"


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
    if any(not part.strip() for part in parts.values()):
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
        if re.search(rf"<{name}>\s*</{name}>", text):
            faults.append(Fault("empty", f"<{name}>"))
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


def answer_of(text: str) -> str:
    """The reply a reader would see: the answer of a well-formed completion, else what follows the last
    ``<answer>``, else the text without its tags."""
    completion = parse(text)
    if completion is not None:
        return completion.answer
    tail = text.rsplit("<answer>", 1)[-1]
    return _TAG.sub("", tail).strip()


def to_html(text: str, *, label: str = "", expected: bool = True) -> str:
    """Render a completion for a notebook: one coloured block per layer; everything the model wrote is
    escaped.

    ``expected=False`` is for systems that are not asked for a chain: their text is shown as it is, without
    faults.
    """
    completion = parse(text)
    head = f"<div style='color:#555;font-size:85%'>{html.escape(label)}</div>" if label else ""
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


def _post_html(question: str) -> str:
    return f"<p style='text-align:left'><b>求助帖 · post</b><br>{html.escape(question)}</p>"


def side_by_side(question: str, completions: dict[str, str]) -> str:
    """HTML of one post above several systems' completions, a column each; all text is escaped."""
    width = 100 // max(1, len(completions))
    cells = "".join(
        f"<td style='width:{width}%;vertical-align:top;background:white'>{to_html(text, label=name)}</td>"
        for name, text in completions.items()
    )
    return f"{_post_html(question)}<table style='width:100%;table-layout:fixed'><tr>{cells}</tr></table>"


def stepper(question: str, completions: dict[str, str], name: str) -> str:
    """HTML of one post whose completions are stepped through with a row of buttons; all text is escaped.

    Buttons are radio inputs and CSS, so a saved notebook keeps them without a kernel or a script. ``name``
    tells several steppers of one page apart.
    """
    key = "step-" + re.sub(r"[^a-zA-Z0-9]", "-", name)
    last = len(completions) - 1
    buttons = "".join(
        f"<input type='radio' name='{key}' id='{key}-{n}'{' checked' * (n == last)}>"
        f"<label for='{key}-{n}' style='margin-right:10px'>{html.escape(label)}</label>"
        for n, label in enumerate(completions)
    )
    rules = "".join(f"#{key}-{n}:checked ~ .{key}-{n} {{display:block}}" for n in range(len(completions)))
    frames = "".join(
        f"<div class='{key} {key}-{n}'>{to_html(text, label=label)}</div>"
        for n, (label, text) in enumerate(completions.items())
    )
    return (
        f"{_post_html(question)}<style>.{key} {{display:none}} {rules}</style><div "
        f"style='text-align:left'>{buttons}{frames}</div>"
    )
