"""A variant of a finished run: its stages copied at no cost, to be changed from some notebook on.

Knows: run folders. Does not know: what is changed in the variant.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from empathy_lib.core.config import Profile
from empathy_lib.core.errors import UserError
from empathy_lib.core.files import read_json, write_json
from empathy_lib.core.run import RATINGS, Run


def copy_run(source: Path, target: Path) -> list[str]:
    """Copy a run's finished stages as hard links (files elsewhere): a variant costs no room and no time.

    A stage is never changed in place, only replaced, so the copy and the original stay apart. What people
    rated stays with the original. A copy cut short is begun anew; a second one finds the first and leaves it.

    Returns:
        The stages copied; none if ``target`` is a copy of ``source`` already.

    Raises:
        UserError: ``source`` holds no finished stage, or ``target`` holds something else.
    """
    note, whole = target / "copied_from.json", Run(Profile(name="copied"), source)
    if note.is_file() and read_json(note)["source"] == str(source):
        return []
    if target.exists() and any(target.iterdir()):
        raise UserError(f"{target}: is there and no copy of {source}; give a new folder with --run-dir")
    names = [name for name in whole.stages() if not (source / name / RATINGS).exists()]
    if not names:
        raise UserError(f"{source}: holds no finished stage; give the folder of a run with --from-run")
    half = target.with_name(f".{target.name}.copying")
    shutil.rmtree(half, ignore_errors=True)
    for name in names:
        shutil.copytree(source / name, half / name, copy_function=_link)
    if (source / "headline.json").is_file():
        shutil.copy2(source / "headline.json", half / "headline.json")
    write_json(half / note.name, {"source": str(source), "stages": names})
    if target.exists():
        target.rmdir()
    os.replace(half, target)
    return names


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, target)
