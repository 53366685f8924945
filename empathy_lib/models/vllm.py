"""GRPO's rollouts by vLLM: whether it can be had, and what TRL is told.

Knows: ``grpo.rollouts`` and ``grpo.vllm``. Does not know: how vLLM samples, which is TRL's part. No card has
run this; a test runs it against a small server that answers as vLLM does.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from empathy_lib.core.config import GRPOStageConfig, VllmConfig
from empathy_lib.core.errors import UserError


def check_installed(config: GRPOStageConfig) -> None:
    """Whether vLLM is there, if rollouts ask for it; cheap, before hours are spent on what comes first.

    Raises:
        UserError: it is not.
    """
    if config.rollouts != "local" and find_spec("vllm") is None:
        raise UserError(
            f"grpo.rollouts={config.rollouts} needs vLLM, which is not installed here: make an environment "
            "from requirements-vllm.lock (docs/scale.md), or set grpo.rollouts=local"
        )


def check(config: GRPOStageConfig) -> None:
    """Whether rollouts can be had now, before weights are loaded.

    Raises:
        UserError: vLLM is not installed, its server does not answer, or processes cannot share its copies.
    """
    from empathy_lib.models import processes  # with torch, which the command line's check does without

    check_installed(config)
    vllm = config.vllm
    if config.rollouts == "vllm_colocate" and processes.count() % vllm.tensor_parallel:
        raise UserError(
            f"grpo.vllm.tensor_parallel: {processes.count()} processes cannot share copies over "
            f"{vllm.tensor_parallel} cards each; make processes a multiple of it"
        )
    if config.rollouts == "vllm_server" and processes.is_first():
        import requests
        from trl.generation.vllm_client import VLLMClient

        try:
            VLLMClient(vllm.base_url, connection_timeout=vllm.timeout_seconds)
        except requests.ConnectionError as error:
            raise UserError(
                f"grpo.vllm.base_url: no vLLM server answered at {vllm.base_url} within "
                f"{vllm.timeout_seconds:g} seconds; start it as docs/scale.md says, or set "
                "grpo.rollouts=local"
            ) from error


def settled(vllm: VllmConfig, longest: int) -> VllmConfig:
    """With room for ``longest`` tokens, prompt and completion, where no length was asked for."""
    return vllm.model_copy(update={"max_length": vllm.max_length or longest})


def arguments(config: GRPOStageConfig) -> dict[str, Any]:
    """What TRL's ``GRPOConfig`` is told, in its names.

    vLLM rounds otherwise than the policy does, so TRL weighs each completion by the ratio of both
    (importance sampling), which stays on.
    """
    if config.rollouts == "local":
        return {}
    vllm = config.vllm
    return {
        "use_vllm": True,
        "vllm_mode": config.rollouts.removeprefix("vllm_"),
        "vllm_server_base_url": vllm.base_url,
        "vllm_server_timeout": vllm.timeout_seconds,
        "vllm_group_port": vllm.group_port,
        "vllm_gpu_memory_utilization": vllm.memory_share,
        "vllm_max_model_length": vllm.max_length or None,
        "vllm_tensor_parallel_size": vllm.tensor_parallel,
        "vllm_enable_sleep_mode": vllm.sleep and config.rollouts == "vllm_colocate",
        "vllm_importance_sampling_correction": True,
    }
