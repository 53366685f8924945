"""An exported folder, passed on: to llama.cpp's converter, and to the hub.

Knows: the converter's command line, how an upload can fail. Does not know: what is in the folder, but for its
provenance. Nothing is sent unless ``push`` is called.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError, HTTPError
from huggingface_hub.utils import validate_repo_id

from empathy_lib.app.export import PROVENANCE
from empathy_lib.core.errors import UserError
from empathy_lib.core.files import read_json, sha256, write_json

GGUF = "model-bf16.gguf"
CONVERTER = "convert_hf_to_gguf.py"


def converter(path: str) -> Path:
    """llama.cpp's converter, by its path or its checkout's.

    Raises:
        UserError: it is not there; says how to get it.
    """
    found = Path(path).expanduser().resolve()
    found = found / CONVERTER if found.is_dir() else found
    if not found.is_file():
        raise UserError(
            f"--gguf {path}: no such file; get it: git clone --depth 1 "
            f"https://github.com/ggml-org/llama.cpp, then --gguf llama.cpp/{CONVERTER}"
        )
    return found


def write_gguf(folder: Path, script: Path) -> Path:
    """Have llama.cpp's converter write ``folder``'s weights as one GGUF file, and note it in the provenance.

    Raises:
        UserError: the converter failed; gives its last line.
    """
    target, half = folder / GGUF, folder / f".{GGUF}"
    words = [sys.executable, str(script), str(folder), "--outfile", str(half), "--outtype", "bf16"]
    done = subprocess.run(words, capture_output=True, encoding="utf-8", errors="replace")
    if done.returncode or not half.is_file():
        half.unlink(missing_ok=True)
        last = (done.stderr.strip() or done.stdout.strip() or "no file written").splitlines()[-1]
        raise UserError(
            f"{folder} is written, but {script.name} failed: {last[:300]}; it converts tokenizers that it "
            f"knows, and no trimmed one (base_model.trim_vocabulary=false)"
        )
    os.replace(half, target)
    record = read_json(folder / PROVENANCE)
    record["files"][GGUF] = sha256(target)
    write_json(folder / PROVENANCE, record)
    return target


def check_repo_id(repo_id: str) -> None:
    """See that the hub takes such a name.

    Raises:
        UserError: it does not.
    """
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise UserError(f"--push {repo_id}: no hub id; write owner/name") from error


def push(folder: Path, repo_id: str, *, public: bool = False) -> str:
    """Upload an exported folder to the hub, into a private repository unless ``public``; return its address.

    Raises:
        UserError: no network, no login; a public repository where a private one is meant; real posts without
            a licence where a public one is meant.
    """
    data = read_json(folder / PROVENANCE)["data"]
    if public and not data["synthetic"] and data["licence"] == "unknown":
        raise UserError(
            f"--push {repo_id} --public: trained on real posts whose licence the run does not name; leave "
            f"out --public, or name it where the run is made: --set dataset.licence=…"
        )
    api = HfApi()
    try:
        address = api.create_repo(repo_id, private=not public, exist_ok=True)
        if not public and not api.repo_info(repo_id).private:
            raise UserError(f"--push {repo_id}: is there and public; add --public, or give another name")
        api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message="Export of an Empathy-R1 run")
    except (OSError, HTTPError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        again = json.dumps(str(folder), ensure_ascii=False)
        raise UserError(
            f"{folder} is written, but the upload to {repo_id} failed ({reason}); check the network and "
            f"`hf auth login`, then: hf upload {repo_id} {again}" + ("" if public else " --private")
        ) from error
    return str(address)
