"""Notebook 02, supervised fine-tuning on the Chain of Empathy.

Knows: pairs, how TRL's SFTTrainer is configured. Does not know: rewards, metrics.
Public: ``sft_pairs``, ``fit``, ``train_sft``, ``validation_losses``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "pairs": ["fit", "sft_pairs"],
        "train": ["train_sft"],
        "validation": ["validation_losses"],
    },
)
