"""GRPO of two processes of which one is killed ends with the policy of an unbroken one."""

import functools
import sys
from pathlib import Path
from unittest import mock

import cloudpickle
import pytest
import torch
from stages import lengths_paid, second_process_dies
from torch import distributed

from empathy_lib.core.config import GenerationConfig, GRPOStageConfig
from empathy_lib.core.errors import UserError
from empathy_lib.grpo import train as grpo
from empathy_lib.models import processes, training
from empathy_lib.models.processes import launch

STEPS, KILLED, SAVED = 6, 5, 4  # the step in which a process dies, and the checkpoint before it

# a test's module cannot be imported elsewhere, so what it defines travels whole
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def noted_lengths_paid(folder, completions, **_):
    """``lengths_paid``, and a note of each call."""
    folder.mkdir(exist_ok=True)
    with (folder / str(distributed.get_rank())).open("a", encoding="utf-8") as notes:
        notes.write(f"{[len(text) for text in completions]}\n")
    return lengths_paid(completions)


def dies_in_training(*given, **named):
    """GRPO of which the second process is killed after a checkpoint."""
    with second_process_dies(grpo, KILLED):
        return grpo.train_grpo(*given, **named)


def test_grpo_in_two_processes_resumes_after_a_kill_as_if_nothing_were(base, items, tmp_path):
    config = GRPOStageConfig(
        max_steps=STEPS,
        prompts_per_step=2,
        num_generations=4,
        micro_batch=2,
        learning_rate=1e-3,
        beta=0.04,
        checkpoint_steps=2,
    )

    def train(how, name, notes):
        reward = functools.partial(noted_lengths_paid, tmp_path / notes)
        settings = reward, tmp_path / name, config, GenerationConfig(max_new_tokens=8), 1
        return launch(how, base, items, *settings, processes=2)

    whole = train(grpo.train_grpo, "whole", "notes whole")
    with pytest.raises(UserError, match="2 processes ended with code"):
        train(dies_in_training, "killed", "notes killed")
    saved = tmp_path / "killed" / "checkpoints" / f"checkpoint-{SAVED}"
    assert {path.name for path in saved.glob("rng_state*")} == {"rng_state_0.pth", "rng_state_1.pth"}
    states = [torch.load(saved / f"rng_state_{rank}.pth", weights_only=False)["cpu"] for rank in (0, 1)]
    assert not torch.equal(*states)  # each process draws its own completions
    resumed = train(grpo.train_grpo, "killed", "notes resumed")
    for rank in ("0", "1"):  # the same completions, and only those of the steps that were left
        made = (tmp_path / "notes whole" / rank).read_text(encoding="utf-8").splitlines()
        assert len(set(made)) > 1
        again = (tmp_path / "notes resumed" / rank).read_text(encoding="utf-8").splitlines()
        assert again == made[-(STEPS - SAVED) * len(made) // STEPS :]
    assert [record.get("loss") for record in resumed] == [record.get("loss") for record in whole]
    policies = [tmp_path / name / "policy" / "model.safetensors" for name in ("whole", "killed")]
    assert policies[0].read_bytes() == policies[1].read_bytes()
    assert policies[0].read_bytes() != (Path(base) / "model.safetensors").read_bytes()


@pytest.mark.parametrize("broken", ["missing", "half"])
def test_a_checkpoint_without_the_random_numbers_of_every_process_is_passed_over(tmp_path, broken):
    for step in (2, 4):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "trainer_state.json").write_text("{}")
        for rank in (0, 1):
            torch.save({"cpu": torch.ones(64)}, folder / f"rng_state_{rank}.pth")
    late = tmp_path / "checkpoint-4" / "rng_state_1.pth"
    late.unlink() if broken == "missing" else late.write_bytes(late.read_bytes()[:-40])
    with mock.patch.object(processes, "count", lambda: 2):
        assert training.last_checkpoint(tmp_path).endswith("checkpoint-2")
    with mock.patch.object(processes, "count", lambda: 4):  # more go on with what fewer wrote
        assert training.last_checkpoint(tmp_path).endswith("checkpoint-2")
