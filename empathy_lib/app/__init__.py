"""The command line around the notebooks: run them, check the machine, score and rank, publish.

Knows: options, exit statuses, where things are written. Does not know: how anything is computed.
Public: nothing; the door is ``python -m empathy_lib``.
"""
