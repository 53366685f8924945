"""``python -m empathy_lib``: see ``cli.py``."""

from empathy_lib.cli import main

main()
