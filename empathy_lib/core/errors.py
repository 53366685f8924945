"""The one exception that means *the user can fix this*, and what raises it where an extra is not installed.

Knows: how a fault in input, configuration or environment is worded. Does not know: where it is printed (see
``app/cli.py``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class UserError(Exception):
    """Bad input, configuration or environment.

    The message is one line: what is wrong, where (file, line, field), and the remedy. The command line prints
    it without a traceback and exits with status 2.
    """


@contextlib.contextmanager
def extra(name: str) -> Iterator[None]:
    """Around the imports of an extra of ``pyproject.toml``, at the point of use.

    Raises:
        UserError: a package of it is not installed; says how to install the extra.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(
            f"package '{error.name}' is not installed; run: pip install 'empathy-r1-reproduction[{name}]', "
            f"in a checkout: pip install -e '.[{name}]'"
        ) from error
