"""Whom a person in danger can turn to, by region.

Knows: how numbers are read and named in a text. Does not know: the numbers (``crisis_resources.yaml``), who
needs them (``core.crisis``).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal, get_args

import yaml

from empathy_lib.core.errors import UserError

Region = Literal["cn", "hk", "tw", "sg", "elsewhere"]


@dataclass(frozen=True)
class Line:
    """A line that answers; ``hours`` is None where no authority states them."""

    number: str
    hours: dict[str, str] | None
    source: str
    seen: date

    def said(self, language: Literal["zh", "en"]) -> str:
        """The number, and its hours in brackets where an authority states them."""
        mark = {"zh": "（{}）", "en": " ({})"}[language]
        return self.number + (mark.format(self.hours[language]) if self.hours else "")


@dataclass(frozen=True)
class Resources:
    """Of a region: its name in ``zh`` and ``en``, emergency numbers, lines."""

    name: dict[str, str]
    emergency: tuple[str, ...]
    lines: tuple[Line, ...]


def resources(region: Region = "cn") -> Resources:
    """Whom somebody in this region can turn to.

    Raises:
        UserError: no such region.
    """
    if region not in get_args(Region):
        raise UserError(f"region '{region}': not known; use one of {', '.join(get_args(Region))}")
    return _resources()[region]


def fixed_text(region: Region = "cn", language: Literal["zh", "en"] = "zh") -> str:
    """What stands in place of a model's reply where a text is flagged; written by people, the same for
    all."""
    here = resources(region)
    lines = [line.said(language) for line in here.lines]
    numbers, emergency = "、".join(lines), "、".join(here.emergency)
    if language == "en":
        now = f"If there is danger right now, call {' or '.join(here.emergency)}. " if emergency else ""
        return (
            "What you write matters, and it should be answered by a person, not by a program. "
            f"{now}Somebody to talk to: {', '.join(lines)}. Please also tell someone near you, or a doctor, "
            "what you told here."
        )
    now = f"如果此刻就有危险，请马上拨打 {emergency}。" if emergency else ""
    return (
        "你写下的这些很重要，应当由人来回应，而不是由程序来回应。"
        f"{now}可以找人说说：{numbers}。也请把这些告诉身边信任的人或医生，不必一个人扛着。"
    )


@functools.cache
def _resources() -> dict[str, Resources]:
    told = yaml.safe_load((Path(__file__).parent / "crisis_resources.yaml").read_text(encoding="utf-8"))
    return {
        region: Resources(
            here["name"], tuple(here["emergency"]), tuple(Line(**line) for line in here["lines"])
        )
        for region, here in told.items()
    }


CRISIS_LINE = resources("cn").lines[0].number  # psychological aid in mainland China
HELPLINES = resources("elsewhere").lines[0].number
EMERGENCY = resources("cn").emergency[-1]  # an ambulance, mainland China
