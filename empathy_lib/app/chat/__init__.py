"""``python -m empathy_lib chat``: a post in, an answer of a trained policy out, at a terminal or a page.

Knows: the checks around every answer, how a policy is found and loaded. Does not know: how it was trained.
Public: nothing; see ``answering`` (the checks), ``policy``, ``terminal`` and ``page`` (extra ``chat``).
"""
