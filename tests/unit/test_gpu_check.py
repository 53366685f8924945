"""What ``make gpu-check`` runs, at the size of a toy and without a card."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[1] / "gpu_check.py"


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what a machine without a card does")
def test_every_stage_runs_and_the_last_line_says_so():
    done = subprocess.run([sys.executable, SCRIPT, "--shape", "tiny"], capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    stages = found["as here"]
    assert set(stages) == {"sft", "reward", "grpo"} and found["card"] is None
    assert all(stage["finite"] and min(stage["gradient_norms"]) > 0 for stage in stages.values())
    assert found["vllm"] == "not installed" and found["nccl"] == "one card or none"


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what a machine without a card does")
def test_without_a_card_it_says_what_can_be_done():
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, encoding="utf-8")
    assert done.returncode == 2 and "--shape tiny" in done.stderr and not done.stdout
