"""Notebook 04, GRPO: the SFT policy optimised against ``r_format + r_answer``, and ``r_chain`` if asked.

Knows: how TRL's GRPOTrainer is configured, its controls. Does not know: how the reward was made.
Public: ``train_grpo``, ``comparison``, ``group_advantages``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "controls": ["best_of_2", "best_of_n", "more_sft_steps", "train_more_sft", "who_sees"],
        "train": ["comparison", "group_advantages", "train_grpo"],
    },
)
