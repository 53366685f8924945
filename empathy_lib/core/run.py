"""Run folders: where a stage's artefact lies, when it is whole, and when it may be reused.

Knows: run folder, manifest, atomic rename, request hashes, seeded generators, the headline file.
Does not know: what any stage computes.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import math
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from empathy_lib import __version__
from empathy_lib.core.config import HUB, SYNTHETIC, Profile, load_profile
from empathy_lib.core.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
STAGES = ("01_dataset", "02_sft", "03_reward", "04_grpo", "05_metrics", "06_human_eval")
NOTEBOOKS = (
    "01_dataset_construction",
    "02_coe_sft",
    "03_reward_model",
    "04_grpo",
    "05_automatic_metrics",
    "06_human_eval",
)
MANIFEST = "manifest.json"
RATINGS = "ratings.sqlite"  # ratings of people, the one thing in a run that no notebook can make again
_VERSIONS = ("torch", "transformers", "trl", "peft", "datasets", "sentence-transformers", "numpy")


def digest(value: Any) -> str:
    """Sixteen hex digits of the SHA-256 of a JSON-able value."""
    return hashlib.sha256(
        json.dumps(value, sort_keys=True, ensure_ascii=False, default=str).encode()
    ).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """SHA-256 of a file, or of all files below a folder (names included)."""
    path = Path(path)
    if not path.exists():  # a hash of nothing would look like any other
        raise UserError(f"{path}: no such file or folder; check the path")
    total = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        total.update(str(file.relative_to(path)).encode())
        with file.open("rb") as handle:
            total.update(hashlib.file_digest(handle, "sha256").digest())
    return total.hexdigest()


def cache_dir() -> Path:
    """Folder of what several runs share (trimmed bases, the teacher's replies): ``$EMPATHY_CACHE``, else
    ``~/.cache/empathy-r1``."""
    return Path(os.environ.get("EMPATHY_CACHE") or Path.home() / ".cache" / "empathy-r1")


def generator(seed: int, purpose: str) -> np.random.Generator:
    """A generator of its own for each (seed, purpose), so that a new draw in one place changes no other."""
    return np.random.default_rng([seed, *hashlib.sha256(purpose.encode()).digest()[:8]])


def write_text(path: Path, text: str, *, private: bool = False) -> None:
    """Write UTF-8 text so that a reader sees the old file or the new one, never half of one; ``private``:
    only its owner can read it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    mode = 0o600 if private else 0o666
    with open(
        temporary, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, mode)
    ) as handle:
        handle.write(text)
    os.replace(temporary, path)


def write_json(path: Path, value: Any) -> None:
    """Write JSON as :func:`write_text` does."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON; :class:`UserError` names the file if it is missing or broken."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(
            f"{path}: no such file; run the notebook that writes it first (see README, 'The map')"
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text; delete it and run its notebook again") from error
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}, line {error.lineno}: not valid JSON; delete it and run its notebook again"
        ) from error


def peak_gib() -> float:
    """Peak resident memory of this process so far, in GiB (plus GPU peak where one is used)."""
    unit = 1 if sys.platform == "darwin" else 1024
    torch = sys.modules.get("torch")  # a process that never imported it has used no GPU
    gpu = torch.cuda.max_memory_allocated() if torch and torch.cuda.is_available() else 0
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit + gpu) / 2**30


@dataclass
class Stage:
    """A stage being built (write into ``path``) or reused."""

    path: Path
    reused: bool


@dataclass
class Run:
    """One run of the six notebooks: its profile and its folder."""

    profile: Profile
    path: Path

    @classmethod
    def open(cls, profile: str, run_dir: str = "", overrides: dict[str, Any] | None = None) -> Run:
        """Open (and create) the run folder; the default is ``runs/<profile>/`` in the repository, with own
        data ``runs/<profile>-<name of the data>/``."""
        loaded = load_profile(profile, overrides)
        base = Path(os.environ.get("EMPATHY_RUNS", ROOT / "runs"))
        source = loaded.dataset.data
        own = Path(source.removeprefix(HUB)).stem
        # own data never replaces the synthetic run
        name = profile if source == SYNTHETIC else f"{profile}-{own}"
        path = Path(run_dir).expanduser().resolve() if run_dir else base / name
        path.mkdir(parents=True, exist_ok=True)
        return cls(loaded, path)

    def rng(self, purpose: str) -> np.random.Generator:
        """The run's generator for one purpose."""
        return generator(self.profile.seed, purpose)

    def stage(self, name: str) -> Path:
        """Folder of a finished stage.

        Raises:
            UserError: the stage has no manifest, so it was never finished.
        """
        folder = self.path / name
        if not (folder / MANIFEST).is_file():
            number = name[:2]
            where = "" if self.path == ROOT / "runs" / self.profile.name else f" --run-dir '{self.path}'"
            raise UserError(
                f"{folder}: stage {number} is not finished; run notebook {number} first, or: "
                f"python -m empathy_lib reproduce --profile {self.profile.name} --from {number} --to "
                f"{number}{where}"
            )
        return folder

    def request(self, name: str, config: BaseModel | dict, inputs: list[str]) -> str:
        """Hash of all that decides a stage's result: its config, the seed, the library's version and its
        inputs' own requests."""
        body = config.model_dump() if isinstance(config, BaseModel) else config
        parents = {parent: read_json(self.stage(parent) / MANIFEST)["request"] for parent in inputs}
        return digest(
            {
                "stage": name,
                "version": __version__,
                "config": body,
                "seed": self.profile.seed,
                "inputs": parents,
            }
        )

    @contextlib.contextmanager
    def build(self, name: str, config: BaseModel | dict, inputs: list[str] | None = None) -> Iterator[Stage]:
        """Build a stage, or reuse it if an identical request has finished.

        Use as ``with run.build("03_reward", config, ["01_dataset"]) as stage: if not stage.reused: …``.
        The folder is ``<name>.building`` until the block ends without an error; checkpoints left there by a
        killed run of the same request are kept, those of another request are removed.
        """
        request = self.request(name, config, inputs or [])
        final, building = self.path / name, self.path / f"{name}.building"
        manifest, made = final / MANIFEST, building / MANIFEST
        # killed between its manifest and its rename
        if made.is_file() and read_json(made)["request"] == request:
            _replace_folder(building, final)
        if manifest.is_file() and read_json(manifest)["request"] == request:
            yield Stage(final, True)
            return
        marker = building / "request.txt"
        if building.exists() and (not marker.is_file() or marker.read_text() != request):
            shutil.rmtree(building)
        building.mkdir(parents=True, exist_ok=True)
        if not marker.is_file():
            temporary = building / "request.tmp"
            temporary.write_text(request)
            os.replace(temporary, marker)
        started = time.monotonic()
        stage = Stage(building, False)
        yield stage
        write_json(
            building / MANIFEST,
            {
                "stage": name,
                "request": request,
                "config": config.model_dump() if isinstance(config, BaseModel) else config,
                "seed": self.profile.seed,
                "inputs": inputs or [],
                "versions": {package: importlib.metadata.version(package) for package in _VERSIONS},
                "git_commit": git_commit(),
                "wall_minutes": (time.monotonic() - started) / 60,
                "peak_gib": peak_gib(),
            },
        )
        _replace_folder(building, final)
        stage.path = final

    def cost(self, notebook: str, *stages: str) -> dict[str, dict[str, Any]]:
        """Headline entries ``wall_minutes.<notebook>`` and ``peak_gib.<notebook>`` from the manifests of what
        it built.

        Minutes are those of building the artefacts (after a kill: since the last resume), so a reused
        artefact keeps what it once cost; loading and plotting are not in them.
        """
        manifests = [read_json(self.stage(stage) / MANIFEST) for stage in stages]
        return {
            f"wall_minutes.{notebook}": {
                "value": sum(m["wall_minutes"] for m in manifests),
                "n": 1,
                "unit": "minutes",
            },
            f"peak_gib.{notebook}": {"value": max(m["peak_gib"] for m in manifests), "n": 1, "unit": "GiB"},
        }

    def headline(self, notebook: str, figures: dict[str, dict[str, Any]]) -> None:
        """Merge figures into ``headline.json``: ``{key: {value, interval, n, unit}}`` and whatever else an
        entry says; the notebook's name is added."""
        path = self.path / "headline.json"
        known = read_json(path) if path.is_file() else {}
        known = {key: entry for key, entry in known.items() if entry["notebook"] != notebook}
        for key, entry in figures.items():
            value, interval = entry.get("value"), entry.get("interval")
            known[key] = {
                "value": None,
                "interval": None,
                "n": None,
                "unit": "",
                **entry,
                "notebook": notebook,
            }
            known[key]["value"] = None if value is None or math.isnan(value) else value
            known[key]["interval"] = None if interval is None or any(map(math.isnan, interval)) else interval
        write_json(path, dict(sorted(known.items())))


def _replace_folder(new: Path, old: Path) -> None:
    """Put ``new`` in the place of ``old``; a kill half-way leaves no folder that looks whole but is not."""
    if (old / RATINGS).exists():
        raise UserError(
            f"{old / RATINGS}: building this stage anew would delete what people rated; move the folder out "
            f"of the run first"
        )
    if old.exists():
        (old / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(old)
    os.replace(new, old)
    (old / "request.txt").unlink(missing_ok=True)


def git_commit() -> str:
    """The commit the code stands at, with ``+`` where the tree has changes; ``unknown`` outside a
    checkout."""
    try:
        head, changes = (
            subprocess.run(
                ["git", *words], cwd=ROOT, capture_output=True, text=True, check=True
            ).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "-uno"])
        )
        return head + ("+" if changes else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
