"""Do the human study's 95 % intervals hold the truth? ``python tests/benchmarks/bench_coverage.py [--studies
200] [--resamples 200]``

Prints, for several sizes of study and spreads of taste, how often the two-way and the bootstrap interval of
Win@1, mean rank and strength (mean of the dimensions) hold the known truth, over simulated studies; a
coverage of 93 to 97 % is the aim. Minutes.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd

from empathy_lib.core.paper import DIMENSIONS
from empathy_lib.human_eval.power import coverage

STRENGTHS = pd.DataFrame(
    dict(
        zip(
            DIMENSIONS,
            (
                [-1.0, -0.6, -0.2, 0.2, 0.6, 1.0],
                [-0.8, -0.8, 0.2, 0.2, 0.4, 0.8],
                [-0.5, -0.7, 0.0, -0.1, 0.5, 0.8],
                [-1.2, -0.2, -0.4, 0.6, 0.2, 1.0],
            ),
            strict=True,
        )
    ),
    index=list("ABCDEF"),
)
CASES = [
    (20, 100, 0.5, 0.5),
    (20, 100, 0.2, 0.2),
    (20, 100, 1.0, 0.5),
    (20, 100, 0.0, 0.0),
    (10, 30, 0.5, 0.5),
    (5, 12, 0.5, 0.5),
]


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--resamples", type=int, default=200, help="of the bootstrap; 0 leaves it out")
    arguments = parser.parse_args()
    print(
        f"coverage of 95 % intervals over {arguments.studies} simulated studies of 6 systems; rater sd, item "
        f"sd: spread of tastes"
    )
    for raters, items, rater_sd, item_sd in CASES:
        rng = np.random.default_rng([raters, items, int(10 * rater_sd), int(10 * item_sd)])
        table = coverage(
            STRENGTHS,
            raters,
            items,
            simulations=arguments.studies,
            rng=rng,
            resamples=arguments.resamples,
            rater_sd=rater_sd,
            item_sd=item_sd,
        )
        shown = [
            f"{row.measure} {row.method} {row.coverage:.3f} ± {row.error:.3f}" for row in table.itertuples()
        ]
        print(f"{raters} × {items}, rater sd {rater_sd}, item sd {item_sd}: {'; '.join(shown)}", flush=True)


if __name__ == "__main__":
    main()
