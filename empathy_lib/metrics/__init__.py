"""Notebook 05, automatic metrics: completions of all systems against several references, their chains against
gold labels.

Knows: each metric, its interval and its table; a language model as judge. Does not know: who wrote a
completion, what people prefer. Public: ``METRICS``, ``Settings``, ``score_table``, ``compare``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"registry": ["METRICS", "Settings", "compare", "score_table"]}
)
