"""Notebook 01, dataset construction: from a raw source to leak-free splits with a chain on every answer.

Knows: sources, synthesis, cleaning, de-identification, annotation, splits, card. Does not know: models.
Public: ``read_source``, ``build_dataset``, ``write_dataset``, ``load_splits``, ``gloss_line``; each step has
a module.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "build": ["build_dataset", "load_splits", "write_dataset"],
        "glosses": ["gloss_line"],
        "sources": ["read_source"],
    },
)
