"""Two processes train as one does: same losses, same weights; what they cannot share is refused."""

import hashlib
import shlex
import subprocess
import sys
from unittest import mock

import cloudpickle
import psutil
import pytest
import torch
from stages import FakeJudge, second_process_dies
from torch import distributed
from trl import GRPOTrainer

from empathy_lib.core.config import (
    BaseModelConfig,
    GenerationConfig,
    GRPOStageConfig,
    RewardConfig,
    SFTStageConfig,
)
from empathy_lib.core.errors import UserError
from empathy_lib.grpo import train as grpo
from empathy_lib.models import processes
from empathy_lib.models.processes import launch
from empathy_lib.reward import paid
from empathy_lib.reward import train as reward_model
from empathy_lib.sft import train as sft

# a test's module cannot be imported elsewhere, so what it defines travels whole
cloudpickle.register_pickle_by_value(sys.modules[__name__])

EXACT = BaseModelConfig(max_length=400, dtype="float32")


def losses(log: list[dict], key: str = "loss") -> list[float]:
    return [record[key] for record in log if key in record]


def weights_of(model) -> str:
    """A hash of all weights."""
    total = hashlib.sha256()
    for _, tensor in sorted(model.state_dict().items()):
        total.update(tensor.detach().contiguous().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def watched_grpo(trainer_class, *given, **named):
    """Log of a GRPO training with this class of trainer, and the weights' hash in each process."""
    seen, finish = [], grpo.finish_policy

    def told(model, *rest):
        hashes = [None] * processes.count()
        distributed.all_gather_object(hashes, weights_of(model))
        seen.extend(hashes)
        finish(model, *rest)

    with (
        mock.patch.object(grpo, "SharedPromptGRPOTrainer", trainer_class),
        mock.patch.object(grpo, "finish_policy", told),
    ):
        return grpo.train_grpo(*given, **named), seen


def dies_in_second_step(*given, **named):
    """SFT of which the second process is killed after a checkpoint."""
    with second_process_dies(sft, 5):
        return sft.train_sft(*given, **named)


def test_one_process_is_a_plain_call():
    assert launch(lambda number, twice: number * twice, 3, twice=2) == 6


def test_a_batch_that_cannot_be_dealt_evenly_is_refused_with_its_numbers():
    with (
        mock.patch.object(processes, "count", lambda: 4),
        pytest.raises(UserError, match=r"sft\.batch_size: 6 cannot be dealt evenly to 4 processes"),
    ):
        processes.share(6, "sft.batch_size")


@pytest.mark.parametrize("accumulation", [1, 2])
def test_sft_in_two_processes_is_that_of_one_and_resumes_after_a_kill(base, pairs, tmp_path, accumulation):
    config = SFTStageConfig(
        batch_size=4 // accumulation,
        gradient_accumulation=accumulation,
        max_steps=6,
        learning_rate=1e-3,
        checkpoint_steps=2,
    )
    settings = (config, EXACT, 1)
    alone = sft.train_sft(base, pairs, pairs[:2], tmp_path / "one", *settings)
    given = (base, pairs, pairs[:2])
    both = launch(sft.train_sft, *given, tmp_path / "two", *settings, processes=2)
    assert [r["step"] for r in both] == [r["step"] for r in alone]  # a record a step, not two
    for key in ("loss", "eval_loss"):
        assert losses(both, key) == pytest.approx(losses(alone, key), abs=1e-4)
    if accumulation > 1:
        return
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with pytest.raises(UserError, match="2 processes ended with code"):
        launch(dies_in_second_step, *given, tmp_path / "killed", *settings, processes=2)
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
    assert not (tmp_path / "killed" / "policy").exists()
    launch(sft.train_sft, *given, tmp_path / "killed", *settings, processes=2)
    policies = [tmp_path / name / "policy" / "model.safetensors" for name in ("two", "killed")]
    assert policies[0].read_bytes() == policies[1].read_bytes()


def test_grpo_that_shares_prompts_takes_the_steps_of_the_stock_trainer(base, items, tmp_path):
    config = GRPOStageConfig(
        max_steps=3, prompts_per_step=2, num_generations=4, micro_batch=2, learning_rate=1e-3, beta=0.04
    )
    reward = paid.AnswerReward(FakeJudge(), "smooth")
    rest = (config, GenerationConfig(max_new_tokens=8), 1)
    found = {}
    for name, trainer in (("shared", grpo.SharedPromptGRPOTrainer), ("stock", GRPOTrainer)):
        found[name] = launch(watched_grpo, trainer, base, items, reward, tmp_path / name, *rest, processes=2)
    for _, hashes in found.values():
        assert len(hashes) == 2 and hashes[0] == hashes[1]  # both processes hold one policy
    logs = {name: log for name, (log, _) in found.items()}
    assert losses(logs["shared"]) == pytest.approx(losses(logs["stock"]), abs=1e-4)
    assert losses(logs["shared"], "grad_norm") == pytest.approx(losses(logs["stock"], "grad_norm"), rel=0.02)


def test_reward_in_two_processes_meets_the_negatives_of_one(base, items, tmp_path):
    config = RewardConfig(batch_size=4, max_steps=3, learning_rate=1e-3, checkpoint_steps=10)
    # posts that share nothing, so that every batch is full and can be dealt evenly
    drawn = [
        {"anchor": f"第{n}个求助", "positive": items[n % 6].references[0] + str(n), "negative": f"回复{n}"}
        for n in range(12)
    ]
    given = (base, drawn, drawn[:4])
    alone = reward_model.train_reward(*given, tmp_path / "one", config, 1)
    both = launch(reward_model.train_reward, *given, tmp_path / "two", config, 1, processes=2)
    for key, near in (("loss", 0.005), ("grad_norm", 0.02), ("train_loss", 0.05)):  # in bfloat16
        assert losses(both, key) == pytest.approx(losses(alone, key), rel=near), key
    half = RewardConfig(batch_size=2, max_steps=3, learning_rate=1e-3, checkpoint_steps=10)
    fewer = reward_model.train_reward(*given, tmp_path / "half", half, 1)
    assert losses(fewer, "train_loss")[0] < 0.8 * losses(alone, "train_loss")[0]  # fewer negatives: easier


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone ends children with their parent")
def test_a_killed_kernel_leaves_no_training_behind(tmp_path):
    script = tmp_path / "kernel.py"
    script.write_text(
        "import time\nfrom empathy_lib.models.processes import launch\n"
        "def train(seconds):\n    print('begun', flush=True)\n    time.sleep(seconds)\n"
        "launch(train, 600, processes=2)\n",
        encoding="utf-8",
    )
    kernel = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, encoding="utf-8")
    assert "begun" in kernel.stdout.readline()
    left = psutil.Process(kernel.pid).children(recursive=True)
    assert len(left) >= 3  # torchrun and two processes
    kernel.kill()
    kernel.wait()
    _, alive = psutil.wait_procs(left, timeout=20)
    assert not alive


def test_several_machines_are_started_by_words_of_the_users(monkeypatch):
    assert processes._launcher(3)[-2:] == ["--nproc_per_node", "3"]
    monkeypatch.setenv(processes.LAUNCHER, "srun torchrun --nnodes 2")
    assert processes._launcher(16) == ["srun", "torchrun", "--nnodes", "2"]


def test_fewer_processes_than_asked_for_are_an_error_and_no_silent_single_one(monkeypatch):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "1"]
    monkeypatch.setenv(processes.LAUNCHER, shlex.join(torchrun))
    with pytest.raises(UserError, match="processes=2 was asked for, but 1 joined"):
        launch(print, "never", processes=2)
