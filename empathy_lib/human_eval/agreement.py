"""How far raters agree, and which of them stand apart: Kendall's W, Krippendorff's alpha, attention checks,
time spent; and how far a language model that judged orders systems as the raters do.

Knows: ratings (see ``ratings``). Does not know: what to do about a rater; dropping one is a decision to be
made, and reported, by people.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import krippendorff
import numpy as np
import pandas as pd
from scipy import stats

from empathy_lib.core.errors import UserError
from empathy_lib.human_eval.checks import count_passed, without_checks
from empathy_lib.human_eval.cube import average_rank, mean_known, pair_wins, to_cube
from empathy_lib.human_eval.ranking import ranking_table
from empathy_lib.human_eval.ratings import SECONDS, is_simulated
from empathy_lib.metrics.judge import OVERALL

FAST = 0.5  # a median time per sheet below this share of all raters' median is flagged (our choice)


def kendall_w(ranks: np.ndarray) -> float:
    """Kendall's coefficient of concordance, corrected for ties: 1 if all raters agree, about 1/raters by
    chance.

    Args:
        ranks: shape (raters, systems); raters who missed a system are left out. NaN with fewer than two
            raters, or only ties.
    """
    full = ranks[~np.isnan(ranks).any(axis=1)]
    raters, systems = full.shape
    if raters < 2 or systems < 2 or (full == full[:, :1]).all():
        return float("nan")
    order = stats.rankdata(full, axis=1)
    ties = sum(
        float((sizes**3 - sizes).sum()) for sizes in (np.unique(row, return_counts=True)[1] for row in order)
    )
    spread = float(((order.sum(axis=0) - order.sum() / systems) ** 2).sum())
    return 12 * spread / (raters**2 * (systems**3 - systems) - raters * ties)


def agreement(ratings: pd.DataFrame) -> pd.DataFrame:
    """How far raters agree: Kendall's W per item, averaged, and Krippendorff's ordinal alpha over (item,
    system) pairs.

    Returns:
        Columns ``dimension``, ``kendall_w``, ``kendall_w_chance`` (mean of 1/raters), ``krippendorff_alpha``
        (1 agreement, 0 chance), ``items``.
    """
    cube = to_cube(ratings)
    ranks = average_rank(cube.ranks)
    rows = []
    for d, dimension in enumerate(cube.dimensions):
        each = [
            (kendall_w(item), (~np.isnan(item).any(axis=1)).sum())
            for item in np.moveaxis(ranks[:, :, d], 1, 0)
        ]
        usable = [(w, 1 / raters) for w, raters in each if not np.isnan(w)]
        w, chance = np.mean(usable, axis=0) if usable else (np.nan, np.nan)
        data = ranks[:, :, d].reshape(len(cube.raters), -1)
        paired = data[:, (~np.isnan(data)).sum(axis=0) >= 2]
        varied = len(np.unique(paired[~np.isnan(paired)])) >= 2
        alpha = (
            krippendorff.alpha(reliability_data=paired, level_of_measurement="ordinal") if varied else np.nan
        )
        rows.append((dimension, float(w), float(chance), float(alpha), len(usable)))
    return pd.DataFrame(
        rows, columns=["dimension", "kendall_w", "kendall_w_chance", "krippendorff_alpha", "items"]
    )


def rater_quality(ratings: pd.DataFrame) -> pd.DataFrame:
    """One row a rater, for people to look at: what they did, how they fit the others, and what to look at
    twice.

    ``agreement`` is Spearman's correlation, over (item, dimension, system), of the rater's ranks with the
    mean rank that the *other* raters gave; a rater who answers at random has about 0. An outlier is one whose
    agreement lies below 0, or below the raters' median by more than three times their median absolute
    deviation (scaled as a standard deviation; Leys et al. 2013) [1]_.

    Returns:
        Index ``rater``; columns ``sheets`` (items ranked), ``agreement`` (-1 to 1), ``checks``, ``passed``,
        ``ties`` (share of pairs tied), ``seconds`` (median per sheet; NaN if unknown), ``flags`` (text; ``-``
        if nothing is unusual).

    References:
        .. [1] Leys et al. (2013), Detecting outliers: Do not use standard deviation around the mean, use
           absolute deviation around the median, Journal of Experimental Social Psychology 49(4).
    """
    cube = to_cube(ratings)
    ranks = average_rank(cube.ranks)
    table = pd.DataFrame(
        {"sheets": (~np.isnan(ranks)).any(axis=(2, 3)).sum(axis=1)}, index=pd.Index(cube.raters, name="rater")
    )
    table["agreement"] = [_agreement_with_others(ranks, rater) for rater in range(len(cube.raters))]
    table = (
        table.join(count_passed(ratings))
        .fillna({"checks": 0, "passed": 0})
        .astype({"checks": int, "passed": int})
    )
    wins = pair_wins(cube.ranks)[..., *np.triu_indices(len(cube.systems), 1)]
    table["ties"] = mean_known(np.where(np.isnan(wins), np.nan, wins == 0.5), (1, 2, 3))
    table[SECONDS] = np.nan
    if SECONDS in ratings:
        # repeated on each line of a sheet
        per_sheet = without_checks(ratings).groupby(["rater", "item"])[SECONDS].max()
        table[SECONDS] = per_sheet.groupby(level="rater").median()
    table["flags"] = _flags(table)
    return table


def _agreement_with_others(ranks: np.ndarray, rater: int) -> float:
    others = mean_known(np.delete(ranks, rater, axis=0), 0)
    both = ~np.isnan(ranks[rater]) & ~np.isnan(others)
    own, theirs = ranks[rater][both], others[both]
    varied = len(own) >= 2 and np.ptp(own) > 0 and np.ptp(theirs) > 0
    return float(stats.spearmanr(own, theirs).statistic) if varied else float("nan")


def _flags(table: pd.DataFrame) -> pd.Series:
    agreement, seconds = table["agreement"], table[SECONDS]
    spread = (
        agreement - agreement.median()
    ).abs().median() * 1.4826  # of a normal distribution: its standard deviation
    outlier = (agreement < 0) | (agreement < agreement.median() - 3 * spread)
    marks = {
        "failed a check": table["passed"] < table["checks"],
        "outlier": outlier,
        "fast": seconds < FAST * seconds.median(),
    }
    named = ["; ".join(name for name, flagged in marks.items() if flagged[rater]) for rater in table.index]
    return pd.Series([text or "-" for text in named], index=table.index)


def judge_agreement(
    win_rate: Mapping[str, Mapping[str, Mapping[str, Any]]], ratings: pd.DataFrame
) -> dict[str, Any]:
    """How far the judge orders the systems as the raters do.

    The judge's win rates are set against the raters' mean ranks, dimension by dimension; ``overall`` against
    the mean of the dimensions.

    Returns:
        ``raters`` ("people", or "simulated", which says nothing of the judge), and aspect to ``{kendall_tau,
        pairs_agree, pairs, systems}``: tau-b, and the share of the pairs ordered by both that are ordered
        alike. None where not available.

    Raises:
        UserError: the ratings are of fewer than two of the judge's systems.
    """
    ranks = ranking_table(ratings, ks=(1,))
    ranks = ranks[ranks["measure"] == "mean_rank"].set_index(["dimension", "system"])["value"]
    result: dict[str, Any] = {"raters": "simulated" if is_simulated(ratings) else "people"}
    for aspect, rates in win_rate.items():
        human = ranks.get("all" if aspect == OVERALL else aspect, pd.Series(dtype=float)).dropna()
        systems = [system for system in rates if system in human.index]
        if len(systems) < 2:
            raise UserError(
                f"ratings: hold {len(systems)} of the judge's systems ({', '.join(rates)}) on {aspect}; name "
                f"the systems alike"
            )
        judged, people = (
            [rates[system]["value"] for system in systems],
            [-human[system] for system in systems],
        )
        tau = float(stats.kendalltau(judged, people).statistic)
        signs = [
            np.sign(judged[i] - judged[j]) * np.sign(people[i] - people[j])
            for i, j in combinations(range(len(systems)), 2)
        ]
        ordered = [sign > 0 for sign in signs if sign]
        result[aspect] = {
            "kendall_tau": None if math.isnan(tau) else tau,
            "pairs_agree": float(np.mean(ordered)) if ordered else None,
            "pairs": len(ordered),
            "systems": len(systems),
        }
    return result
