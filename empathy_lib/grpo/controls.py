"""What GRPO is held against: the same effort spent otherwise.

Knows: the best of several samples by the reward, further SFT at equal compute, which judges see a gain. Does
not know: GRPO's trainer.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from empathy_lib.core.coe import answer_of
from empathy_lib.core.config import Profile
from empathy_lib.core.schema import Item
from empathy_lib.core.statistics import PairedTest
from empathy_lib.models.base import load_policy
from empathy_lib.models.lengths import completion_length
from empathy_lib.reward.paid import AnswerReward
from empathy_lib.sft.pairs import fit, sft_pairs
from empathy_lib.sft.train import train_sft

# Passes over a token, a forward one counted as 1: sampling, the reference and the policy of GRPO's step
# (1 + 1 + 3), and SFT's forward and backward (3).
_GRPO_PASSES, _SFT_PASSES = 5, 3


def best_of_n(
    questions: Sequence[str], samples: Sequence[Sequence[str]], reward: AnswerReward
) -> tuple[list[str], np.ndarray]:
    """Of several completions of each post, the one that the reward pays most; the cosine decides between
    equals.

    Args:
        samples: of each draw, one completion a post; shape ``(n, posts)``.

    Returns:
        The chosen completions, and which draw each is from.
    """
    paid, ties = [], []
    for texts in samples:
        posts, answers = list(questions), [answer_of(text) for text in texts]
        paid.append(np.asarray(reward.rate(posts, answers), dtype=float))
        ties.append(np.where(reward.is_guarded(posts, answers), -1.0, reward.cosines(posts, answers)))
    most = np.max(paid, axis=0)
    chosen = np.argmax(np.where(paid == most, ties, -np.inf), axis=0)
    return [samples[draw][place] for place, draw in enumerate(chosen)], chosen


def best_of_2(questions: Sequence[str], samples: Sequence[Sequence[str]], reward: AnswerReward) -> list[str]:
    """:func:`best_of_n` of every two draws: the completions of all posts, pair of draws by pair, so that a
    post's mean over them does not hang on which two were drawn."""
    pairs = itertools.combinations(samples, 2)
    return [text for pair in pairs for text in best_of_n(questions, pair, reward)[0]]


def who_sees(gain: PairedTest, judges: Mapping[str, PairedTest]) -> str:
    """Say which judges see a gain in what was paid for: a sentence for the reader.

    Args:
        gain: GRPO minus SFT in the reward that GRPO was trained on.
        judges: the same difference by judges that it never met; one that is not available is named.
    """
    seen = [name for name, test in judges.items() if test.low > 0]
    unseen = [name for name, test in judges.items() if test.low <= 0]
    if not gain.low > 0:
        others = ", nor does any other judge" if unseen else ""
        others = f", though {' and '.join(seen)} does" if seen else others
        return f"the reward itself sees no clear gain{others}"
    unknown = [name for name, test in judges.items() if math.isnan(test.low)]
    said = f"the gain is clear to {' and '.join(seen)}" if seen else "ONLY THE REWARD SEES THIS GAIN"
    said += f"; not to {' or '.join(unseen)}" if unseen else ""
    return said + (f"; not available: {', '.join(unknown)}" if unknown else "")


def more_sft_steps(profile: Profile) -> int:
    """Steps of SFT that cost as much arithmetic as the profile's GRPO: passes over completions, prompts left
    out."""
    completions = profile.grpo.max_steps * profile.grpo.prompts_per_step * profile.grpo.num_generations
    batch = profile.sft.batch_size * profile.sft.gradient_accumulation
    return math.ceil(completions * _GRPO_PASSES / _SFT_PASSES / batch)


def train_more_sft(
    policy: Path,
    train: list[Item],
    validation: list[Item],
    folder: Path,
    profile: Profile,
    rng: np.random.Generator,
) -> list[dict]:
    """Train the SFT policy on for :func:`more_sft_steps`, on pairs drawn anew; as ``sft.train_sft``
    otherwise."""
    steps, tokenizer = more_sft_steps(profile), load_policy(policy)[1]
    batch = profile.sft.batch_size * profile.sft.gradient_accumulation
    drawn = sft_pairs(train, tokenizer, steps * batch, rng, coe=True)
    held = sft_pairs(validation, tokenizer, profile.sft.max_validation_items, rng, coe=True)
    room = completion_length(profile.generation, train, tokenizer)
    pairs, held = (fit(each, tokenizer, profile.base_model, room).select(each) for each in (drawn, held))
    # its start is no base that it had to beat
    config = profile.sft.model_copy(update={"max_steps": steps, "allow_worse_than_base": True})
    return train_sft(policy, pairs, held, folder, config, profile.base_model, profile.seed, profile.tracking)
