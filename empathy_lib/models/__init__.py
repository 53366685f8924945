"""What notebooks 02 to 05 share: base, prompts, generation, what trainings need, the compared systems.

Does not know: aims. For the curious: ``attention``, ``compiling``, ``decoding``, ``vocabulary``, ``wheel``.
Public: ``prepare_base``, ``load_policy``, ``generate``, ``launch``, ``read_log``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "base": ["generate", "load_policy", "prepare_base"],
        "processes": ["launch"],
        "training": ["read_log"],
    },
)
