"""The foundation under all six notebooks: configuration, run folders, the CoE grammar, items, statistics.

Knows: what every step shares. Does not know: any step; it imports no other package of this library.
Public: ``Run``, ``UserError``, ``load_profile``; the rest by module, such as ``core.coe``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"config": ["load_profile"], "errors": ["UserError"], "run": ["Run"]}
)
