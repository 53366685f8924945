"""Tables for reading: rounded values, an interval beside its value, whole counts, "not available".

Knows: how the notebooks print a number. Does not know: what a table holds.
"""

from __future__ import annotations

import html
import math
from numbers import Integral, Real
from typing import Any

import pandas as pd
from pandas.io.formats.style import Styler

from empathy_lib.core.statistics import PairedTest, Score

NOT_AVAILABLE = "not available"
COUNTS = ("n", "seeds")  # whole, though a column with gaps holds floats
VALUES = ("value", "difference")  # the one that an interval stands beside


def number(value: float, *, sign: bool = False) -> str:
    """Three decimals below 10, one below 1,000, none above; whole numbers as they are; a difference gets its
    ``sign``."""
    if isinstance(value, Integral):
        return f"{value:+,d}" if sign else f"{value:,d}"
    if math.isnan(value):
        return NOT_AVAILABLE
    digits = 3 if abs(value) < 10 else 1 if abs(value) < 1000 else 0
    text = f"{value:+,.{digits}f}" if sign else f"{value:,.{digits}f}"
    return text if float(text.replace(",", "")) else text.lstrip("+-")  # no -0.000


def p_value(value: float) -> str:
    """``.023``, ``< .001`` or ``1.000``: no zero before the point, as a probability has none."""
    if math.isnan(value):
        return NOT_AVAILABLE
    return "< .001" if value < 0.001 else f"{value:.3f}".removeprefix("0")


def estimate(value: float | None, low: float | None, high: float | None, *, sign: bool = False) -> str:
    """``0.148 [0.099, 0.197]``; without the brackets where there is no interval."""
    if _missing(value):
        return NOT_AVAILABLE
    bounds = (
        "" if _missing(low) or _missing(high) else f" [{number(low, sign=sign)}, {number(high, sign=sign)}]"
    )
    return number(value, sign=sign) + bounds


def shown(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame as texts, for a notebook's table.

    Columns ``low`` and ``high``, or ``interval`` (a pair), go into ``value`` or ``difference`` as its 95 %
    interval. ``n`` is whole, ``p`` and ``p_…`` are p-values, a gap is "not available" (among texts, such as
    a ``reason``, empty); a cell may be a :class:`Score` or :class:`PairedTest`. Text stays.
    """
    frame = frame.copy()
    if "interval" in frame:
        pairs = [pair if isinstance(pair, list | tuple) else (None, None) for pair in frame.pop("interval")]
        frame["low"], frame["high"] = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    valued = next((name for name in VALUES if name in frame), None)
    if valued and {"low", "high"} <= set(frame.columns):
        cells = zip(frame[valued], frame.pop("low"), frame.pop("high"), strict=True)
        # objects, since an empty column of numbers would take no text
        frame[valued] = pd.Series(
            [estimate(*cell, sign=valued == "difference") for cell in cells], index=frame.index, dtype=object
        )
    columns = {name: _texts(list(frame[name]), str(name)) for name in frame.columns}
    return pd.DataFrame(columns, index=frame.index, columns=frame.columns, dtype=object)


def captioned(frame: pd.DataFrame, text: str) -> Styler:
    """:func:`shown` under a caption, which says what is synthetic, simulated or small; all text is
    escaped."""
    style = shown(frame).style.format(escape="html").set_caption(html.escape(text))
    return style.format_index(escape="html").format_index(escape="html", axis="columns")


def _missing(cell: Any) -> bool:
    return cell is None or cell is pd.NA or (isinstance(cell, float) and math.isnan(cell))


def _texts(cells: list[Any], column: str) -> list[str]:
    known = [cell for cell in cells if not _missing(cell)]
    gap = "" if known and all(isinstance(cell, str) for cell in known) else NOT_AVAILABLE
    return [gap if _missing(cell) else _text(cell, column) for cell in cells]


def _text(cell: Any, column: str) -> str:
    if isinstance(cell, Score):
        return estimate(cell.value, cell.low, cell.high)
    if isinstance(cell, PairedTest):
        return estimate(cell.difference, cell.low, cell.high, sign=True)
    if not isinstance(cell, Real) or isinstance(cell, bool):
        return str(cell)
    if column in COUNTS:
        return number(round(cell))
    if column == "p" or column.startswith("p_"):
        return p_value(cell)
    return number(cell, sign=column == "difference")
