"""What notebooks 02 to 05 share: the base model, its prompts, generation, what every training needs, the
compared systems.

Knows: models, not what they are trained for. For reading on only: ``attention``, ``compiling``, ``decoding``,
``vocabulary`` and ``wheel`` make it quick on a CPU. Public: ``prepare_base``, ``load_policy``, ``generate``,
``read_log``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"base": ["generate", "load_policy", "prepare_base"], "training": ["read_log"]}
)
