"""Profiles: every choice of a run, validated, in one place.

Knows: where a profile's YAML lies, how ``--set`` changes a field, which fields must fit together.
Does not know: the fields of a section (``settings`` and ``data_settings``, whose names can be had from here
too), or what a stage does with them.
"""

from __future__ import annotations

import difflib
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError

from empathy_lib.core.data_settings import (
    HUB,
    LAYOUT_NAMES,
    SYNTHETIC,
    DatasetConfig,
    LayoutName,
    Section,
    TeacherConfig,
)
from empathy_lib.core.errors import UserError
from empathy_lib.core.schema import describe
from empathy_lib.core.settings import (
    E5,
    WHEEL,
    Attention,
    BaseModelConfig,
    GenerationConfig,
    GRPOStageConfig,
    HumanEvalConfig,
    LoraSettings,
    MetricsConfig,
    RewardConfig,
    SFTStageConfig,
    Tuning,
    VllmConfig,
)

__all__ = [
    "E5",
    "HUB",
    "LAYOUT_NAMES",
    "PROFILES",
    "PROFILE_DIR",
    "SYNTHETIC",
    "WHEEL",
    "Attention",
    "BaseModelConfig",
    "DatasetConfig",
    "GRPOStageConfig",
    "GenerationConfig",
    "HumanEvalConfig",
    "LayoutName",
    "LoraSettings",
    "MetricsConfig",
    "Profile",
    "RewardConfig",
    "SFTStageConfig",
    "TeacherConfig",
    "Tuning",
    "VllmConfig",
    "check_spread",
    "field_names",
    "load_profile",
    "local_path",
    "parse_assignments",
]

PROFILE_DIR = Path(__file__).parent / "profiles"
PROFILES = ("smoke", "class", "laptop", "gpu", "paper")


class Profile(Section):
    """All choices of a run."""

    name: str
    seed: int = Field(20250918, ge=0)
    tracking: list[Literal["tensorboard", "trackio", "wandb"]] = Field(
        [], description="where trainers report beside log.jsonl, which always is"
    )
    processes: int = Field(
        1, ge=1, description="processes that train together; they share the batches that the profile names"
    )
    sharding: Literal["none", "fsdp2"] = Field(
        "none",
        description="none: every process holds the whole policy that it trains; fsdp2: weights, gradients "
        "and optimizer of SFT and GRPO are dealt out to the processes, one GPU each (the reward model's are "
        "not)",
    )
    base_model: BaseModelConfig = BaseModelConfig()
    dataset: DatasetConfig = DatasetConfig()
    generation: GenerationConfig = GenerationConfig()
    sft: SFTStageConfig = SFTStageConfig()
    reward: RewardConfig = RewardConfig()
    grpo: GRPOStageConfig = GRPOStageConfig()
    metrics: MetricsConfig = MetricsConfig()
    human_eval: HumanEvalConfig = HumanEvalConfig()

    @property
    def spread(self) -> dict[str, Any]:
        """What ``models.launch`` is told of a policy's training: its processes, and whether they share
        weights."""
        return {"processes": self.processes, "sharding": self.sharding}


def check_spread(processes: int, sharding: str) -> None:
    """Raise a :class:`UserError` where weights are to be dealt out to one process."""
    if sharding != "none" and processes == 1:
        raise UserError(
            f"sharding={sharding} deals weights out to several processes, but processes=1; set it to the "
            f"number of GPUs, or sharding=none"
        )


def local_path(source: str) -> Path | None:
    """The path that ``source`` means, there or not; None where it is a name of something elsewhere, such as a
    hub id."""
    path = Path(source).expanduser()
    return path if path.exists() or source.startswith((".", "/", "~")) else None


def load_profile(name: str, overrides: dict[str, Any] | None = None) -> Profile:
    """Read a profile's YAML and change single fields.

    Args:
        name: one of ``smoke``, ``class``, ``laptop``, ``gpu``, ``paper``.
        overrides: dotted field to value, e.g. ``{"grpo.max_steps": 20}``.

    Raises:
        UserError: unknown profile or field, or a value the field does not take.
    """
    path = PROFILE_DIR / f"{name}.yaml"
    if name not in PROFILES:
        raise UserError(f"unknown profile '{name}'; use one of {', '.join(PROFILES)}")
    try:
        # a file of comments only changes nothing
        fields = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        profile = Profile.model_validate({"name": name, **fields})
    except yaml.YAMLError as error:
        line = (
            error.problem_mark.line + 1
            if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark
            else 1
        )
        raise UserError(f"{path}, line {line}: not valid YAML; mend it or restore the file") from error
    except ValidationError as error:
        raise UserError(
            f"{path}: {describe(error)}; see empathy_lib/core/settings.py for the fields"
        ) from error
    for key, value in (overrides or {}).items():
        _set(profile, key, value)
    _check_together(profile)
    return profile


def _check_together(profile: Profile) -> None:
    """Fields that are fine alone and wrong together, and packages that only some values need."""
    if missing := [name for name in profile.tracking if find_spec(name) is None]:
        raise UserError(
            f"tracking={profile.tracking}: package '{missing[0]}' is not installed; pip install "
            f"{missing[0]}, or leave it out"
        )
    check_spread(**profile.spread)
    tuned = [name for name in ("sft", "grpo") if getattr(profile, name).tuning != "full"]
    if profile.sharding != "none" and tuned:
        raise UserError(
            f"sharding={profile.sharding}: adapters are not sharded; set {tuned[0]}.tuning=full, or "
            f"sharding=none"
        )
    fewest, most = profile.dataset.answers_per_question
    if fewest > most:
        raise UserError(
            f"dataset.answers_per_question=[{fewest}, {most}]: the first number must not exceed the second"
        )
    unasked = [name for name in profile.grpo.every_seed if name not in profile.grpo.comparisons]
    if unasked not in ([], ["chain"]):
        raise UserError(
            f"grpo.every_seed={profile.grpo.every_seed}: {', '.join(unasked)} not in grpo.comparisons="
            f"{profile.grpo.comparisons}; add it there, or leave it out here"
        )
    grpo, batch = profile.grpo, profile.grpo.prompts_per_step * profile.grpo.num_generations
    if batch % min(grpo.micro_batch, batch):
        raise UserError(
            f"grpo.micro_batch={grpo.micro_batch} must divide grpo.prompts_per_step × grpo.num_generations = "
            f"{batch}; "
            f"set grpo.micro_batch to a divisor of {batch}"
        )


def _set(profile: Profile, key: str, value: Any) -> None:
    *parents, field = key.split(".")
    target: BaseModel = profile
    for name in parents:
        target = getattr(target, name, None) if name in type(target).model_fields else None
        if not isinstance(target, BaseModel):
            break
    if (
        not isinstance(target, BaseModel)
        or field not in type(target).model_fields
        or isinstance(getattr(target, field), BaseModel)
    ):
        near = difflib.get_close_matches(key, field_names(), n=1)
        hint = (
            f"did you mean '{near[0]}'?"
            if near
            else "the fields are listed by: python -m empathy_lib profile smoke"
        )
        raise UserError(f"--set {key}: no such field; {hint}")
    try:
        setattr(target, field, value)
    except ValidationError as error:
        raise UserError(f"--set {key}={value}: {describe(error)}") from error


def field_names(model: type[BaseModel] = Profile, prefix: str = "") -> list[str]:
    """All dotted field names that ``--set`` takes."""
    names: list[str] = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names += field_names(field.annotation, f"{prefix}{name}.")
        else:
            names.append(prefix + name)
    return names


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """Turn ``["grpo.max_steps=20"]`` into ``{"grpo.max_steps": 20}``; values are read as YAML.

    Raises:
        UserError: an entry has no ``=`` or its value is no YAML.
    """
    overrides: dict[str, Any] = {}
    for text in assignments:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise UserError(f"--set {text}: write field=value, e.g. --set grpo.max_steps=20")
        try:
            overrides[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UserError(f"--set {text}: the value is not valid YAML; quote it") from error
        if re.fullmatch(r"\s*[-+]?\d+(\.\d*)?[eE][-+]?\d+\s*", value):  # YAML 1.1 reads 5e-6 as text
            overrides[key.strip()] = float(value)
    return overrides
