"""What GRPO pays for: the paper's ``r_total = r_format + r_answer``.

Knows: the two rewards, the guard against copied answers. Does not know: how the reward model was trained
(``train``), the reward for true chains that may be added (``chain``), or who optimises against them
(``grpo``). The guard and the masking of copied spans are our choice;
the paper gives neither.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from empathy_lib.core.coe import is_well_formed, written_answer
from empathy_lib.core.config import GRPOStageConfig
from empathy_lib.core.copying import copy_rate, mask_copied_spans
from empathy_lib.reward.train import RewardModel


def r_format(completions: list[str], **_) -> list[float]:
    """1 where the completion follows the CoE grammar, else 0 (paper: binary, all tags there)."""
    return [float(is_well_formed(text)) for text in completions]


@dataclass
class AnswerReward:
    """``r_answer``: cosine of post and answer, against the reward model's threshold.

    ``threshold``: 1 if the cosine reaches the threshold, else 0 (paper). ``smooth``: the cosine itself (an
    option). With ``mask_copied_spans`` the answer is scored without what it copies from the post; from
    ``copy_guard`` on it earns 0.
    """

    model: RewardModel
    kind: str = "threshold"
    copy_guard: float = 1.0
    mask_copied_spans: bool = False

    @classmethod
    def from_config(cls, model: RewardModel, config: GRPOStageConfig) -> AnswerReward:
        """The reward as the profile asks for it."""
        return cls(model, config.reward, config.copy_guard, config.mask_copied_spans)

    def changed_to(self, config: GRPOStageConfig) -> AnswerReward:
        """The same reward, a reader's own too, of the kind that a comparison asks for."""
        other = copy.copy(self)
        other.kind = config.reward
        return other

    def cosines(self, questions: list[str], answers: list[str]) -> np.ndarray:
        """The cosines that are rewarded, shape ``(n,)``."""
        scored = (
            [mask_copied_spans(a, q) for q, a in zip(questions, answers, strict=True)]
            if self.mask_copied_spans
            else answers
        )
        return self.model.score(questions, scored)

    def rate(self, questions: list[str], answers: list[str]) -> np.ndarray:
        """``r_answer`` of plain answers (no tags), shape ``(n,)``."""
        cosines = self.cosines(questions, answers)
        reward = (cosines >= self.model.threshold).astype(float) if self.kind == "threshold" else cosines
        return np.where(self.is_guarded(questions, answers), 0.0, reward)

    def is_guarded(self, questions: list[str], answers: list[str]) -> np.ndarray:
        """Whether each answer copies so much that it earns nothing, shape ``(n,)``."""
        if self.copy_guard >= 1:
            return np.zeros(len(answers), dtype=bool)
        return (
            np.array([copy_rate(a, q) for q, a in zip(questions, answers, strict=True)], dtype=float)
            >= self.copy_guard
        )

    def as_function(self, *, tagged: bool = True) -> Callable[..., list[float]]:
        """The reward in TRL's signature: completions of a batch and the dataset's ``question`` column.

        Where an ``<answer>`` is asked for (``tagged``), a completion without one that holds text earns
        nothing.
        """

        def r_answer(completions: list[str], question: list[str], **_) -> list[float]:
            if not tagged:
                return self.rate(question, [text.strip() for text in completions]).tolist()
            answers = [written_answer(text) for text in completions]
            rated = self.rate(question, [answer or "" for answer in answers])
            return [
                0.0 if answer is None else float(paid) for answer, paid in zip(answers, rated, strict=True)
            ]

        return r_answer
