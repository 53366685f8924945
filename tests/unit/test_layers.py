"""The picture of the tree holds: arrows point one way, and what only some need is met by them alone."""

import ast
import json
import re
import shutil
import subprocess
import sys

import pytest

from empathy_lib.core.errors import UserError, extra
from empathy_lib.core.run import NOTEBOOKS, ROOT

EXTRAS = ("starlette", "uvicorn", "python_multipart", "openai", "datatrove")
ENGINE = ("attention", "compiling", "decoding", "vocabulary", "wheel")
LINT = "from importlinter.cli import lint_imports_command as run; run()"


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("core/errors.py", "", ""),
        ("core/errors.py", "from empathy_lib.app import cli", "Layers"),
        ("dataset/store.py", "def f():\n    from empathy_lib.models import base", "Layers"),
        ("human_eval/design.py", "from empathy_lib.human_eval.run import store", "The rating service"),
        ("metrics/judge.py", "import openai", "Extras"),
    ],
)
def test_an_import_that_points_upward_breaks_a_contract_by_name(tmp_path, file, line, contract):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "empathy_lib", tmp_path / "empathy_lib")
    with (tmp_path / "empathy_lib" / file).open("a") as handle:
        handle.write(f"\n\n{line}\n")
    done = subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == bool(contract), done.stdout + done.stderr
    assert not contract or re.search(rf"^{contract}[^\n]*(\n[^\n]+)? BROKEN", done.stdout, re.MULTILINE), (
        done.stdout
    )


def imports_of(notebook: str) -> str:
    cells = json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    nodes = ast.walk(ast.parse(code))
    return "\n".join(ast.unparse(node) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom))


def test_notebooks_need_no_extra():
    """All imports of all notebooks, in a process that has no extra installed."""
    lines = "\n".join(imports_of(name) for name in NOTEBOOKS)
    assert lines.count("empathy_lib") > 40
    hidden = "".join(f"sys.modules[{name!r}] = None\n" for name in EXTRAS)
    code = f"import sys\n{hidden}{lines}\nprint([name for name in sys.modules if 'empathy_lib' in name])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "human_eval.run" not in done.stdout


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_no_notebook_imports_the_engine_or_the_rating_service(name):
    lines = imports_of(name)
    assert "human_eval.run" not in lines
    assert not [part for part in lines.splitlines() if ".models" in part and any(e in part for e in ENGINE)]


def test_a_missing_extra_is_named_with_its_command():
    with pytest.raises(UserError, match=r"'no_such_package' is not installed; .*\[rate\]"), extra("rate"):
        import no_such_package  # noqa: F401
