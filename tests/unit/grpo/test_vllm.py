"""Rollouts by vLLM, as far as a machine without a card can see: TRL's client against a server of ours."""

import sys

import cloudpickle
import pytest
from stages import FakeJudge
from vllm_server import VllmServer, without_vllm_itself

from empathy_lib.core.config import GenerationConfig, GRPOStageConfig, VllmConfig
from empathy_lib.core.errors import UserError
from empathy_lib.grpo import train as grpo
from empathy_lib.models import vllm
from empathy_lib.models.base import load_policy
from empathy_lib.models.processes import launch
from empathy_lib.reward import paid

# a test's module cannot be imported elsewhere, so what it defines travels whole
cloudpickle.register_pickle_by_value(sys.modules[__name__])

CONFIG = GRPOStageConfig(
    max_steps=3, prompts_per_step=2, num_generations=4, micro_batch=2, learning_rate=1e-2, beta=0.04
)


def train_against_server(*given):
    with without_vllm_itself():
        return grpo.train_grpo(*given)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_servers_rollouts_are_of_the_policy_that_is_trained(base, items, tmp_path, processes):
    model, tokenizer = load_policy(base)
    with VllmServer(model.float(), tokenizer.eos_token_id) as server:
        config = CONFIG.model_copy(
            update={"rollouts": "vllm_server", "vllm": VllmConfig(base_url=server.url, timeout_seconds=5)}
        )
        reward = paid.AnswerReward(FakeJudge(), "smooth")
        given = (base, items, reward, tmp_path / "grpo", config, GenerationConfig(max_new_tokens=8), 1)
        log = launch(train_against_server, *given, processes=processes)
    steps = [record for record in log if "sampling/importance_sampling_ratio/mean" in record]
    assert [record["step"] for record in steps] == [1, 2, 3]
    for record in steps:  # weights that came late, or twice, would show from the second step on
        for part in ("min", "mean", "max"):
            assert record[f"sampling/importance_sampling_ratio/{part}"] == pytest.approx(1, abs=0.15)
    assert server.updates == 3 and [len(told["prompt"]) for told in server.asked] == [2, 2, 2]
    assert {(told["n"], told["max_tokens"], told["top_p"]) for told in server.asked} == {(4, 8, 1.0)}
    assert (tmp_path / "grpo" / "policy" / "done").is_file()


def test_what_is_missing_is_said_before_anything_is_loaded(tmp_path, items):
    given = (tmp_path / "no policy", items, FakeJudge(), tmp_path / "grpo")
    rest = (GenerationConfig(), 1)
    colocated = CONFIG.model_copy(update={"rollouts": "vllm_colocate"})
    with pytest.raises(UserError, match=r"grpo\.rollouts=vllm_colocate needs vLLM.*requirements-vllm\.lock"):
        grpo.train_grpo(*given, colocated, *rest)
    nobody = VllmConfig(base_url="http://127.0.0.1:9", timeout_seconds=0)
    server = CONFIG.model_copy(update={"rollouts": "vllm_server", "vllm": nobody})
    with without_vllm_itself(), pytest.raises(UserError, match=r"no vLLM server answered at http://127\.0"):
        grpo.train_grpo(*given, server, *rest)
    alone = colocated.model_copy(update={"vllm": VllmConfig(tensor_parallel=2)})
    with without_vllm_itself(), pytest.raises(UserError, match="1 processes cannot share copies over 2"):
        grpo.train_grpo(*given, alone, *rest)


def test_trl_is_told_the_profiles_fields(tmp_path):
    fields = {"memory_share": 0.4, "tensor_parallel": 2, "sleep": True}
    colocated = CONFIG.model_copy(
        update={"rollouts": "vllm_colocate", "vllm": vllm.settled(VllmConfig(**fields), 900)}
    )
    told = grpo.grpo_arguments(tmp_path, colocated, GenerationConfig(max_new_tokens=8), 1)
    assert told.use_vllm and told.vllm_mode == "colocate" and told.vllm_max_model_length == 900
    assert (told.vllm_gpu_memory_utilization, told.vllm_tensor_parallel_size) == (0.4, 2)
    assert told.vllm_enable_sleep_mode and told.vllm_importance_sampling_correction
    assert not grpo.grpo_arguments(tmp_path, CONFIG, GenerationConfig(max_new_tokens=8), 1).use_vllm


def test_a_run_from_before_the_fields_is_still_the_same_run():
    assert not {"rollouts", "vllm"} & CONFIG.model_dump().keys()
