"""A model folder from elsewhere: neither its code nor its pickles run, and the error says why."""

import json
import shutil

import pytest
import torch

from empathy_lib.core.config import BaseModelConfig
from empathy_lib.core.errors import UserError
from empathy_lib.models import base as base_models
from empathy_lib.models.encoder import load_encoder

EVIL = """
from pathlib import Path
Path({marker!r}).write_text("ran")
class Evil: ...
class EvilConfig: ...
"""


class Payload:
    """Unpickled, it leaves a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


def loads(kind, folder):
    if kind == "base":
        base_models._load(BaseModelConfig(source=str(folder)), folder)
    else:
        load_encoder(str(folder))


@pytest.fixture
def folder(hub_folder, tmp_path):
    copied = tmp_path / "模型 folder"
    shutil.copytree(hub_folder, copied)
    return copied


@pytest.mark.parametrize("kind", ["base", "encoder"])
@pytest.mark.parametrize("known", [True, False])
def test_code_in_the_folder_never_runs(folder, tmp_path, kind, known):
    marker = tmp_path / "ran"
    (folder / "evil.py").write_text(EVIL.format(marker=str(marker)))
    told = json.loads((folder / "config.json").read_text())
    classes = {"AutoConfig": "evil.EvilConfig", "AutoModel": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"}
    told |= {"auto_map": classes} | ({} if known else {"model_type": "evil"})
    (folder / "config.json").write_text(json.dumps(told))
    if known:  # an architecture of transformers' own: that is what loads
        loads(kind, folder)
    else:
        with pytest.raises(UserError, match="cannot be loaded"):
            loads(kind, folder)
    assert not marker.exists()


@pytest.mark.parametrize("kind", ["base", "encoder"])
def test_pickled_weights_are_refused_unread(folder, tmp_path, kind):
    marker = tmp_path / "ran"
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    torch.save({"weight": Payload(marker)}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="cannot be loaded"):
        loads(kind, folder)
    assert not marker.exists()
