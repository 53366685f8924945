"""What a study of a given size can tell, by simulation: power, false alarms, the width of an interval, and
whether intervals hold the truth.

Knows: simulated raters (``simulate``). Does not know: people, whose tastes may spread more or less than the
simulated ones'.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from empathy_lib.core.paper import DIMENSIONS
from empathy_lib.human_eval.cube import ALL, Cube, average_rank
from empathy_lib.human_eval.differences import omnibus, pairwise
from empathy_lib.human_eval.intervals import LEVEL, Bootstrap, mean_interval
from empathy_lib.human_eval.ranking import ranking_table
from empathy_lib.human_eval.simulate import TASTE_SD, first_place, simulate_cube, strengths_for, truth
from empathy_lib.human_eval.strengths import estimate_strengths

ALPHA = 1 - LEVEL  # a p-value below it is called a difference


def _alike(strengths: Sequence[float] | np.ndarray) -> pd.DataFrame:
    """Systems ``A``, ``B`` … of the given strengths, the same on every dimension."""
    names = [chr(ord("A") + place) for place in range(len(strengths))]
    return pd.DataFrame(
        {dimension: np.asarray(strengths, dtype=float) for dimension in DIMENSIONS}, index=names
    )


def _items(number: int) -> list[str]:
    return [f"{item:04d}" for item in range(number)]


def power_table(
    sizes: Iterable[tuple[int, int]],
    gaps: Iterable[float],
    *,
    systems: int,
    simulations: int,
    rng: np.random.Generator,
    rater_sd: float = TASTE_SD,
    item_sd: float = TASTE_SD,
) -> pd.DataFrame:
    """How likely a study is to tell the best system from another one.

    One system is better than the others, which are alike, by ``gap`` in log-strength on every dimension.
    *Found* means that the 95 % interval of the difference in mean rank, over raters and items, leaves out 0
    on the right side; with gap 0 on either side, so that its share is that of false alarms. Averaged over the
    other systems.

    Args:
        sizes: pairs (raters, items).
        gaps: log-strengths; the odds of being ranked above another system are e^gap, tastes aside.
        systems: how many, 2 or more.
        simulations: studies drawn for each size and gap.
        rng: draws them.
        rater_sd, item_sd: standard deviations of tastes.

    Returns:
        Columns ``raters``, ``items``, ``gap``, ``win_at_1`` (true, of the better system), ``power``,
        ``simulations``.
    """
    rows = []
    for raters, items in sizes:
        for gap in gaps:
            strengths = _alike([gap] + [0.0] * (systems - 1))
            found = []
            for _ in range(simulations):
                ranks = average_rank(
                    simulate_cube(
                        strengths, raters, _items(items), rng, rater_sd=rater_sd, item_sd=item_sd
                    ).ranks
                )
                low, high = mean_interval(ranks[..., 1:] - ranks[..., :1], None)[1]
                found.append(np.mean((low[0] > 0) | ((high[0] < 0) & (gap == 0))))
            wins = first_place(strengths[DIMENSIONS[0]].to_numpy(), float(np.hypot(rater_sd, item_sd)))[0]
            rows.append((raters, items, gap, wins, float(np.mean(found)), simulations))
    return pd.DataFrame(rows, columns=["raters", "items", "gap", "win_at_1", "power", "simulations"])


def false_alarms(
    sizes: Iterable[tuple[int, int]],
    *,
    systems: int,
    simulations: int,
    rng: np.random.Generator,
    rater_sd: float = TASTE_SD,
    item_sd: float = TASTE_SD,
) -> pd.DataFrame:
    """How often studies of systems that are alike call two of them different, on dimension ``all``.

    Args:
        sizes, systems, simulations, rng, rater_sd, item_sd: as :func:`power_table`.

    Returns:
        Columns ``raters``, ``items``, ``pairs`` (share of pairs with p < .05), ``familywise`` (share of
        studies with some p_holm < .05), ``friedman_these_raters`` (share of studies with Friedman's p < .05),
        ``simulations``.
    """
    alike = _alike(np.zeros(systems))
    rows = []
    for raters, items in sizes:
        found = []
        for _ in range(simulations):
            cube = simulate_cube(alike, raters, _items(items), rng, rater_sd=rater_sd, item_sd=item_sd)
            pairs = pairwise(cube)
            friedman = omnibus(cube)["p_these_raters"].iloc[0]
            found.append(((pairs["p"] < ALPHA).mean(), (pairs["p_holm"] < ALPHA).any(), friedman < ALPHA))
        rows.append((raters, items, *np.mean(found, axis=0), simulations))
    return pd.DataFrame(
        rows, columns=["raters", "items", "pairs", "familywise", "friedman_these_raters", "simulations"]
    )


def coverage(
    strengths: pd.DataFrame,
    raters: int,
    items: int,
    *,
    simulations: int,
    rng: np.random.Generator,
    resamples: int = 0,
    rater_sd: float = TASTE_SD,
    item_sd: float = TASTE_SD,
) -> pd.DataFrame:
    """How often the 95 % intervals of simulated studies hold the truth, which is known (``simulate.truth``).

    Args:
        strengths: log-strengths, rows = systems, columns = dimensions.
        raters, items: size of each study.
        simulations: how many studies.
        rng: draws them.
        resamples: of the bootstrap, which is measured beside the two-way interval; 0 leaves it out.
        rater_sd, item_sd: standard deviations of tastes.

    Returns:
        Columns ``measure`` (Win@1, mean rank, strength, of dimension ``all``), ``method``, ``coverage``
        (share of studies × systems whose interval holds the truth; one without an interval does not),
        ``error`` (standard error of that share), ``width`` (mean) and ``studies``.
    """
    true = (
        truth(strengths, rater_sd=rater_sd, item_sd=item_sd)
        .query("dimension == @ALL")
        .set_index(["measure", "system"])["true"]
    )
    drawn = []
    for study in range(simulations):
        cube = simulate_cube(strengths, raters, _items(items), rng, rater_sd=rater_sd, item_sd=item_sd)
        methods = {"two-way": None} | ({"bootstrap": Bootstrap(resamples, rng)} if resamples else {})
        for method, bootstrap in methods.items():
            drawn.append(_intervals(cube, bootstrap).assign(study=study, method=method))
    table = pd.concat(drawn)
    table["true"] = true.reindex(pd.MultiIndex.from_frame(table[["measure", "system"]])).to_numpy()
    table["holds"] = ((table["low"] <= table["true"]) & (table["true"] <= table["high"])).astype(float)
    table["width"] = table["high"] - table["low"]
    studies = (
        table.groupby(["measure", "method", "study"], sort=False)[["holds", "width"]]
        .mean()
        .groupby(["measure", "method"], sort=False)
    )
    result = studies["holds"].agg(["mean", "sem"]).set_axis(["coverage", "error"], axis=1)
    return result.assign(width=studies["width"].mean(), studies=simulations).reset_index()


def _intervals(cube: Cube, bootstrap: Bootstrap | None) -> pd.DataFrame:
    """Intervals of dimension ``all``: columns ``measure, system, low, high``."""
    places = ranking_table(cube, ks=(1,), bootstrap=bootstrap)
    strengths = estimate_strengths(cube, bootstrap=bootstrap, overall=True).assign(measure="strength")
    both = pd.concat([places, strengths])
    return both.loc[both["dimension"] == ALL, ["measure", "system", "low", "high"]]


def papers_interval(
    win_at_1: Sequence[float],
    raters: int,
    items: int,
    taste_sds: Iterable[float],
    *,
    simulations: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """The interval that a study of the paper's size puts around the Win@1 it reports.

    The paper's opinions are not published, so how far raters and items differ in taste is assumed:
    ``taste_sds``, each that of raters and that of items. First Wilson's interval, which takes all opinions as
    independent; then simulated studies whose true Win@1 are as given.

    Args:
        win_at_1: of all systems, best first, summing to 1.
        raters, items: size of the study.
        taste_sds: standard deviations to try.
        simulations: studies drawn for each.
        rng: draws them.

    Returns:
        Columns ``opinions``, and for the first two systems ``first_low``, ``first_high``, ``second_low``,
        ``second_high`` (Wilson, or the middle 95 % of the simulated studies' Win@1), and ``width`` (of the
        first's 95 % interval: Wilson's, or the studies' mean).
    """
    first, second = (
        proportion_confint(share * raters * items, raters * items, method="wilson") for share in win_at_1[:2]
    )
    rows = [("independent (Wilson)", *first, *second, first[1] - first[0])]
    for sd in taste_sds:
        strengths = _alike(strengths_for(win_at_1, float(np.hypot(sd, sd))))
        found, widths = [], []
        for _ in range(simulations):
            table = ranking_table(
                simulate_cube(strengths, raters, _items(items), rng, rater_sd=sd, item_sd=sd), ks=(1,)
            )
            wins = table.query("dimension == @ALL and measure == 'win_at_1'").set_index("system")
            found.append(wins["value"].to_numpy()[:2])
            widths.append(wins["high"].iloc[0] - wins["low"].iloc[0])
        low, high = np.quantile(found, [0.025, 0.975], axis=0)
        rows.append(
            (f"tastes of sd {sd:g} (simulated)", low[0], high[0], low[1], high[1], float(np.mean(widths)))
        )
    return pd.DataFrame(
        rows, columns=["opinions", "first_low", "first_high", "second_low", "second_high", "width"]
    )
