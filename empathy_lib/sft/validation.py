"""What a training did to the validation loss: the base's own, the best policy's, and their difference.

Knows: the losses of every pair that a training left. Does not know: how anything is trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from empathy_lib.core.statistics import Score, bootstrap_sums
from empathy_lib.models.training import read_log


@dataclass(frozen=True)
class ValidationLosses:
    """In nats per completion token, with intervals over validation pairs."""

    base: Score
    policy: Score
    difference: Score  # the policy's minus the base's, pair by pair
    step: int  # of the policy that was kept


def validation_losses(folder: Path, *, resamples: int, rng: np.random.Generator) -> ValidationLosses:
    """Read ``folder/validation.jsonl`` of :func:`empathy_lib.sft.train_sft`: base at step 0, best of the
    later steps.

    Args:
        resamples: of the bootstrap; a resample's loss is the mean over its pairs' tokens.
    """
    looks = {record["step"]: record for record in read_log(folder / "validation.jsonl")}
    loss = {step: sum(record["nll"]) / sum(record["tokens"]) for step, record in looks.items()}
    best = min((step for step in looks if step > 0), key=loss.__getitem__)
    tokens = np.array(looks[0]["tokens"], dtype=float)
    base, policy = (np.array(looks[step]["nll"]) for step in (0, best))
    scores = [
        bootstrap_sums(
            np.column_stack([nll, tokens]), lambda sums: sums[:, 0] / sums[:, 1], resamples=resamples, rng=rng
        )
        for nll in (base, policy, policy - base)
    ]
    return ValidationLosses(*scores, step=best)
