"""Is this machine ready? One check a line, each with its remedy.

Knows: what a run needs of Python, packages, hardware, disk, base model, kernel and font. Does not know: what
a run does with them. The limits are what the ``smoke`` and ``laptop`` profiles need (our measure); ``gpu``
and ``paper`` need far more.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from packaging.version import Version
from rich.console import Console
from rich.table import Table
from rich.text import Text

from empathy_lib.core.config import WHEEL, load_profile
from empathy_lib.core.errors import UserError
from empathy_lib.core.files import cache_dir
from empathy_lib.core.run import ROOT

LOCK = ROOT / "requirements.lock"
MIN_MEMORY_GIB, MIN_DISK_GIB = 6, 5
LAPTOP_MEMORY_GIB = {"bfloat16": 7, "float32": 9}  # the peaks in docs/cost.md, and room for the system


@dataclass(frozen=True)
class Check:
    """One line: ``ok`` is what was found true; a check that is not ``needed`` only advises."""

    name: str
    ok: bool
    found: str
    remedy: str = ""
    needed: bool = True


def check_python() -> Check:
    """An interpreter that the lock file resolves for."""
    remedy = "install Python 3.11, 3.12 or 3.13 and run: make clean setup"
    fits = (3, 11) <= sys.version_info[:2] <= (3, 13)
    return Check("Python", fits, f"{sys.version.split()[0]} at {sys.executable}", remedy)


def check_packages(lock: Path = LOCK) -> Check:
    """Installed versions against the lock file; a build suffix such as ``+cpu`` is no difference."""
    pins = [line.split("==") for line in lock.read_text(encoding="utf-8").splitlines() if "==" in line]
    wrong = []
    for name, version in pins:
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{name} missing")
            continue
        if Version(installed).public != version:
            wrong.append(f"{name} {installed}, locked {version}")
    found = f"{len(pins) - len(wrong)} of {len(pins)} as locked" + (
        f" ({'; '.join(wrong[:4])}{' …' * (len(wrong) > 4)})" if wrong else ""
    )
    return Check("Packages", not wrong, found, "run: make setup; it still fails: make clean setup")


def check_cores() -> Check:
    """Logical cores that this process may use."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Check(
        "Cores",
        count >= 2,
        str(count),
        "the time budgets are for 2 cores; expect twice the time",
        needed=False,
    )


def check_memory() -> Check:
    """Total memory against the least for any run."""
    total = psutil.virtual_memory().total / 2**30
    remedy = f"at least {MIN_MEMORY_GIB} GiB are needed; use a larger machine"
    return Check("Memory", total >= MIN_MEMORY_GIB, f"{total:.1f} GiB", remedy)


def _arithmetic() -> str:
    """Name of the type in which this machine trains and generates."""
    from empathy_lib.models.base import working_dtype

    return str(working_dtype()).removeprefix("torch.")


def check_free_memory() -> Check:
    """Free memory against the laptop profile's, by the arithmetic that this machine does."""
    dtype = _arithmetic()
    free, wanted = psutil.virtual_memory().available / 2**30, LAPTOP_MEMORY_GIB[dtype]
    remedy = (
        f"the laptop profile may need {wanted} GiB in {dtype}; close other programs, or lower "
        f"grpo.tokens_per_pass and generation.batch_size"
    )
    return Check("Memory free", free >= wanted, f"{free:.1f} GiB", remedy, needed=False)


def check_gpu() -> Check:
    """An accelerator; only ``gpu`` and ``paper`` need one."""
    import torch

    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        return Check(
            "GPU",
            True,
            f"{torch.cuda.device_count()} × {card.name}, {card.total_memory / 2**30:.0f} GiB",
            needed=False,
        )
    if torch.backends.mps.is_available():
        return Check("GPU", True, "Apple MPS", needed=False)
    remedy = "none is needed, but for gpu and paper; for these install a driver and a CUDA build of torch"
    return Check("GPU", False, f"none (torch {torch.__version__})", remedy, needed=False)


def check_arithmetic() -> Check:
    """Whether training and generation run in bfloat16, or in float32 for want of hardware that multiplies
    it."""
    from empathy_lib.models.base import device

    dtype = _arithmetic()
    found = f"{dtype} on {device().type}"
    remedy = (
        "the time budgets are for a CPU with AVX512 or a GPU; this one multiplies no bfloat16: expect up to "
        "twice as long"
    )
    return Check("Arithmetic", dtype == "bfloat16", found, remedy, needed=False)


def check_disk(name: str, folder: Path, remedy: str) -> Check:
    """Free space where ``folder`` lies or will lie, and whether it can be written."""
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(place).free / 2**30
    writable = os.access(place, os.W_OK)
    found = f"{free:.0f} GiB free" + ("" if writable else ", not writable") + f" at {folder}"
    return Check(
        name,
        writable and free >= MIN_DISK_GIB,
        found,
        f"{MIN_DISK_GIB} GiB are needed; free some, or {remedy}",
    )


def check_base_model() -> list[Check]:
    """The pinned wheel's parts, and what is already prepared in the cache."""
    from empathy_lib.models import wheel

    try:
        installed = Check("Base-model wheel", True, f"{len(wheel.parts())} parts of {wheel.PACKAGE}")
    except UserError as error:
        installed = Check("Base-model wheel", False, *_split(error))
    bases = cache_dir() / "bases"
    prepared = [path for path in bases.glob("*") if (path / "config.json").is_file()]
    found = f"{len(prepared)} at {bases}"
    return [
        installed,
        Check(
            "Prepared bases",
            bool(prepared),
            found,
            "none yet: notebook 02 prepares one (a minute)",
            needed=False,
        ),
    ]


def check_kernel() -> Check:
    """The notebooks' kernel is this environment's."""
    from empathy_lib.app.reproduce import KERNEL, kernel_problem

    problem = kernel_problem()
    if problem:
        return Check(f"Kernel {KERNEL}", False, *_split(UserError(problem)))
    return Check(f"Kernel {KERNEL}", True, f"runs {sys.prefix}")


def check_font() -> Check:
    """The figures' Chinese font."""
    from empathy_lib.core.style import use_style

    try:
        use_style()
    except UserError as error:
        return Check("Chinese font", False, *_split(error))
    return Check("Chinese font", True, "Noto Sans CJK of mplfonts")


def _split(error: UserError) -> tuple[str, str]:
    """What is wrong, and the remedy, of a message ``…; remedy``."""
    what, _, remedy = str(error).partition("; ")
    return what, remedy.removeprefix("remedy: ")


def report_plan(name: str, card: str, overrides: dict[str, Any], console: Console | None = None) -> int:
    """Print what each stage of a profile needs of a card, estimated; 1 if any does not fit, else 0.

    Raises:
        UserError: no such profile or card, or the base's configuration cannot be read.
    """
    from empathy_lib.models import plan

    profile = load_profile(name, overrides)
    if profile.base_model.source == WHEEL:
        raise UserError(
            f"profile {name}: runs on a CPU; its minutes and peaks are measured: docs/results.md. To plan "
            "for a card, give a base: --set base_model.source=…"
        )
    card = card or plan.CARD_OF.get(name, "A100-80")
    if card not in plan.CARDS:
        raise UserError(f"--card {card}: not known; use one of {', '.join(plan.CARDS)}")
    here, base = plan.CARDS[card], profile.base_model
    shape = plan.shape_of(plan.config_of(base.source, base.revision))
    found = plan.needs(profile, shape, here)
    title = f"{name} on one {card} ({here.memory:g} GiB), base {base.source}, estimated, not measured"
    table = Table(title=title, title_justify="left")
    for column in ("", "Stage", "weights", "optimizer", "activations", "cache", "GiB", "hours"):
        table.add_column(column, justify="left" if column in ("", "Stage") else "right")
    large = {stage: need for stage, need in found.items() if need.total > here.memory}
    for stage, need in found.items():
        mark = Text("TOO LARGE", "bold red") if stage in large else Text("ok", "green")
        numbers = (need.weights, need.optimizer, need.activations, need.cache, need.total, need.hours)
        table.add_row(mark, Text(stage), *(Text(f"{number:.1f}") for number in numbers))
    console = console or Console()
    console.print(table)
    for stage, need in large.items():
        most = max(("weights", "optimizer", "activations", "cache"), key=lambda part: getattr(need, part))
        console.print(f"{stage}: most of it is {most}; {plan.REMEDIES[most]}", highlight=False)
    return int(bool(large))


def run_checks() -> list[Check]:
    """All checks, in the order shown. A missing package that a check itself needs fails that check, not the
    doctor."""
    runs = Path(os.environ.get("EMPATHY_RUNS", ROOT / "runs"))
    cache = cache_dir()
    tasks: list[tuple[str, Callable[[], Check | list[Check]]]] = [
        ("Python", check_python),
        ("Packages", check_packages),
        ("Cores", check_cores),
        ("Memory", check_memory),
        ("Memory free", check_free_memory),
        ("GPU", check_gpu),
        ("Arithmetic", check_arithmetic),
        ("Disk for runs", lambda: check_disk("Disk for runs", runs, "set EMPATHY_RUNS to another folder")),
        (
            "Disk for cache",
            lambda: check_disk("Disk for cache", cache, "set EMPATHY_CACHE to another folder"),
        ),
        ("Base-model wheel", check_base_model),
        ("Kernel", check_kernel),
        ("Chinese font", check_font),
    ]
    checks: list[Check] = []
    for name, task in tasks:
        try:
            done = task()
        except ImportError as error:
            done = Check(name, False, str(error), "run: make setup")
        checks += done if isinstance(done, list) else [done]
    return checks


def report(checks: list[Check], console: Console | None = None) -> int:
    """Print the table; return the exit status: 1 if a needed check failed, else 0."""
    table = Table(title="empathy_lib doctor", title_justify="left")
    for column in ("", "Check", "Found", "Remedy"):
        table.add_column(column, overflow="fold")
    for check in checks:
        mark = (
            Text("ok", "green")
            if check.ok
            else Text("FAILED", "bold red")
            if check.needed
            else Text("note", "yellow")
        )
        table.add_row(mark, Text(check.name), Text(check.found), Text("" if check.ok else check.remedy))
    (console or Console()).print(table)
    return int(any(check.needed and not check.ok for check in checks))
