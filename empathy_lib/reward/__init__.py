"""Notebook 03, the reward model: what it tells apart, how it is trained, what GRPO will pay for.

Knows: triplets, the encoder and its threshold, what is paid for answer, form and chain. Does not know: who
optimises against them.
Public: ``build_triplets``, ``train_reward``, ``load_reward``, ``load_kind``, ``AnswerReward``,
``ChainReward``, ``r_format``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "chain": ["ChainReward"],
        "kind": ["KindJudge", "load_kind", "rank_agreement"],
        "paid": ["AnswerReward", "r_format"],
        "train": ["RewardModel", "load_reward", "train_reward"],
        "triplets": ["build_triplets"],
    },
)
