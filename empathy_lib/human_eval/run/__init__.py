"""A study with people, as run on this machine (extra ``rate``): rating page, store, Label Studio, CSV.

Knows: a drawn study's folder. Does not know: what the ratings say. No notebook needs it.
Public: nothing; see ``collect``, ``page``, ``store`` and ``interchange``.
"""
