"""A trained policy ready to answer: a run's, by the run's own records, or an exported one.

Knows: how the two folders are told apart, prompt and decoding of each. Does not know: what may be shown
(``answering``).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError

from empathy_lib.app.export import PROVENANCE
from empathy_lib.app.policy_facts import NEW_TOKENS, gather, open_run, sampling
from empathy_lib.core.errors import UserError
from empathy_lib.core.files import read_json
from empathy_lib.core.run import MANIFEST, STAGES, resolve_run_dir
from empathy_lib.models.base import load_policy
from empathy_lib.models.prompts import coe_prompt, plain_prompt
from empathy_lib.models.streaming import grow
from empathy_lib.models.systems import policy_stage


@dataclass(frozen=True)
class Policy:
    """``system`` and the name of its folder; ``speak`` gives a post's completion as it grows."""

    system: str
    name: str
    chain: bool
    speak: Callable[[str], Generator[str]]


class _Stage(BaseModel):
    seed: int


class _Provenance(BaseModel):
    system: Literal["grpo", "sft", "sft_no_coe"]
    stages: dict[str, _Stage]


def open_policy(folder: str, system: str | None = None) -> Policy:
    """Load the policy of a run folder, or of a folder that ``export`` wrote.

    Args:
        system: whose policy of a run; ``grpo`` by default. An exported folder holds one.

    Raises:
        UserError: neither, another system than the exported one, an unfinished stage, weights that cannot be
            loaded.
    """
    exported = Path(folder).expanduser()
    if (exported / PROVENANCE).is_file():
        return _exported(exported, system)
    path = resolve_run_dir(folder)
    if not any((path / stage / MANIFEST).is_file() for stage in STAGES):
        raise UserError(
            f"{folder}: neither a run nor an exported policy; give a run's folder, such as runs/laptop, or "
            f"one that `export` wrote"
        )
    run = open_run(folder)
    policy, facts = gather(run, system or "grpo")
    seed = facts.stages[policy_stage(facts.system)]["seed"]
    drawn = facts.generation or sampling(run.profile.generation.model_dump())
    return _loaded(policy, facts.system, path.name, seed, {**drawn, "max_new_tokens": facts.new_tokens})


def _exported(folder: Path, system: str | None) -> Policy:
    """The decoding stands in the folder's own ``generation_config.json``, which transformers reads."""
    try:
        told = _Provenance.model_validate(read_json(folder / PROVENANCE))
        seed = told.stages[policy_stage(told.system)].seed
    except (ValidationError, KeyError) as error:
        raise UserError(f"{folder / PROVENANCE}: not as `export` writes it; export anew") from error
    if system not in (None, told.system):
        raise UserError(f"--system {system}: {folder} is an export of {told.system}; leave --system out")
    return _loaded(folder, told.system, folder.resolve().name, seed, {})


def _loaded(folder: Path, system: str, name: str, seed: int, how: dict[str, Any]) -> Policy:
    try:
        model, tokenizer = load_policy(folder)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"{folder}: cannot be loaded ({reason}); export or train it anew") from error
    how.setdefault("max_new_tokens", model.generation_config.max_new_tokens or NEW_TOKENS)
    chain = system != "sft_no_coe"
    ask = coe_prompt if chain else plain_prompt
    return Policy(system, name, chain, lambda post: grow(model, tokenizer, ask(tokenizer, post), seed, **how))
