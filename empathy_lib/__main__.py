"""``python -m empathy_lib``: see ``app/cli.py``."""

from empathy_lib.app.cli import main

main()
