"""The crisis gate: does a text speak of danger to life, and where does a person find people?

Knows: how a text is brought into the form that the patterns are written in, clauses, what lowers a level
within its clause. Does not know: the patterns (``crisis_patterns.yaml``), the numbers (``core.helplines``),
or irony. It stores no text.

A prompt to offer human help, no assessment of risk: what it does not find may still be there. Levels: 0
nothing found; 1 concern (of somebody else, past, bereaved); 2 a wish to die, self-injury or its urge, a
threat, being endangered; 3 a plan, means, a farewell, an act under way. A denial, a play or film, a third
person or the past lower level 2 within their own clause, and level 3 never.
"""

from __future__ import annotations

import functools
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import opencc
import yaml

from empathy_lib.core.errors import UserError
from empathy_lib.core.helplines import Region, fixed_text
from empathy_lib.core.helplines import resources as resources  # the gate and whom to turn to, by one name

FLAGGED = 2  # from this level on human help is shown, and no model answers
SIGNS = 2  # so many different signs make a farewell
CATEGORIES = (
    "passive_wish",
    "active_thoughts",
    "self_injury",
    "plan_means_farewell",
    "act_under_way",
    "violence_intent",
    "violence_imminent",
    "endangered",
)
# signs and spaces between characters that belong together; letters set apart by full stops
_FILLERS = re.compile(r"(?<=[\u4e00-\u9fff])[ \t*_\-·.|/\\+#^=&@]{1,3}(?=[\u4e00-\u9fff])")
_LETTERS = re.compile(r"(?<![a-z.])(?:[a-z]\.){1,6}[a-z](?![a-z.])")


@dataclass(frozen=True)
class Screen:
    """The highest level found, its categories, where (characters of the text as given), by which rules."""

    level: int
    categories: tuple[str, ...] = ()
    spans: tuple[tuple[int, int], ...] = ()
    rules: tuple[str, ...] = ()

    @property
    def flagged(self) -> bool:
        """Whether human help comes first."""
        return self.level >= FLAGGED


@dataclass(frozen=True)
class _Rule:
    name: str
    category: str
    level: int
    cue: re.Pattern[str]
    but: re.Pattern[str] | None


@dataclass(frozen=True)
class _Patterns:
    syllables: re.Pattern[str]
    meanings: dict[str, str]
    spellings: tuple[tuple[re.Pattern[str], str], ...]
    rules: tuple[_Rule, ...]
    signs: tuple[tuple[str, re.Pattern[str]], ...]
    denials: re.Pattern[str]
    denied_after: re.Pattern[str]
    asked: re.Pattern[str]
    double: re.Pattern[str]
    others: re.Pattern[str]
    me: re.Pattern[str]
    past: re.Pattern[str]
    play: re.Pattern[str]


def screen(text: str) -> Screen:
    """Look for danger in a post or a reply.

    Args:
        text: of any length, as written: width, spacing, traditional characters and the usual spellings
            around a filter make no difference.
    """
    found: list[tuple[int, str, str, tuple[int, int]]] = []
    for plain, places in _readings(text):
        found += _found(plain, places)
    level = max((each[0] for each in found), default=0)
    if not level:
        return Screen(0)
    top = [each for each in found if each[0] == level]
    return Screen(
        level,
        tuple(name for name in CATEGORIES if any(each[1] == name for each in top)),
        tuple(sorted({each[3] for each in top})),
        tuple(dict.fromkeys(each[2] for each in top)),
    )


def plain(text: str) -> str:
    """The text as the patterns read it: simplified, small letters, usual spellings in place of those around a
    filter, no signs between characters (我想z.s: 我想自杀)."""
    return list(_readings(text))[-1][0]


def answer(
    post: str,
    reply: Callable[[str], str],
    region: Region = "cn",
    look: Callable[[str], Screen] = screen,
) -> str:
    """The reply to a post, or the fixed text: where the post is flagged nothing is generated, where the reply
    is flagged or anything fails (a warning says what, without a word of the post), it is not shown.

    Args:
        look: what flags a post, the rules or more than them (``empathy_lib.models.crisis.gate``); a reply is
            left to the rules.
    """
    try:
        if look(post).flagged:
            return fixed_text(region)
        made = reply(post)
        return fixed_text(region) if screen(made).flagged else made
    except UserError:
        raise
    except Exception as error:  # whatever a model or its tokenizer raises
        warnings.warn(f"no reply: {type(error).__name__}; the fixed text stands in its place", stacklevel=2)
        return fixed_text(region)


def clauses(text: str) -> Iterator[tuple[int, str]]:
    """Parts between signs, with where they begin; 《…》 is a title and no part of any."""
    start = 0
    for part in re.split(r"(《[^》]*》|[，。！？；：、,.!?;:\n…~～—\s]+)", text):
        if part and not part.startswith("《"):
            yield start, part
        start += len(part)


def simplified(text: str) -> str:
    """The text in the usual width, small letters and simplified characters, without signs of no width."""
    return "".join(map(_simple, text))


def _found(text: str, places: list[int]) -> Iterator[tuple[int, str, str, tuple[int, int]]]:
    """Level, category, rule and span of every cue."""
    patterns = _patterns()
    for start, clause in clauses(text):
        for rule in patterns.rules:
            matches = list(rule.cue.finditer(clause))
            if matches and rule.but and rule.but.search(clause):
                continue
            for match in matches:
                level = rule.level if rule.level == 3 else _lowered(clause, match, patterns)
                if level:
                    first, last = start + match.start(), start + match.end() - 1
                    yield level, rule.category, rule.name, (places[first], places[max(first, last)] + 1)
    signs = {name: match for name, cue in patterns.signs if (match := cue.search(text))}
    if len(signs) >= SIGNS:
        for name, match in signs.items():
            span = places[match.start()], places[match.end() - 1] + 1
            yield 3, "plan_means_farewell", f"signs.{name}", span


def _lowered(clause: str, match: re.Match[str], patterns: _Patterns) -> int:
    """Level 2, or what its own clause lowers it to."""
    before, after = clause[: match.start()], clause[match.end() :]
    denial = patterns.denials.search(before)
    if denial and not patterns.double.search(before[: denial.start()]):
        return 0
    if patterns.denied_after.search(after) or patterns.asked.search(before):
        return 0
    if patterns.play.search(clause) and not patterns.me.search(before[-6:]):
        return 0
    others = [found.end() for found in patterns.others.finditer(before)]
    mine = [found.end() for found in patterns.me.finditer(before)]
    about_others = bool(others) and (not mine or others[-1] > mine[-1])
    if about_others and not before.endswith(("让我", "叫我", "逼我")):
        return 1
    return 1 if patterns.past.search(before) else 2


@functools.lru_cache(maxsize=8192)
def _simple(character: str) -> str:
    """In the usual width, small, simplified; nothing for signs without width."""
    if unicodedata.category(character) in ("Cf", "Mn"):
        return ""
    plain = unicodedata.normalize("NFKC", character).lower()
    return "".join(_converter().convert(each) for each in plain)


def _readings(text: str) -> Iterator[tuple[str, list[int]]]:
    """The text as the patterns want it, and for each of its characters the place in the text as given: with
    spaces as the breaks between clauses that they often are, and, where any stand so, without (自 杀)."""
    patterns = _patterns()
    pairs = [(each, place) for place, raw in enumerate(text) for each in _simple(raw)]
    _replace(pairs, _LETTERS, lambda found: found.replace(".", ""))
    _replace(pairs, patterns.syllables, patterns.meanings.__getitem__)
    dense = list(pairs)
    _replace(dense, _FILLERS, lambda found: "")
    for reading in (pairs, dense) if len(dense) < len(pairs) else (pairs,):
        for cue, meant in patterns.spellings:
            _replace(reading, cue, lambda found, meant=meant: meant)
        yield "".join(each for each, _ in reading), [place for _, place in reading]


def _replace(pairs: list[tuple[str, int]], cue: re.Pattern[str], meaning: Callable[[str], str]) -> None:
    """What ``cue`` finds by its meaning, in place; every new character lies where the old ones began."""
    whole = "".join(each for each, _ in pairs)
    for match in reversed(list(cue.finditer(whole))):
        if match.group():
            place = pairs[match.start()][1]
            pairs[slice(*match.span())] = [(each, place) for each in meaning(match.group())]


@functools.cache
def _converter() -> opencc.OpenCC:
    return opencc.OpenCC("t2s")


@functools.cache
def _patterns() -> _Patterns:
    told = yaml.safe_load((Path(__file__).parent / "crisis_patterns.yaml").read_text(encoding="utf-8"))
    rules = [
        _Rule(
            name,
            rule["category"],
            rule["level"],
            re.compile("|".join(rule["any"])),
            re.compile("|".join(rule["but"])) if "but" in rule else None,
        )
        for name, rule in told["rules"].items()
    ]
    syllables = "|".join(sorted(map(re.escape, told["syllables"]), key=len, reverse=True))
    context = ("denials", "denied_after", "asked", "double", "others", "me", "past", "play")
    return _Patterns(
        re.compile(rf"(?<![a-z])(?:{syllables})(?![a-z])"),
        told["syllables"],
        tuple((re.compile(cue), meant) for cue, meant in told["spellings"].items()),
        tuple(rules),
        tuple((name, re.compile(cue)) for name, cue in told["signs"].items()),
        **{name: re.compile(told[name]) for name in context},
    )
