"""Simulated raters with known tastes: they test the statistics, never the systems.

Knows: the Plackett-Luce model with rater and item effects, and what it makes true. Does not know: any
completion; a simulated rater reads nothing.

The utility of a system for a rater, item and dimension is ``strength + rater effect + item effect + Gumbel
noise``; ranking by it is the Plackett-Luce model [1]_, so without effects P(rank 1) = softmax(strengths). The
effects are Gaussian, per (rater, system) and (item, system), shared by the dimensions: they make the opinions
of a rater, and those on an item, depend on each other.

References:
    .. [1] Yellott (1977), The relationship between Luce's choice axiom, Thurstone's theory and the double
       exponential distribution, Journal of Mathematical Psychology 15.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from empathy_lib.core.errors import UserError
from empathy_lib.human_eval import checks
from empathy_lib.human_eval.cube import Cube, with_all
from empathy_lib.human_eval.design import Study
from empathy_lib.human_eval.ratings import COLUMNS, SECONDS, SIMULATED_PREFIX
from empathy_lib.human_eval.strengths import fit

SIMULATED_NOTE = "SIMULATED raters: says nothing about the systems."
TASTE_SD = 0.5  # standard deviation of rater and of item effects, on the scale of log-strengths (our choice)
_NODES = 40  # of the quadrature over tastes
# median time per sheet of a simulated rater, and of a careless one (our choice)
_SECONDS = {False: 150.0, True: 40.0}


def _check(strengths: pd.DataFrame, raters: int, items: int) -> np.ndarray:
    values = strengths.to_numpy(dtype=float)
    unset = np.argwhere(~np.isfinite(values))
    if len(unset):
        row, column = unset[0]
        raise UserError(
            f"strengths: system '{strengths.index[row]}', {strengths.columns[column]}: no finite number; set "
            f"it in the strengths"
        )
    if len(strengths) < 2 or raters < 1 or items < 1:
        raise UserError(
            f"simulated study of {len(strengths)} systems, {raters} raters, {items} items: needs 2 systems, "
            f"a rater, an item"
        )
    return values


def _names(raters: int) -> list[str]:
    width = max(2, len(str(raters)))
    return [f"{SIMULATED_PREFIX}{number:0{width}d}" for number in range(1, raters + 1)]


def simulate_cube(
    strengths: pd.DataFrame,
    raters: int,
    items: Sequence[str],
    rng: np.random.Generator,
    *,
    rater_sd: float = TASTE_SD,
    item_sd: float = TASTE_SD,
) -> Cube:
    """Draw complete rankings without ties; rank 1 is the best.

    Args:
        strengths: log-strengths, rows = systems in order of name, columns = dimensions.
        raters: how many; they are named ``simulated-01`` and so on.
        items: ids of the items.
        rng: draws tastes and noise.
        rater_sd, item_sd: standard deviations of the effects.

    Raises:
        UserError: fewer than two systems, no rater, no item, or a strength that is no finite number.
    """
    values = _check(strengths, raters, len(items))
    systems, dimensions = values.shape
    taste = rng.normal(0.0, rater_sd, (raters, 1, 1, systems))
    suits = rng.normal(0.0, item_sd, (1, len(items), 1, systems))
    utility = values.T + taste + suits + rng.gumbel(size=(raters, len(items), dimensions, systems))
    ranks = 1.0 + np.argsort(np.argsort(-utility, axis=-1), axis=-1)
    return Cube(ranks, _names(raters), list(items), list(strengths.columns), list(strengths.index))


def simulate_ratings(
    strengths: pd.DataFrame, raters: int, items: Sequence[str], rng: np.random.Generator, **effects: float
) -> pd.DataFrame:
    """:func:`simulate_cube`, which says what it takes, as ratings: rows of ``rater, item, dimension, system,
    rank``, one for each rank."""
    cube = simulate_cube(strengths, raters, items, rng, **effects)
    index = pd.MultiIndex.from_product(
        [cube.raters, cube.items, cube.dimensions, cube.systems], names=list(COLUMNS[:4])
    )
    return pd.DataFrame({"rank": cube.ranks.ravel()}, index=index).reset_index()


def answer_study(
    study: Study,
    strengths: pd.DataFrame,
    rng: np.random.Generator,
    *,
    careless: Collection[int] = (),
    rater_sd: float = TASTE_SD,
    item_sd: float = TASTE_SD,
) -> pd.DataFrame:
    """Answer a study as it was designed, attention checks and incomplete blocks included.

    Args:
        study: of ``build_study``; its first rater is answered for by ``simulated-01``, and so on.
        strengths: log-strengths, rows = the study's systems, columns = dimensions.
        rng: draws tastes, noise and times.
        careless: numbers of raters, from 1, who rank at random, checks too, in a fraction of the time.
        rater_sd, item_sd: standard deviations of the effects.

    Returns:
        Ratings with a column ``seconds``, which are made up as well.

    Raises:
        UserError: as :func:`simulate_cube`.
    """
    _check(strengths.reindex(study.systems), len(study.key), len(study.items))
    names = dict(zip(study.key, _names(len(study.key)), strict=True))
    tastes = {rater: rng.normal(0.0, rater_sd, len(study.systems)) for rater in study.key}
    suits = {item: rng.normal(0.0, item_sd, len(study.systems)) for item in study.items}
    place = {system: number for number, system in enumerate(study.systems)}
    rows = []
    for number, (rater, key) in enumerate(study.key.items(), 1):
        for item, who in key.items():
            seconds = float(np.round(_SECONDS[number in careless] * rng.lognormal(0.0, 0.5), 1))
            for dimension in strengths.columns:
                utility = rng.gumbel(size=len(who))
                if item in study.checks and number not in careless:
                    utility += [_pull(system) for system in who.values()]
                elif number not in careless:
                    at = [place[system] for system in who.values()]
                    utility += (
                        strengths[dimension].reindex(study.systems).to_numpy()[at]
                        + tastes[rater][at]
                        + suits[item][at]
                    )
                ranks = 1.0 + np.argsort(np.argsort(-utility))
                rows += [
                    (names[rater], item, dimension, system, rank, seconds)
                    for system, rank in zip(who.values(), ranks, strict=True)
                ]
    return pd.DataFrame(rows, columns=[*COLUMNS, SECONDS])


def _pull(system: str) -> float:
    """What an attentive rater does with a reply of a check sheet: as it says."""
    return {checks.name_check("first"): 1e3, checks.name_check("last"): -1e3}.get(system, 0.0)


def first_place(strengths: np.ndarray, taste_sd: float) -> np.ndarray:
    """Probability of rank 1 of each system under the model, to about 1e-4; ``taste_sd`` of rater and item
    effects together."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    grid = np.linspace(strengths.min() - 6 * taste_sd - 5, strengths.max() + 6 * taste_sd + 25, 1001)
    shifted = grid[:, None, None] - strengths[None, :, None] - taste_sd * nodes
    # P(utility of a system <= point), shape (points, systems)
    below = np.exp(-np.exp(-shifted)) @ (weights / weights.sum())
    others = np.stack([np.delete(below, s, axis=1).prod(axis=1) for s in range(len(strengths))], axis=1)
    return ((others[1:] + others[:-1]) / 2 * np.diff(below, axis=0)).sum(axis=0)


def truth(strengths: pd.DataFrame, *, rater_sd: float = TASTE_SD, item_sd: float = TASTE_SD) -> pd.DataFrame:
    """What a study of infinitely many raters and items would find, by numerical integration.

    Strengths are those of the average opinion, which differing tastes pull towards 0: what
    ``estimate_strengths`` tends to.

    Returns:
        Columns ``dimension`` (``all`` first), ``measure`` (``win_at_1``, ``mean_rank``, ``strength``),
        ``system``, ``true``.
    """
    values = _check(strengths, 1, 1).T
    taste_sd = float(np.hypot(rater_sd, item_sd))
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    gaps = values[:, :, None] - values[:, None, :]
    beats = (1 / (1 + np.exp(-(gaps[..., None] + np.sqrt(2) * taste_sd * nodes)))) @ (weights / weights.sum())
    off = 1 - np.eye(len(strengths))
    made = {
        "win_at_1": np.array([first_place(row, taste_sd) for row in values]),
        "mean_rank": 1 + (np.swapaxes(beats, 1, 2) * off).sum(axis=-1),
        "strength": np.array([fit(row * off, pseudo=0.0) for row in beats]),
    }
    rows = [
        (dimension, measure, system, value)
        for measure, table in made.items()
        for dimension, line in zip(["all", *strengths.columns], with_all(table), strict=True)
        for system, value in zip(strengths.index, line, strict=True)
    ]
    return pd.DataFrame(rows, columns=["dimension", "measure", "system", "true"])


def strengths_for(win_at_1: Sequence[float], taste_sd: float) -> np.ndarray:
    """Log-strengths, mean 0, under which the systems' probabilities of rank 1 are as given (above 0, summing
    to 1).

    Args:
        win_at_1: shape (systems,).
        taste_sd: standard deviation of rater and item effects together.
    """
    wanted = np.asarray(win_at_1, dtype=float)
    strengths = np.log(wanted)
    for _ in range(200):
        step = np.log(wanted) - np.log(first_place(strengths, taste_sd))
        strengths = strengths + step
        if np.abs(step).max() < 1e-5:
            break
    return strengths - strengths.mean()
