"""A judge of another kind: an encoder that shares neither base, objective nor data with the reward.

Knows: e5 (``models.e5``) in the reward model's place, and what stands there where it cannot be had. Does not
know: who is judged. It is untrained here and was never shown a hack: it likes a copied post best of all, so
its cosines are read beside the copy rate, and with copied spans taken out (``paid.AnswerReward``).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from empathy_lib.core.config import E5, Profile
from empathy_lib.core.statistics import Score, rank_correlation
from empathy_lib.models import e5
from empathy_lib.reward.train import RewardModel, load_encoder


@dataclass
class KindJudge:
    """Scores as :class:`RewardModel` does; NaN where there is no such judge, for the ``reason`` given."""

    folder: Path | None
    reason: str = ""
    threshold: float = math.nan  # it is asked for cosines alone

    @functools.cached_property
    def model(self) -> RewardModel:
        """The encoder, loaded when first asked."""
        return RewardModel(load_encoder(self.folder, e5.MAX_TOKENS), self.threshold)

    def score(self, questions: list[str], answers: list[str], batch_size: int = 32) -> np.ndarray:
        """Cosine of each question (``query: ``) and answer (``passage: ``), shape ``(n,)``.

        An answer without text scores as e5 finds an empty passage. -1, as the reward model has it, would
        drown a scale on which most answers lie within 0.2 of each other.
        """
        if self.folder is None or not questions:
            return np.full(len(questions), np.nan)
        posts = self.model.encode(questions, "query", batch_size)
        replies = self.model.encode(answers, "document", batch_size)
        return np.clip(np.einsum("nd,nd->n", posts, replies), -1, 1)

    def embed(self, texts: list[str]) -> np.ndarray:
        """Unit vectors for texts that are alike in role, such as an answer and its references (``query: `` on
        both sides), shape ``(n, hidden size)``; NaN where there is no such judge."""
        if self.folder is None:
            return np.full((len(texts), 1), np.nan)
        return self.model.encode(texts, "query")

    def identity(self) -> list[str]:
        """What a request is told: the hash of the weights, or why there are none."""
        return [self.reason or e5.SHA256]

    def note(self) -> dict[str, str]:
        """For ``headline.json``: why a figure is null; nothing where it is not."""
        return {"reason": self.reason} if self.reason else {}


def load_kind(profile: Profile) -> KindJudge:
    """The judge of another kind that ``metrics.kind_judge`` asks for; where there is none, a line says why
    and the run goes on.

    Raises:
        UserError: the wheel is there but not what it should be.
    """
    if profile.metrics.kind_judge != E5:
        reason = f"metrics.kind_judge is {profile.metrics.kind_judge}"
    elif profile.reward.base == E5:
        reason = "the reward itself starts from e5 (reward.base)"
    else:
        try:
            return KindJudge(e5.prepare_e5())
        except e5.NotInstalledError as error:
            reason = str(error)
    print(f"judge of another kind: not available ({reason})")
    return KindJudge(None, reason)


def rank_agreement(
    first: RewardModel | KindJudge,
    second: RewardModel | KindJudge,
    sets: Mapping[str, Sequence[tuple[str, str]]],
    *,
    resamples: int,
    rng: np.random.Generator,
) -> dict[str, Score]:
    """How far two judges order the same replies alike: Spearman's rank correlation on each set of (post,
    reply), each pair once, with intervals over posts."""
    found = {}
    for name, pairs in sets.items():
        posts, replies = (list(texts) for texts in zip(*dict.fromkeys(pairs), strict=True))
        scores = first.score(posts, replies), second.score(posts, replies)
        found[name] = rank_correlation(*scores, posts, resamples=resamples, rng=rng)
    return found
