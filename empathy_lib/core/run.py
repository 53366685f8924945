"""Run folders: where a stage's artefact lies, when it is whole, and when it may be reused.

Knows: run folder, manifest, atomic rename, requests, seeded generators, the headline file.
Does not know: what any stage computes, how content becomes a hash (``identity``), or how a single file is
written (``files``).

A stage is asked for by a *request*: its configuration, the seed, the content that it is built from (items,
pairs, a reward function, as they are in the cell that asks), and what the stages that it reads hold. So
whatever a reader changes changes the result; a stage asked for as before is reused, and says so.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import math
import os
import resource
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from empathy_lib import __version__
from empathy_lib.core.config import HUB, SYNTHETIC, Profile, load_profile
from empathy_lib.core.errors import UserError
from empathy_lib.core.files import read_json, write_json
from empathy_lib.core.identity import code_digest, digest, file_digest, git_commit

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
# Of a stage's files these hold times: they are no part of what it is.
_ACCOUNTS = frozenset({MANIFEST, "request.txt", "log.jsonl", "report.json", "tensorboard"})
# A stage's number to the last package whose code it runs.
_PACKAGES = {"01": "dataset", "02": "sft", "03": "reward", "04": "grpo", "05": "metrics", "06": "human_eval"}
_VERSIONS = ("torch", "transformers", "trl", "peft", "datasets", "sentence-transformers", "numpy")


def generator(seed: int, purpose: str) -> np.random.Generator:
    """A generator of its own for each (seed, purpose), so that a new draw in one place changes no other."""
    return np.random.default_rng([seed, *hashlib.sha256(purpose.encode()).digest()[:8]])


def peak_gib() -> float:
    """Peak resident memory so far of this process, or of the largest that it started and waited for, in GiB
    (plus this process' GPU peak where one is used)."""
    unit = 1 if sys.platform == "darwin" else 1024
    torch = sys.modules.get("torch")  # a process that never imported it has used no GPU
    gpu = torch.cuda.max_memory_allocated() if torch and torch.cuda.is_available() else 0
    largest = max(
        resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return (largest * unit + gpu) / 2**30


@dataclass
class Stage:
    """A stage being built (write into ``path``) or reused."""

    path: Path
    reused: bool


def resolve_run_dir(text: str) -> Path:
    """A relative run folder means the same from anywhere in the checkout, its ``notebooks/`` too: it starts
    at the checkout's root. Outside a checkout it starts where the command was given."""
    path, here = Path(text).expanduser(), Path.cwd()
    return ((ROOT if here.is_relative_to(ROOT) else here) / path).resolve()


@dataclass
class Run:
    """One run of the six notebooks: its profile and its folder."""

    profile: Profile
    path: Path
    say: Callable[[str], None] = print  # where a line goes that tells what was built or reused
    overrides: Mapping[str, Any] = field(default_factory=dict)  # of the profile, as they were given

    @classmethod
    def open(
        cls,
        profile: str,
        run_dir: str = "",
        overrides: dict[str, Any] | None = None,
        rebuild: Sequence[str] = (),
    ) -> Run:
        """Open (and create) the run folder; the default is ``runs/<profile>/`` in the repository, with own
        data ``runs/<profile>-<name of the data>/``.

        Args:
            rebuild: stages to build anew although nothing of their request has changed, such as ``02_sft``,
                or all of a notebook's, such as ``02``.

        Raises:
            UserError: as :func:`load_profile` and :meth:`discard`.
        """
        loaded = load_profile(profile, overrides)
        base = Path(os.environ.get("EMPATHY_RUNS", ROOT / "runs"))
        source = loaded.dataset.data
        own = Path(source.removeprefix(HUB)).stem
        # own data never replaces the synthetic run
        name = profile if source == SYNTHETIC else f"{profile}-{own}"
        path = resolve_run_dir(run_dir) if run_dir else base / name
        path.mkdir(parents=True, exist_ok=True)
        run = cls(loaded, path, overrides=overrides or {})
        run.discard(rebuild)
        return run

    def stages(self) -> list[str]:
        """Names of the finished stages."""
        found = (path.parent.relative_to(self.path) for path in self.path.glob(f"**/{MANIFEST}"))
        return sorted(str(name) for name in found if not str(name).endswith(".building"))

    def discard(self, names: Iterable[str]) -> None:
        """Take stages for unfinished from now on; their folders stay until a new build replaces them.

        Raises:
            UserError: no such stage, or one that holds what people rated.
        """
        built = self.stages()
        for name in names:
            chosen = [stage for stage in built if stage == name or stage.startswith(f"{name}_")]
            if not chosen and name not in (*STAGES, *_PACKAGES):
                raise UserError(
                    f"rebuild '{name}': no such stage; use a number from 01 to 06, or one of "
                    f"{', '.join(built) or ', '.join(STAGES)}"
                )
            for stage in chosen:
                _refuse_to_lose_ratings(self.path / stage)
                (self.path / stage / MANIFEST).unlink()

    def manifest(self, name: str) -> dict[str, Any]:
        """What a finished stage says of itself; ``content`` holds ``{"digest", "n"}`` of what it was built
        from.

        Raises:
            UserError: the stage is not finished.
        """
        return read_json(self.stage(name) / MANIFEST)

    def identity(self) -> str:
        """For a digest of a function that names a run: where the run lies is no part of what it does, and
        what it takes from it stands in the requests of its stages."""
        return "run"

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
            words = ["python", "-m", "empathy_lib", "reproduce", "--profile", self.profile.name]
            if self.path != ROOT / "runs" / self.profile.name:
                words += ["--run-dir", str(self.path)]
            for key, value in self.overrides.items():
                words += ["--set", f"{key}={json.dumps(value, ensure_ascii=False)}"]
            raise UserError(
                f"{folder}: stage {number} is not finished; run notebook {number} first, or: "
                f"{shlex.join([*words, '--from', number])}"
            )
        return folder

    def request(
        self,
        name: str,
        config: BaseModel | dict,
        inputs: Sequence[str] = (),
        content: Mapping[str, Any] | None = None,
    ) -> str:
        """Hash of all that decides a stage's result; see :meth:`build`."""
        return digest(self._request(name, config, inputs, _described(content or {})))

    def _request(
        self, name: str, config: BaseModel | dict, inputs: Sequence[str], content: dict[str, dict]
    ) -> dict[str, Any]:
        # a stage from before identities were kept has none: whatever it holds is another
        parents = {parent: self.manifest(parent).get("identity") for parent in inputs}
        seed = self.profile.seed
        return {"stage": name, "config": config, "seed": seed, "inputs": parents, "content": content}

    def is_current(self, name: str) -> bool:
        """Whether a finished stage, asked for with a plain dictionary as completions are, was built from what
        the stages that it reads hold now."""
        if not (self.path / name / MANIFEST).is_file():
            return False
        made = self.manifest(name)
        try:
            parents = {parent: self.manifest(parent).get("identity") for parent in made["inputs"]}
        except UserError:  # a parent is not finished any more
            return False
        asked = {key: made[key] for key in ("stage", "config", "seed", "content")}
        return digest({**asked, "inputs": parents}) == made["request"]

    @contextlib.contextmanager
    def build(
        self,
        name: str,
        config: BaseModel | dict,
        inputs: Sequence[str] = (),
        content: Mapping[str, Any] | None = None,
    ) -> Iterator[Stage]:
        """Build a stage, or reuse it if an identical request has finished; a line says which.

        Use as ``with run.build("02_sft", config, ["01_dataset"], {"pairs": pairs}) as stage: if not
        stage.reused: …``. The folder is ``<name>.building`` until the block ends without an error;
        checkpoints left there by a killed run of the same request are kept, those of another are removed.

        Args:
            name: of the stage, its folder below the run's.
            config: the settings it depends on.
            inputs: stages it reads. What they hold counts, not how they were asked for.
            content: what else it is built from, as it is: items, pairs, triplets, a reward; see
                :func:`empathy_lib.core.identity.digest`.
        """
        described = _described(content or {})
        request = digest(self._request(name, config, inputs, described))
        final, building = self.path / name, self.path / f"{name}.building"
        made = building / MANIFEST
        # killed between its manifest and its rename
        if made.is_file() and read_json(made)["request"] == request:
            _replace_folder(building, final)
        if (final / MANIFEST).is_file() and self.manifest(name)["request"] == request:
            self.say(self._reuse_line(name))
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
        record = {
            "stage": name,
            "request": request,
            "identity": file_digest(building, without=_ACCOUNTS),
            "config": config.model_dump() if isinstance(config, BaseModel) else config,
            "seed": self.profile.seed,
            "inputs": list(inputs),
            "content": described,
            "library": __version__,
            "code": code_digest(_last_package(name)),
            "versions": {package: importlib.metadata.version(package) for package in _VERSIONS},
            "git_commit": git_commit(),
            "built": datetime.now().astimezone().isoformat(timespec="seconds"),
            "wall_minutes": (time.monotonic() - started) / 60,
            "peak_gib": peak_gib(),
        }
        write_json(building / MANIFEST, record)
        _replace_folder(building, final)
        stage.path = final
        self.say(f"{name}: built in {record['wall_minutes']:.1f} min, peak {record['peak_gib']:.1f} GiB")

    def _reuse_line(self, name: str) -> str:
        """That a stage is reused, since when it has been there, how to rebuild it, and whether its code is
        today's."""
        made = self.manifest(name)
        number = name[:2] if name in STAGES else name
        line = (
            f"{name}: reused, as built {made['built'][:16].replace('T', ' ')} in {made['wall_minutes']:.1f} "
            f'min; anew: Run.open(…, rebuild=["{name}"]) or reproduce --rebuild {number}'
        )
        if made["code"] != code_digest(_last_package(name)):
            line += f"; the library's code has changed since (then {made['git_commit'][:7]})"
        return line

    def cost(self, notebook: str, *stages: str) -> dict[str, dict[str, Any]]:
        """Headline entries ``wall_minutes.<notebook>`` and ``peak_gib.<notebook>`` from the manifests of what
        it built.

        Minutes are those of building the artefacts (after a kill: since the last resume), so a reused
        artefact keeps what it once cost; loading and plotting are not in them. The peak is that of building
        them, or of the notebook up to here where that is more.
        """
        manifests = [read_json(self.stage(stage) / MANIFEST) for stage in stages]
        peak = max(peak_gib(), *(m["peak_gib"] for m in manifests))
        return {
            f"wall_minutes.{notebook}": {
                "value": sum(m["wall_minutes"] for m in manifests),
                "n": 1,
                "unit": "minutes",
            },
            f"peak_gib.{notebook}": {"value": peak, "n": 1, "unit": "GiB"},
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
    _refuse_to_lose_ratings(old)
    if old.exists():
        (old / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(old)
    os.replace(new, old)
    (old / "request.txt").unlink(missing_ok=True)


def _refuse_to_lose_ratings(stage: Path) -> None:
    if (stage / RATINGS).exists():
        raise UserError(
            f"{stage / RATINGS}: building this stage anew would delete what people rated; move the folder "
            f"out of the run first"
        )


def _described(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Each part's digest and, where it has one, its length."""
    return {
        key: {"digest": digest(value), "n": len(value) if hasattr(value, "__len__") else None}
        for key, value in content.items()
    }


def _last_package(stage: str) -> str:
    return _PACKAGES.get(stage[:2], "models")  # completions are the models' own
