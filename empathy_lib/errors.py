"""The one exception that means *the user can fix this*.

Knows: how a fault in input, configuration or environment is worded. Does not know: where it is printed (see ``cli.py``).
"""


class UserError(Exception):
    """Bad input, configuration or environment.

    The message is one line: what is wrong, where (file, line, field), and the remedy. The command line prints
    it without a traceback and exits with status 2.
    """
