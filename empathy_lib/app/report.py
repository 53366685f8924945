"""What a finished run shows to readers of the repository: executed notebooks, figures, and results tables.

Knows: the markers in README and docs/results.md, which texts of an executed notebook name this machine, and
that of a run on real posts only figures may be shown. Does not know: what a table says (``results``) or how a
figure came about.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import nbformat

from empathy_lib.app.results import CHAINS, ORIGIN, Headline, claim, notebooks_table, results_table
from empathy_lib.core.config import load_profile
from empathy_lib.core.errors import UserError
from empathy_lib.core.files import read_json, write_json, write_text
from empathy_lib.core.run import NOTEBOOKS, ROOT
from empathy_lib.dataset.card import write_card

SAMPLE_ITEMS = 12
READMES = {"README.md": "en", "README.zh-CN.md": "zh-CN"}
# These name a corpus's topics, which are its words.
_NAMES_TOPICS = ("01_topics", "01_sunburst", "05_breakdown")
_KERNEL_FILE = re.compile(r"\S*/ipykernel_\d+/\d+\.py")


def update_block(page: Path, name: str, block: str) -> None:
    """Replace what stands between the markers ``<!-- name:begin -->`` and ``<!-- name:end -->`` of a page.

    Raises:
        UserError: the file or a marker is missing.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise UserError(
            f"{page}: needs the lines {begin} and {end}, once each and in this order; add them where the "
            f"table belongs"
        )
    before, after = text.split(begin)[0], text.split(end)[1]
    write_text(page, f"{before}{begin}\n{block}\n{end}{after}")


def scrub(value: Any, replacements: dict[str, str]) -> Any:
    """``value`` (a notebook, list or text) with every path of this machine replaced, the longest first, in
    all its texts."""
    if isinstance(value, str):
        for old in sorted(replacements, key=len, reverse=True):
            value = value.replace(old, replacements[old]).replace(
                old.encode("unicode_escape").decode("ascii"), replacements[old]
            )
        # the pattern is slow on a figure's base64
        return _KERNEL_FILE.sub("cell.py", value) if "/ipykernel_" in value else value
    if isinstance(value, dict):
        return type(value)({key: scrub(item, replacements) for key, item in value.items()})
    return [scrub(item, replacements) for item in value] if isinstance(value, list) else value


def machine_paths(run_dir: Path, root: Path, profile: str) -> dict[str, str]:
    """The folders that tell where a run was made, each with what a reader may see instead."""
    folders = {run_dir: f"runs/{profile}", Path(sys.prefix): ".venv", root: ".", Path.home(): "~"}
    if os.environ.get("EMPATHY_CACHE"):
        folders[Path(os.environ["EMPATHY_CACHE"])] = "~/.cache/empathy-r1"
    return {str(folder): shown for folder, shown in folders.items() if folder != Path(folder.anchor)}


def publish(run_dir: Path, parameters: dict[str, Any], root: Path = ROOT) -> list[Path]:
    """Copy a complete run into the repository: executed notebooks without machine paths, figures, headline,
    data card, README in both languages. Of a run on a public corpus only figures and headline, below
    ``figures/public/``, and the table of ``docs/results.md``: none of its texts.

    Args:
        run_dir: the run's folder.
        parameters: the papermill parameters of the run; notebooks executed with others are refused.
        root: the repository.

    Returns:
        The paths written.

    Raises:
        UserError: the run is not complete, its posts are real and no licence is named, or a page has no
            markers.
    """
    statistics = read_json(run_dir / "01_dataset" / "statistics.json")
    profile = load_profile(parameters["profile"], parameters["overrides"])
    if not (statistics["synthetic"] or profile.dataset.licence):
        raise UserError(
            f"{run_dir}: holds real posts, of which only figures are published, and only of a public corpus; "
            f"name its licence: --set dataset.licence=…"
        )
    executed = {name: _executed(run_dir / "notebooks" / f"{name}.ipynb", parameters) for name in NOTEBOOKS}
    headline = read_json(run_dir / "headline.json")
    if not statistics["synthetic"]:
        return _publish_figures(run_dir, headline, statistics, profile.dataset.licence, root)
    page = root / "docs" / "results.md"
    update_block(page, "synthetic", results_table(headline))
    for readme, language in READMES.items():
        update_block(root / readme, "notebooks", notebooks_table(headline, language))
        update_block(root / readme, "claim", claim(headline, language))
    target, figures = root / "notebooks" / "executed" / parameters["profile"], root / "figures"
    target.mkdir(parents=True, exist_ok=True)
    replacements = machine_paths(run_dir, root, parameters["profile"])
    replacements["](solutions/"] = "](../../solutions/"  # a copy lies two folders further down
    for name, notebook in executed.items():
        clean = scrub(notebook, replacements)
        clean.metadata.papermill.update(
            input_path=f"notebooks/{name}.ipynb",
            output_path=f"notebooks/executed/{parameters['profile']}/{name}.ipynb",
        )
        write_text(target / f"{name}.ipynb", nbformat.writes(clean) + "\n")
    _copy_figures(run_dir, figures, headline)
    write_card(root / "data", statistics, profile.dataset, profile.seed, files={"train": "sample.jsonl"})
    sample = (
        (run_dir / "01_dataset" / "test.jsonl")
        .read_text(encoding="utf-8")
        .splitlines(keepends=True)[:SAMPLE_ITEMS]
    )
    write_text(root / "data" / "sample.jsonl", "".join(sample))
    return [target, figures, root / "data", page, *(root / readme for readme in READMES)]


def _publish_figures(
    run_dir: Path, headline: Headline, statistics: dict[str, Any], licence: str, root: Path
) -> list[Path]:
    origin = ORIGIN[False].format(
        source=statistics["source"], licence=licence, chains=CHAINS[statistics["annotator"]]
    )
    page, figures = root / "docs" / "results.md", root / "figures" / "public"
    update_block(page, "public", results_table(headline, origin))
    _copy_figures(run_dir, figures, headline, leave_out=_NAMES_TOPICS)
    return [figures, page]


def _copy_figures(run_dir: Path, target: Path, headline: Headline, leave_out: tuple[str, ...] = ()) -> None:
    """Put a run's figures, as PNG and as PDF, in the place of those of the last one."""
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob("0[1-6]_*.p[nd][gf]"):
        old.unlink()
    for figure in sorted((run_dir / "figures").glob("*.p[nd][gf]")):
        if figure.stem not in leave_out:
            shutil.copyfile(figure, target / figure.name)
    write_json(target / "headline.json", headline)


def _executed(path: Path, parameters: dict[str, Any]) -> nbformat.NotebookNode:
    """An executed notebook that ran to its end with these parameters."""
    remedy = "run the same command without --from"
    if not path.is_file():
        raise UserError(f"{path}: this notebook was not executed; {remedy}")
    notebook = nbformat.read(path, as_version=4)
    record = notebook.metadata.get("papermill", {})
    if record.get("exception") or not record.get("end_time"):
        raise UserError(f"{path}: stopped at a failing cell; {remedy}")
    if record.get("parameters") != parameters:
        raise UserError(f"{path}: was executed with other parameters; {remedy}")
    return notebook
