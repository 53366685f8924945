"""Who judges what: balanced incomplete blocks, where a rater sees a part of the items, or a sheet a part of
the systems.

Knows: numbers. Does not know: posts, replies, raters' names.

In an incomplete block design every system, and every pair of systems, should be seen equally often, or some
comparisons are paid for twice [1]_. Exact balance of pairs is not possible for every size (six systems by
threes: 10 sheets can, 5 cannot), so here the numbers of systems differ by at most one, and those of pairs by
as little as a search with exchanges finds: :func:`imbalance` says by how much.

References:
    .. [1] Cochran and Cox (1957), Experimental Designs, 2nd edition, chapter 11.
"""

from __future__ import annotations

import math

import numpy as np

# starts of the search, and sweeps over all blocks from each; balance is mostly reached at once
_TRIES, _SWEEPS = (5, 20)


def deal(raters: int, items: int, per_rater: int, rng: np.random.Generator) -> list[list[int]]:
    """Items of each rater: ``per_rater`` different ones in random order, each item given out equally often up
    to one."""
    given = np.zeros(items, dtype=int)
    hands = []
    for _ in range(raters):
        hand = np.lexsort((rng.random(items), given))[:per_rater]  # the least given so far, ties at random
        given[hand] += 1
        hands.append([int(item) for item in rng.permutation(hand)])
    return hands


def blocks(count: int, systems: int, size: int, rng: np.random.Generator) -> list[list[int]]:
    """``count`` blocks of ``size`` different systems each, in random order, balanced over systems (up to one)
    and over pairs.

    Neighbouring blocks, such as those of one rater, are nearly balanced among themselves.
    """
    if size == systems:
        return [[int(system) for system in rng.permutation(systems)] for _ in range(count)]
    best: list[list[int]] = []
    reached, target = np.inf, _least_spread(count, systems, size)
    for _ in range(_TRIES):
        drawn, pairs = _greedy(count, systems, size, rng)
        for _ in range(_SWEEPS):
            spread = _spread(pairs)
            if spread < reached:
                best, reached = [list(block) for block in drawn], spread
            if spread <= target:
                break
            for first in rng.permutation(count):
                _exchange(drawn, int(first), pairs, rng)
        if reached <= target:
            break
    return [[int(system) for system in rng.permutation(block)] for block in best]


def _least_spread(count: int, systems: int, size: int) -> int:
    """A bound for the spread of pairs: 2 where a system's pairs, ``seen × (size - 1)``, cannot be split
    evenly enough over the others."""
    mean = count * size * (size - 1) / (systems * (systems - 1))
    seen, more = divmod(count * size, systems)
    sums = [(seen + extra) * (size - 1) for extra in ({0, 1} if more else {0})]
    low, high = math.floor(mean) * (systems - 1), math.ceil(mean) * (systems - 1)
    return 2 if min(sums) < low or max(sums) > high else int(mean != int(mean))


def _greedy(
    count: int, systems: int, size: int, rng: np.random.Generator
) -> tuple[list[list[int]], list[list[int]]]:
    """Each block takes the systems least seen so far, of these the least seen with those it already holds."""
    pairs = np.zeros((systems, systems), dtype=int)
    drawn = []
    for _ in range(count):
        block: list[int] = []
        for _ in range(size):
            met = pairs[:, block].sum(axis=1)
            order = np.lexsort((rng.random(systems), met, np.diag(pairs)))
            block.append(next(int(system) for system in order if system not in block))
        pairs[np.ix_(block, block)] += 1
        drawn.append(block)
    return drawn, pairs.tolist()


def _exchange(drawn: list[list[int]], first: int, pairs: list[list[int]], rng: np.random.Generator) -> None:
    """Let block ``first`` and a random other one swap a system each, if that balances pairs at least as
    well."""
    second = int(rng.integers(len(drawn)))
    for x in list(drawn[first]):
        for y in list(drawn[second]):
            one, two = drawn[first], drawn[second]
            if x in two or y in one or x not in one or y not in two:
                continue
            rest, others = [s for s in one if s != x], [s for s in two if s != y]
            # Sum of squared pair counts after minus before, halved: x leaves `rest` for `others`, y the other
            # way round.
            both = set(rest) & set(others)
            gain = sum(pairs[y][s] + 1 - pairs[x][s] for s in rest if s not in both)
            gain += sum(pairs[x][s] + 1 - pairs[y][s] for s in others if s not in both)
            if gain > 0 or (gain == 0 and rng.random() < 0.5):
                continue
            for system, old, new in ((x, rest, others), (y, others, rest)):
                for s, change in [(s, -1) for s in old] + [(s, 1) for s in new]:
                    pairs[system][s] += change
                    pairs[s][system] += change
            drawn[first], drawn[second] = [*rest, y], [*others, x]


def _spread(pairs: list[list[int]] | np.ndarray) -> int:
    return int(np.ptp(np.asarray(pairs)[np.triu_indices(len(pairs), 1)]))


def imbalance(shown: list[list[int]], systems: int) -> tuple[int, int]:
    """Most minus least, over systems and over pairs of systems, of how often they are shown (together)."""
    pairs = np.zeros((systems, systems), dtype=int)
    for block in shown:
        pairs[np.ix_(block, block)] += 1
    return int(np.ptp(np.diag(pairs))), _spread(pairs)
