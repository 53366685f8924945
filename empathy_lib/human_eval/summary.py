"""A ranking as one JSON object and as lines of text, for ``python -m empathy_lib rank``.

Knows: the keys of that object, which systems may stand in one order. Does not know: how a figure is computed
(``ranking``, ``strengths``, ``differences``).
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from empathy_lib.core.errors import UserError
from empathy_lib.core.statistics import holm
from empathy_lib.human_eval.cube import ALL, Cube, groups, to_cube
from empathy_lib.human_eval.differences import all_pairwise
from empathy_lib.human_eval.intervals import LEVEL, Bootstrap
from empathy_lib.human_eval.ranking import ranking_table
from empathy_lib.human_eval.strengths import estimate_strengths

PAIRWISE, GROUPS = "pairwise", "groups"  # the keys beside the systems


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _interval(row: Any) -> list[float] | None:
    return None if math.isnan(row.low) else [float(row.low), float(row.high)]


def summarise(
    ratings: pd.DataFrame, *, ks: tuple[int, ...] = (1, 2, 3), bootstrap: Bootstrap | None = None
) -> dict[str, Any]:
    """``{dimension: {system: figures, "pairwise": […], "groups": […]}}``, dimension ``all`` (the unweighted
    mean of the others) first.

    Figures: ``win_at_1`` …, ``mean_rank``, ``strength`` (log, centred), ``n`` (rankings that hold the system)
    and ``interval``, which holds ``[low, high]`` (95 %, over raters and items: see ``intervals``) for each of
    them. ``pairwise``: ``{a, b, difference, interval, p, p_holm}`` of each pair, in mean rank, below 0 where
    a is better (``differences``; Holm over the pairs of the dimension). ``groups``: the systems that were
    compared with each other, directly or through others. With more than one group every figure is within its
    group, as if there were no other, and says nothing across groups; pairs across them have no difference.
    None where not available.

    Raises:
        UserError: as :func:`empathy_lib.human_eval.cube.to_cube`; a system named like one of the keys.
    """
    cube = to_cube(ratings)
    for name in (PAIRWISE, GROUPS):
        if name in cube.systems:
            raise UserError(f"ratings: a system is named '{name}', which is a key of the result; rename it")
    made: dict[tuple[str, ...], tuple[pd.DataFrame, dict[str, pd.DataFrame]]] = {}
    result: dict[str, Any] = {}
    for dimension in [ALL, *cube.dimensions]:
        together = groups(cube, dimension)
        figures: dict[str, Any] = {system: _nothing(ks) for system in cube.systems}
        pairs = {}
        for group in together:
            if len(group) < 2:
                continue
            if tuple(group) not in made:
                made[tuple(group)] = _tables(cube.only(group), ks, bootstrap)
            table, differences = made[tuple(group)]
            for row in table[table["dimension"] == dimension].itertuples():
                own = figures[row.system]
                own[row.measure], own["interval"][row.measure] = _number(row.value), _interval(row)
                if row.measure == "mean_rank":
                    own["n"] = int(row.n)
            pairs |= {(row.a, row.b): row for row in differences[dimension].itertuples()}
        result[dimension] = figures | {PAIRWISE: _pairs(cube.systems, pairs), GROUPS: together}
    return result


def _nothing(ks: tuple[int, ...]) -> dict[str, Any]:
    measures = [*(f"win_at_{k}" for k in ks), "mean_rank"]
    return (
        {"interval": dict.fromkeys([*measures, "strength"])}
        | dict.fromkeys([*measures, "n", "strength"])
        | {"n": 0}
    )


def _tables(
    cube: Cube, ks: tuple[int, ...], bootstrap: Bootstrap | None
) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Figures of every dimension in one long table, and differences by dimension."""
    places = ranking_table(cube, ks=ks, bootstrap=bootstrap)
    strengths = estimate_strengths(cube, bootstrap=bootstrap, overall=True)
    strengths = strengths.rename(columns={"strength": "value"}).assign(measure="strength")
    return pd.concat([places, strengths]), all_pairwise(cube, bootstrap=bootstrap)


def _pairs(systems: list[str], known: dict[tuple[str, str], Any]) -> list[dict[str, Any]]:
    """Every pair, those across groups without figures; Holm's correction over all that have a p-value."""
    names = [(a, b) for place, a in enumerate(systems) for b in systems[place + 1 :]]
    corrected = holm([known[pair].p if pair in known else math.nan for pair in names])
    return [
        {
            "a": pair[0],
            "b": pair[1],
            "difference": _number(known[pair].difference) if pair in known else None,
            "interval": _interval(known[pair]) if pair in known else None,
            "p": _number(known[pair].p) if pair in known else None,
            "p_holm": _number(p_holm),
        }
        for pair, p_holm in zip(names, corrected, strict=True)
    ]


def describe(figures: dict[str, Any]) -> list[str]:
    """One dimension of :func:`summarise` as lines: each group's systems, best first, with 95 % intervals; who
    was never compared; which differences are clear."""
    together = figures[GROUPS]
    width = max(len(system) for group in together for system in group) + 2
    lines = []
    if len(together) > 1:
        named = "; ".join(", ".join(group) for group in together)
        lines.append(
            f"never compared, so not in one order: these {len(together)} groups of systems: {named}. All "
            f"figures are within a group"
        )
    for number, group in enumerate(together, 1):
        if len(together) > 1:
            lines.append(f"group {number}, {len(group)} systems:")
        for system in sorted(group, key=lambda name: figures[name]["mean_rank"] or math.inf):
            lines.append(_system_line(system, figures[system], width))
    return lines + _differences(figures[PAIRWISE])


def _system_line(system: str, figures: dict[str, Any], width: int) -> str:
    def cell(measure: str, form: str) -> str:
        value, interval = figures[measure], figures["interval"][measure]
        if value is None:
            return "not available"
        if interval is None:
            return f"{value:{form}} [not available]"
        return f"{value:{form}} [{interval[0]:{form}}, {interval[1]:{form}}]"

    return (
        f"{system:{width}}Win@1 {cell('win_at_1', '.1%')}   mean rank {cell('mean_rank', '.2f')}   strength "
        f"{cell('strength', '+.2f')}"
    )


def _differences(pairs: list[dict[str, Any]]) -> list[str]:
    tested = [pair for pair in pairs if pair["p_holm"] is not None]
    if not tested:
        return ["differences: none can be tested; that takes two raters and two items that hold both systems"]
    clear = sorted((pair for pair in tested if pair["p_holm"] < 1 - LEVEL), key=lambda pair: pair["p_holm"])
    lines = [
        f"clear differences in mean rank, for new raters and items (p_holm < .05): {len(clear)} of "
        f"{len(tested)} pairs tested"
    ]
    for pair in clear:
        better, worse = (pair["a"], pair["b"]) if pair["difference"] < 0 else (pair["b"], pair["a"])
        gap = ""
        if pair["interval"] is not None:
            low, high = sorted(abs(bound) for bound in pair["interval"])
            gap = f" [{low:.2f}, {high:.2f}]"
        lines.append(
            f"  {better} above {worse} by {abs(pair['difference']):.2f}{gap}, p_holm {pair['p_holm']:.2g}"
        )
    return lines
