"""Notebook 05, automatic metrics: completions against several references, chains against gold labels.

Knows: metrics, their intervals and tables, a model as judge. Does not know: what people prefer.
Public: ``METRICS``, ``Settings``, ``score_table``, ``compare``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"registry": ["METRICS"], "scoring": ["Settings", "compare", "score_table"]}
)
