"""The rules that make a Chain of Empathy from a post: a module for each thing they read.

``clauses`` (cut, quote, retell), ``safety`` (danger), ``feelings`` (L1), ``causes`` and ``beliefs`` (L2),
``requests`` (L3), ``frames`` (the wording) and ``chain``, which puts them together. All words and weights are
our choice; the paper does not say how its chains were made.
"""
