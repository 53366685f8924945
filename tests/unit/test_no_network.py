"""No stage needs a network: what reaches beyond this machine is blocked, as in ``make test``'s smoke run."""

import os
import re
import subprocess
import sys

import e5_file
import pytest

from empathy_lib.core.run import ROOT

FOLDER = ROOT / "tests" / "no_network"


def run(code, *paths, **environment):
    path = os.pathsep.join(map(str, (FOLDER, ROOT, *paths)))
    environment = os.environ | {"PYTHONPATH": path, **environment}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize(
    "attempt",
    [
        "socket.create_connection(('192.0.2.1', 443), timeout=1)",
        "socket.create_connection(('huggingface.co', 443), timeout=1)",
        "socket.socket().connect_ex(('192.0.2.1', 443))",
        "socket.getaddrinfo('example.org', 443)",
        "socket.gethostbyname('example.org')",
        "socket.gethostbyname_ex('example.org')",
        "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
        "urllib.request.urlopen('http://192.0.2.1/', timeout=1)",
    ],
)
def test_what_leaves_the_machine_fails_and_is_named(attempt):
    code = f"import socket, urllib.request\ntry: {attempt}\nexcept OSError as error: print(error)"
    done = run(code)
    assert "no network" in done.stdout and re.search("no network: socket.* was refused", done.stderr)


def test_the_machine_itself_is_reached_and_children_inherit_the_block():
    code = """
import socket, subprocess, sys
with socket.create_server(("127.0.0.1", 0)) as server:
    with socket.create_connection(("localhost", server.getsockname()[1]), timeout=5) as client:
        client.sendall(b"x")
one, other = socket.socketpair()
one.sendmsg([b"x"])
socket.getaddrinfo(None, 0), socket.getaddrinfo(socket.gethostname(), 0, type=socket.SOCK_STREAM)
child = "import socket; socket.getaddrinfo('example.org', 80)"
print(subprocess.run([sys.executable, "-c", child], capture_output=True).returncode)
"""
    done = run(code)
    assert done.stdout == "1\n" and "was refused" not in done.stderr


def test_the_smoke_run_of_make_test_is_blocked():
    line = next(
        line for line in (ROOT / "Makefile").read_text().splitlines() if "reproduce --profile smoke" in line
    )
    assert "PYTHONPATH=" in line and "tests/no_network" in line and (FOLDER / "sitecustomize.py").is_file()


BUILD = """
from pathlib import Path
from empathy_lib.core.config import DatasetConfig
from empathy_lib.core.schema import read_jsonl
from empathy_lib.dataset.build import build_dataset
from empathy_lib.models.base import load_policy
from empathy_lib.models.encoder import load_encoder
base, encoder, out = map(Path, PATHS)
build_dataset(DatasetConfig(questions=40), 1, out)
assert load_policy(base)[0].num_parameters() > 0
assert load_encoder(str(encoder)).embed(["最近失眠"]).shape[0] == 1
print(len(read_jsonl(out / "train.jsonl")))
"""


def test_a_dataset_is_built_and_base_and_e5_are_loaded_without_a_network(base, tmp_path, monkeypatch):
    monkeypatch.setenv("EMPATHY_CACHE", str(tmp_path / "cache"))
    e5_file.install(monkeypatch, tmp_path)
    from empathy_lib.models.e5 import prepare_e5

    paths = [str(base), str(prepare_e5()), str(tmp_path / "out")]
    done = run(BUILD.replace("PATHS", repr(paths)), EMPATHY_CACHE=str(tmp_path / "cache"))
    assert int(done.stdout) > 0 and "was refused" not in done.stderr
