"""Rankings as an array, and what each ranking says of a system: places, a share of Win@K, a rank.

Knows: ratings (see ``ratings``). Does not know: who the raters are, or what was ranked; how sure a mean is
(``intervals``).

Conventions (the paper reports Win@K and mean rank; all details below are our choice):

- A *ranking* is what one rater says of one item on one dimension. Only the order counts; rankings of fewer
  than two systems are left out.
- Ties share the places they fill: mean rank takes their average; Win@K gives each an equal share of those of
  their places that are ≤ K (two systems tied first: 1/2 each of Win@1, 1 each of Win@2; three tied first: 2/3
  each of Win@2). So Win@K sums to K over the systems.
- Missing ranks: a system counts only where it was ranked. In a ranking of m of the k systems, Win@K goes by
  the places among those m, and rank r counts as 1 + (r-1)·(k-1)/(m-1): a mean rank is one more than the
  number of systems that rank better, and k-1 others are judged by the m-1 there are. That is unbiased where
  what is missing is missing at random, as in a balanced incomplete block design.
- Dimension ``all`` is the unweighted mean of the dimensions' values.
- Attention checks (``checks``) are no opinions about systems and are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse.csgraph import connected_components

from empathy_lib.core.errors import UserError
from empathy_lib.core.paper import DIMENSIONS
from empathy_lib.human_eval.checks import without_checks

ALL = "all"


@dataclass(frozen=True)
class Cube:
    """Ranks as an array of shape (raters, items, dimensions, systems); NaN where not ranked."""

    ranks: np.ndarray
    raters: list[str]
    items: list[str]
    dimensions: list[str]
    systems: list[str]

    def row(self, dimension: str) -> int:
        """Where ``dimension`` stands in arrays made by :func:`with_all`."""
        return [ALL, *self.dimensions].index(dimension)

    def only(self, systems: list[str]) -> Cube:
        """These systems alone, as if there had been no others."""
        kept = [self.systems.index(system) for system in systems]
        return Cube(_compared(self.ranks[..., kept]), self.raters, self.items, self.dimensions, systems)


def to_cube(ratings: pd.DataFrame | Cube) -> Cube:
    """Arrange ratings as an array: systems in order of name, dimensions in the paper's order and a study's
    own after them; attention checks are left out.

    A cube is given back as it is, so all that takes ratings takes a cube too.

    Raises:
        UserError: fewer than two systems, or a doubled (rater, item, dimension, system).
    """
    if isinstance(ratings, Cube):
        return ratings
    ratings = without_checks(ratings)
    keys = ["rater", "item", "dimension", "system"]
    if ratings.duplicated(keys).any():
        twice = ratings.loc[ratings.duplicated(keys), keys].iloc[0].tolist()
        raise UserError(f"ratings: {', '.join(map(str, twice))} is there twice; keep one of the two rows")
    raters, items, systems = (sorted(set(ratings[key])) for key in ("rater", "item", "system"))
    if len(systems) < 2:
        raise UserError(f"ratings: only {len(systems)} system; a ranking needs at least 2")
    own = [name for name in dict.fromkeys(ratings["dimension"]) if name not in DIMENSIONS]
    dimensions = [name for name in DIMENSIONS if name in set(ratings["dimension"])] + own
    labels = [raters, items, dimensions, systems]
    ranks = np.full([len(names) for names in labels], np.nan)
    ranks[
        tuple(pd.Index(names).get_indexer(ratings[key]) for key, names in zip(keys, labels, strict=True))
    ] = ratings["rank"]
    return Cube(_compared(ranks), raters, items, dimensions, systems)


def _compared(ranks: np.ndarray) -> np.ndarray:
    """Without the rankings of a lone system, which was compared with nothing."""
    return np.where((~np.isnan(ranks)).sum(axis=-1, keepdims=True) < 2, np.nan, ranks)


def components(compared: np.ndarray) -> np.ndarray:
    """A number for each system, the same for those that comparisons connect; ``compared``: shape (systems,
    systems), not 0 where two were compared."""
    return connected_components(compared, directed=False)[1]


def groups(cube: Cube, dimension: str = ALL) -> list[list[str]]:
    """Systems that were compared with each other, directly or through others; nothing orders one group
    against another.

    On ``all``, two systems belong together where they do on every dimension that holds both.
    """
    there = ~np.isnan(cube.ranks)
    both = (there[..., :, None] & there[..., None, :]).any(axis=(0, 1))  # dimensions, systems, systems
    labels = np.array([components(pairs) for pairs in both])
    if dimension == ALL:
        ranked = there.any(axis=(0, 1))
        shared = ranked[:, :, None] & ranked[:, None, :]
        together = labels[:, :, None] == labels[:, None, :]
        found = components((together | ~shared).all(axis=0) & (together & shared).any(axis=0))
    else:
        found = labels[cube.dimensions.index(dimension)]
    return [
        [system for system, label in zip(cube.systems, found, strict=True) if label == number]
        for number in range(found.max() + 1)
    ]


def places(ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per system: how many rank better, and how many share its rank (itself included); shape as ``ranks``,
    NaN where not ranked."""
    other, own = ranks[..., None, :], ranks[..., :, None]
    missing = np.where(np.isnan(ranks), np.nan, 0.0)
    return (other < own).sum(axis=-1) + missing, (other == own).sum(axis=-1) + missing


def win_credit(ranks: np.ndarray, k: int) -> np.ndarray:
    """Share of Win@``k`` that each system gets of each ranking, 0 to 1; shape as ``ranks``, NaN where not
    ranked."""
    better, tied = places(ranks)
    return np.clip(k - better, 0, tied) / tied


def average_rank(ranks: np.ndarray) -> np.ndarray:
    """Ranks 1 to k with ties averaged and incomplete rankings stretched; shape as ``ranks``, NaN where not
    ranked."""
    better, tied = places(ranks)
    # at least 1: a lone system stays on place 1
    others = np.maximum((~np.isnan(ranks)).sum(axis=-1, keepdims=True) - 1, 1)
    return 1 + (better + (tied - 1) / 2) * (ranks.shape[-1] - 1) / others


def pair_wins(ranks: np.ndarray) -> np.ndarray:
    """Whether system s beat t: 1, 1/2 for a tie, else 0; NaN where not both were ranked; shape (…, systems s,
    systems t)."""
    own, other = ranks[..., :, None], ranks[..., None, :]
    return np.where(np.isnan(own) | np.isnan(other), np.nan, (own < other) + 0.5 * (own == other))


def divide(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Quotient; NaN where the count is 0."""
    return np.divide(sums, counts, out=np.full(np.shape(sums), np.nan), where=counts > 0)


def mean_known(values: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    """Mean of what is not NaN; NaN where nothing is."""
    return divide(np.nansum(values, axis=axis), (~np.isnan(values)).sum(axis=axis))


def with_all(values: np.ndarray) -> np.ndarray:
    """Put the mean over dimensions, the second axis from the end, before them."""
    return np.concatenate([mean_known(values, -2)[..., None, :], values], axis=-2)
