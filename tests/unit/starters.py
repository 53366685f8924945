"""The starter cells of a notebook's exercises, as a reader finds them."""

import json
import re

from empathy_lib.core.run import NOTEBOOKS, ROOT


def starters(notebook: str) -> dict[str, str]:
    """Each exercise's starter cell: ``{"03.1": code, …}``."""
    name = next(name for name in NOTEBOOKS if name.startswith(notebook))
    cells = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    found = [(re.search(r'exercises\.check\("(\d\d\.\d)"', cell), cell) for cell in code]
    return {match.group(1): cell for match, cell in found if match}
