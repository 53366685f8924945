"""Notebook 06, human evaluation by ranking: blinded studies, ratings, simulated raters, statistics.

Knows: studies and ratings. Does not know: how raters are reached: ``run``, which no notebook needs.
Public: ``build_study``, ``read_ratings``, ``ranking_table``, ``estimate_strengths``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "design": ["build_study"],
        "ranking": ["ranking_table"],
        "ratings": ["read_ratings"],
        "strengths": ["estimate_strengths"],
    },
)
