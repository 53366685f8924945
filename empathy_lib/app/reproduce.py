"""Drives papermill over the six notebooks in order: checked first, one progress line each, resumable at any
point.

Knows: the request on the command line, what can be checked before a kernel starts, papermill, how
to resume. Does not know: what a notebook computes or when a stage is reused (``Run.build``). Each
notebook is always executed again; the stages behind it are not, so repeating a command is cheap and gives the
same tables.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import papermill
import zmq
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from jupyter_client import KernelManager
from jupyter_client.kernelspec import NoSuchKernel
from papermill.exceptions import PapermillExecutionError
from rich.console import Console
from traitlets.config import Config

from empathy_lib.app.progress import ProgressLines
from empathy_lib.core.config import HUB, SYNTHETIC, WHEEL, load_profile, local_path, parse_assignments
from empathy_lib.core.errors import UserError
from empathy_lib.core.run import MANIFEST, NOTEBOOKS, ROOT, STAGES, Run, resolve_run_dir
from empathy_lib.core.variant import copy_run
from empathy_lib.dataset.sources import read_source, source_path
from empathy_lib.human_eval.ratings import read_ratings
from empathy_lib.models import vllm, wheel

KERNEL = "python3"
KERNEL_START_SECONDS = 180
IOPUB_SECONDS = 60  # nbclient's 4 seconds are too few on a machine whose cores are all training
_PARENTS = {  # whose stages a notebook reads
    "02": ("01",),
    "03": ("01",),
    "04": ("01", "02", "03"),
    "05": ("01", "02", "03", "04"),
    "06": ("01", "05"),
}
# Messages between driver and kernel are encrypted where libzmq can; without it ipykernel warns once a
# notebook.
_KERNEL_CONFIG = Config(
    {"KernelManager": {"transport_encryption": "auto" if zmq.has("curve") else "disabled"}}
)


class NotebookFailed(Exception):
    """A cell failed with something that is no :class:`UserError`; the message names notebook, cell and
    error."""


@dataclass(frozen=True)
class Request:
    """What the user asked for, as typed. ``first`` and ``last`` are notebook numbers; empty strings mean the
    default."""

    profile: str
    first: str = "01"
    last: str = "06"
    assignments: Sequence[str] = ()
    base_model: str = ""
    data: str = ""
    run_dir: str = ""
    publish: bool = False
    rebuild: Sequence[str] = ()
    from_run: str = ""


@dataclass(frozen=True)
class Plan:
    """A checked request: all paths absolute, notebooks in order."""

    request: Request
    run_dir: Path
    overrides: dict[str, Any]
    notebooks: list[Path]

    @property
    def parameters(self) -> dict[str, Any]:
        """The papermill parameters of every notebook."""
        return {"profile": self.request.profile, "run_dir": str(self.run_dir), "overrides": self.overrides}

    @property
    def executed(self) -> Path:
        """Folder of the executed notebooks."""
        return self.run_dir / "notebooks"

    def command(self, first: str) -> str:
        """The shell command that resumes at notebook ``first``, with every option repeated."""
        python = Path(sys.executable)
        if python.is_relative_to(Path.cwd()):
            python = python.relative_to(Path.cwd())
        words = [
            str(python),
            "-m",
            "empathy_lib",
            "reproduce",
            "--profile",
            self.request.profile,
            "--run-dir",
            str(self.run_dir),
        ]
        for assignment in self.request.assignments:
            words += ["--set", assignment]
        if self.request.base_model:
            words += ["--base-model", self.overrides["base_model.source"]]
        if self.request.data:
            words += ["--data", self.overrides["dataset.data"]]
        words += ["--from", first]
        if self.request.last != "06":
            words += ["--to", self.request.last]
        return shlex.join(words + ["--publish"] * self.request.publish)


def check(request: Request, notebooks: Sequence[Path] | None = None) -> Plan:
    """Check all that is cheap to check before the first kernel starts: profile, fields, data, base model,
    range, kernel.

    Args:
        request: as typed.
        notebooks: the notebooks in order; by default those of ``notebooks/``.

    Raises:
        UserError: the first fault found, a stage that is read but neither finished nor asked for included.
    """
    overrides = parse_assignments(list(request.assignments))
    if request.base_model:
        overrides["base_model.source"] = request.base_model
    if request.data:
        overrides["dataset.data"] = request.data
    profile = load_profile(request.profile, overrides)
    chosen = _chosen(request, notebooks or [ROOT / "notebooks" / f"{name}.ipynb" for name in NOTEBOOKS])
    if profile.dataset.data.startswith(HUB):
        _hub_id("data", profile.dataset.data.removeprefix(HUB).partition(":")[0], SYNTHETIC)
    elif profile.dataset.data != SYNTHETIC:
        overrides["dataset.data"] = str(source_path(profile.dataset).resolve())
        try:
            read_source(profile.dataset, profile.seed)
        except OSError as error:
            raise UserError(
                f"{error.filename}: cannot be read ({error.strerror}); check its permissions"
            ) from error
    vllm.check_installed(profile.grpo)
    if profile.base_model.source == WHEEL:
        wheel.parts()
    else:
        overrides["base_model.source"] = _base_model(profile.base_model.source)
    if profile.human_eval.ratings:
        ratings = Path(profile.human_eval.ratings).expanduser().resolve()
        if not ratings.is_file():
            raise UserError(
                f"{ratings}: no such file (field human_eval.ratings); give a CSV of "
                f"rater,item,dimension,system,rank"
            )
        read_ratings(ratings)  # a bad header or rank shows now, not in notebook 06
        overrides["human_eval.ratings"] = str(ratings)
    for path in chosen:
        if not path.is_file():
            raise UserError(f"{path}: no such notebook; restore it with: git checkout -- notebooks")
    problem = kernel_problem()
    if problem:
        raise UserError(problem)
    if request.from_run and not request.run_dir:
        raise UserError("--from-run copies a run into another folder; name that with --run-dir")
    try:
        if request.from_run:
            copy_run(resolve_run_dir(request.from_run), resolve_run_dir(request.run_dir))
        run_dir = Run.open(request.profile, request.run_dir, overrides, request.rebuild).path.resolve()
        (run_dir / "notebooks").mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(
            f"run folder {error.filename}: {error.strerror}; give a folder that can be written with --run-dir"
        ) from error
    plan = Plan(request, run_dir, overrides, chosen)
    _check_parents(plan)
    return plan


def _check_parents(plan: Plan) -> None:
    """Whether what the notebooks read is there or will be; the notebook itself knows neither data nor
    ``--set``."""
    numbers = {path.name[:2] for path in plan.notebooks}
    needed = {parent for number in numbers for parent in _PARENTS.get(number, ())} - numbers
    for stage in STAGES:  # in order, so that the first one missing makes all that follow
        number = stage[:2]
        if number in needed and not (plan.run_dir / stage / MANIFEST).is_file():
            raise UserError(
                f"--from {plan.request.first}: {plan.run_dir} has no finished stage {stage}, which it reads; "
                f"run: {plan.command(number)}"
            )


def _chosen(request: Request, notebooks: Sequence[Path]) -> list[Path]:
    numbers = [path.name[:2] for path in notebooks]
    for option, number in (("--from", request.first), ("--to", request.last)):
        if number not in numbers:
            raise UserError(f"{option} {number}: no such notebook; use one of {', '.join(numbers)}")
    if request.first > request.last:
        raise UserError(
            f"--from {request.first} --to {request.last}: nothing to run; --from must not come after --to"
        )
    if request.publish and request.last != numbers[-1]:
        raise UserError(f"--publish needs a complete run; leave out --to {request.last}")
    return [
        path
        for path, number in zip(notebooks, numbers, strict=True)
        if request.first <= number <= request.last
    ]


def _base_model(source: str) -> str:
    """A local folder as an absolute path, a hub id as it is; whether the hub has it shows when it is
    fetched."""
    if local := local_path(source):
        if not (local / "config.json").is_file():
            fault = "no config.json in it" if local.is_dir() else "no such folder"
            raise UserError(
                f"base model {source}: {fault}; give a folder in the hub's layout, a hub id, or '{WHEEL}'"
            )
        return str(local.resolve())
    _hub_id("base model", source, WHEEL)
    return source


def _hub_id(what: str, name: str, own: str) -> None:
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise UserError(
            f"{what} {name}: no folder and no hub id; write owner/name, a folder's path, or '{own}'"
        ) from error


def kernel_problem(name: str = KERNEL) -> str:
    """Empty if the notebooks' kernel runs in this very environment, else one line with the remedy."""
    remedy = f"remedy: {shlex.quote(sys.executable)} -m ipykernel install --sys-prefix"
    try:
        # resolves a bare "python" as jupyter does
        command = KernelManager(kernel_name=name).format_kernel_cmd()
    except NoSuchKernel:
        return f"Jupyter kernel '{name}' is not installed; {remedy}"
    try:
        asked = subprocess.run(
            [command[0], "-c", "import sys; print(sys.prefix)"],
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"Jupyter kernel '{name}' cannot start {command[0]} ({type(error).__name__}); {remedy}"
    if Path(asked.stdout.strip()).resolve() != Path(sys.prefix).resolve():
        return f"Jupyter kernel '{name}' runs {command[0]}, not this environment ({sys.prefix}); {remedy}"
    return ""


def execute(notebook: Path, output: Path, parameters: dict[str, Any], progress: ProgressLines) -> None:
    """Execute one notebook with papermill; ``output`` appears in one step, whole or up to the failing cell.

    Raises:
        UserError: a cell raised one; the message is the cell's.
        NotebookFailed: a cell raised anything else, or the kernel died.
    """
    cells = nbformat.read(notebook, as_version=4).cells
    progress.start(
        notebook.stem, 1 + sum(cell.cell_type == "code" and bool(cell.source.strip()) for cell in cells)
    )
    partial = output.with_name(f".{output.stem}.running.ipynb")
    try:
        papermill.execute_notebook(
            _literal(notebook),
            _literal(partial),
            parameters=parameters,
            kernel_name=KERNEL,
            progress_bar=False,
            cwd=notebook.parent,
            start_timeout=KERNEL_START_SECONDS,
            iopub_timeout=IOPUB_SECONDS,
            config=_KERNEL_CONFIG,
            on_cell_execute=progress.cell,
        )
    except PapermillExecutionError as error:
        progress.end("failed")
        os.replace(partial, output)
        if error.ename == "UserError":
            raise UserError(error.evalue) from error
        raise NotebookFailed(
            f"{notebook.name}, In [{error.exec_count}]: {error.ename}: {error.evalue}"
        ) from error
    except (RuntimeError, TimeoutError) as error:  # nbclient: the kernel died, or never answered
        progress.end("failed")
        os.replace(partial, output)
        raise NotebookFailed(
            f"{notebook.name}: {error}; when a kernel dies, most often the machine is out of memory"
        ) from error
    except KeyboardInterrupt:
        progress.end("interrupted")
        partial.unlink(missing_ok=True)
        raise
    os.replace(partial, output)
    progress.end("done")


def _literal(path: Path) -> str:
    """papermill reads braces in a path as format fields."""
    return str(path).replace("{", "{{").replace("}", "}}")


def reproduce(plan: Plan, console: Console) -> None:
    """Run the plan's notebooks in order; on a failure or Ctrl-C say where it stopped and the command that
    resumes there.

    Raises:
        UserError, NotebookFailed: from :func:`execute`.
        KeyboardInterrupt: after the kernel has been shut down.
    """

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    say(f"profile {plan.request.profile}, run folder {plan.run_dir}")
    # kernels inherit it: a library that walks over a set then draws a figure the same way each time
    os.environ.setdefault("PYTHONHASHSEED", "0")
    progress = ProgressLines(console)
    reached = plan.notebooks[0]
    try:
        with progress.live:
            for reached in plan.notebooks:
                execute(reached, plan.executed / reached.name, plan.parameters, progress)
    except (UserError, NotebookFailed, KeyboardInterrupt) as stop:
        if not isinstance(stop, KeyboardInterrupt):
            say(f"executed up to the failing cell: {plan.executed / reached.name}")
        say(f"resume with: {plan.command(reached.name[:2])}")
        raise
    say(f"executed notebooks: {plan.executed}")
