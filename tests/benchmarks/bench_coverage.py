"""Do the human study's 95 % intervals hold the truth, and how often are equal systems called different?
``python tests/benchmarks/bench_coverage.py [--studies 200] [--resamples 200] [--false-alarms]``

First, over simulated studies of six equal systems and for three sizes: the share of pairs with p < .05, and
of studies in which some p_holm < .05, which must be at most .07 (exit 1 above it); Friedman's test beside.
``--false-alarms`` stops there. Then, for several sizes of study and spreads of taste, how often the two-way
and the bootstrap interval of Win@1, mean rank and strength (mean of the dimensions) hold the known truth; a
coverage of 93 to 97 % is the aim. Minutes.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import pandas as pd

from empathy_lib.core.paper import DIMENSIONS
from empathy_lib.human_eval.power import coverage, false_alarms
from empathy_lib.human_eval.simulate import TASTE_SD

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
SIZES = [(5, 12), (10, 30), (20, 100)]  # of studies of equal systems
LIMIT = 0.07  # of the familywise false alarms


def main() -> None:
    """Measure and print both."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--resamples", type=int, default=200, help="of the bootstrap; 0 leaves it out")
    parser.add_argument("--false-alarms", action="store_true", help="only these")
    arguments = parser.parse_args()
    alarms = false_alarms(SIZES, systems=6, simulations=arguments.studies, rng=np.random.default_rng(17))
    print(f"false alarms at the 5 % level over studies of 6 equal systems, tastes of sd {TASTE_SD}")
    print(alarms.to_string(index=False, float_format="%.3f"), flush=True)
    if not arguments.false_alarms:
        measure_coverage(arguments)
    if (alarms["familywise"] > LIMIT).any():
        sys.exit(f"familywise false alarms above {LIMIT}")


def measure_coverage(arguments: argparse.Namespace) -> None:
    """Print one line for each of ``CASES``."""
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
