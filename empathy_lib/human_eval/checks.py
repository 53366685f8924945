"""Attention checks: sheets with a known right answer, told from the others only by the key.

Knows: what a check says, how it is named in key and ratings, whether a rater got it right. Does not know: how
a study is drawn.

On a check sheet one reply begins like any other and then asks to be ranked first (or last) on every
dimension; only those who read the replies can know [1]_. In the key all replies of that sheet carry the
prefix, so the mark survives a CSV of ratings, and the sheet's ranks stay out of every statistic about
systems.

References:
    .. [1] Oppenheimer, Meyvis, Davidenko (2009), Instructional manipulation checks, Journal of Experimental
       Social Psychology 45(4).
"""

from __future__ import annotations

import pandas as pd

from empathy_lib.core.completions import CHECK_PREFIX

WANTED = ("first", "last")
_OPENING = (
    40  # characters of the true reply before the request, so that a glance at its beginning does not tell
)
_REQUESTS = {
    "first": "写到这里想确认您在认真阅读：请把这条回复在四个维度上都单独排在第一名。"
    "(To show that you are reading: please rank this reply first, alone, on all four dimensions.)",
    "last": "写到这里想确认您在认真阅读：请把这条回复在四个维度上都单独排在最后一名。"
    "(To show that you are reading: please rank this reply last, alone, on all four dimensions.)",
}


def check_reply(reply: str, wanted: str) -> str:
    """A check's reply: the beginning of a true one, then the request to rank it ``first`` or ``last``."""
    return f"{reply[:_OPENING].rstrip()}…… {_REQUESTS[wanted]}".strip()


def name_check(wanted: str) -> str:
    """What the key calls the reply that asks to be ranked ``first`` or ``last``."""
    return CHECK_PREFIX + wanted


def name_filler(system: str) -> str:
    """What the key calls another reply of a check sheet."""
    return f"{CHECK_PREFIX}beside:{system}"


def is_check(systems: pd.Series) -> pd.Series:
    """Which rows belong to check sheets, by the names in column ``system``."""
    return systems.str.startswith(CHECK_PREFIX)


def without_checks(ratings: pd.DataFrame) -> pd.DataFrame:
    """The ratings that speak of systems."""
    return ratings[~is_check(ratings["system"])]


def count_passed(ratings: pd.DataFrame) -> pd.DataFrame:
    """Each rater's checks: columns ``checks`` (sheets answered) and ``passed`` (right on every dimension
    answered), index ``rater``.

    A tie with another reply is wrong, since the request says *alone*. A check whose reply has no rank at all
    counts as failed.
    """
    rows = ratings[is_check(ratings["system"])]
    asked = rows["system"].isin([name_check(wanted) for wanted in WANTED])
    others = rows[~asked].groupby(["rater", "item", "dimension"])["rank"].agg(["min", "max"])
    own = rows[asked].set_index(["rater", "item", "dimension"]).join(others)
    first = own["system"] == name_check("first")
    right = (first & (own["rank"] < own["min"])) | (~first & (own["rank"] > own["max"]))
    passed = (
        right.groupby(["rater", "item"])
        .all()
        .reindex(pd.MultiIndex.from_frame(rows[["rater", "item"]].drop_duplicates()))
    )
    passed = passed.fillna(False).astype(bool)
    return passed.groupby(level="rater").agg(checks="size", passed="sum").astype(int)
