"""A finished run's policy as one self-contained folder in the hub's layout, for any reader of safetensors.

Knows: what of a policy's folder travels, and that the new folder appears whole or not at all. Does not know:
what the card says (``model_card``), how a policy was trained, where the folder goes (``passing_on``).
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from empathy_lib.app.model_card import model_card
from empathy_lib.app.policy_facts import Facts, gather, open_run
from empathy_lib.core.errors import UserError
from empathy_lib.core.files import read_json, sha256, write_json
from empathy_lib.core.identity import git_commit
from empathy_lib.models.cache import whole_folder
from empathy_lib.models.wheel import LICENCE_FILES

PROVENANCE = "provenance.json"
FORMAT = "empathy-r1 export 1"
# What travels; anything else in a policy's folder stays there.
_WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
_TOKENIZER = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt")
_OTHERS = ("config.json", "generation_config.json", "chat_template*", "LICENSE*", "NOTICE*", *LICENCE_FILES)
# These name the machine, or say how the trainer left the model.
_DROPPED = ("_name_or_path", "_model_name_or_path", "name_or_path", "is_local", "local_files_only")


def export(run_dir: str, out: str, system: str = "grpo", *, force: bool = False) -> Path:
    """Write a policy's folder: weights, config, tokenizer, card, provenance; return it.

    It is made beside ``out`` and renamed last, so that a kill leaves nothing of that name.

    Args:
        out: a new or empty folder.
        force: replace a former export.

    Raises:
        UserError: as :func:`gather`; ``out`` holds something else, or cannot be written.
    """
    final = Path(out).expanduser().resolve()
    _check_target(final, force)
    policy, facts = gather(open_run(run_dir), system)
    aside = final.with_name(f"{final.name}.replaced-{os.getpid()}")
    try:
        with whole_folder(final) as building:
            _fill(building, policy, facts)
            if final.exists():
                os.replace(final, aside)
    except OSError as error:
        raise UserError(
            f"--out {final}: {error.strerror or error}; give a folder that can be written, with room for the "
            f"weights"
        ) from error
    finally:
        if aside.exists() and not final.exists():
            os.replace(aside, final)
    shutil.rmtree(aside, ignore_errors=True)
    return final


def _check_target(final: Path, force: bool) -> None:
    """Refuse to lose anything that no export wrote."""
    if not final.exists() or (final.is_dir() and not any(final.iterdir())):
        return
    made = read_json(final / PROVENANCE) if (final / PROVENANCE).is_file() else {}
    if made.get("format") != FORMAT:
        raise UserError(f"--out {final}: is there and no former export; give a new folder")
    if not force:
        raise UserError(f"--out {final}: holds a former export; --force replaces it")
    there = {str(path.relative_to(final)) for path in final.rglob("*") if not path.is_dir()}
    if other := sorted(there - {PROVENANCE, *made["files"]}):
        raise UserError(
            f"--out {final}: --force would delete {other[0]}, which no export wrote; move it away"
        )


def _fill(folder: Path, policy: Path, facts: Facts) -> None:
    """Everything into ``folder``, the provenance last."""
    for pattern in (*_WEIGHTS, *_TOKENIZER, *_OTHERS):
        for file in sorted(policy.glob(pattern)):
            shutil.copyfile(file, folder / file.name)
    with _edited(folder / "config.json") as config:
        config["use_cache"] = True
    with _edited(folder / "tokenizer_config.json") as config:
        if config.get("tokenizer_class") == "TokenizersBackend":  # a name that transformers 4 does not know
            config["tokenizer_class"] = "PreTrainedTokenizerFast"
    with _edited(folder / "generation_config.json") as config:
        config.pop("_from_model_config", None)
        config.update(facts.generation)
    model_card(facts).save(folder / "README.md")
    record = {
        "format": FORMAT,
        "ai_generated": True,
        "system": facts.system,
        "run_id": facts.run_id,
        "exported": datetime.now().astimezone().isoformat(timespec="seconds"),
        "git_commit": git_commit(),
        "base": {**facts.base, **facts.licence},
        "data": facts.data,
        "parameters": facts.parameters,
        "stages": facts.stages,
        "files": {path.name: sha256(path) for path in sorted(folder.iterdir())},
    }
    write_json(folder / PROVENANCE, record)


@contextlib.contextmanager
def _edited(path: Path) -> Iterator[dict[str, Any]]:
    """A JSON file to change in place, without what names this machine; a missing one is begun."""
    value = read_json(path) if path.is_file() else {}
    kept = {key: each for key, each in value.items() if key not in _DROPPED}
    yield kept
    write_json(path, kept)
