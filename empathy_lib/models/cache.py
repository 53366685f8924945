"""A folder of the cache appears whole or not at all.

Knows: how several processes may make the same one at once. Does not know: what is cached.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_folder(final: Path) -> Iterator[Path]:
    """A folder to write into, which becomes ``final`` in one step when the block ends without an error; where
    another process was quicker, its folder stays."""
    building = final.with_name(f"{final.name}.building-{os.getpid()}")
    building.mkdir(parents=True, exist_ok=True)
    try:
        yield building
        if not final.exists():
            os.replace(building, final)
    finally:
        shutil.rmtree(building, ignore_errors=True)
