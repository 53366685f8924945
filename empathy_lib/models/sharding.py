"""Weights, gradients and the optimizer of one policy dealt out to several processes (FSDP2), over accelerate.

Knows: what transformers' trainers are told, whether sharding was obtained, how a whole policy comes back.
Does not know: how processes start (``processes``), any loss.

Shards are float32, so they are their own masters, and stock AdamW trains them; arithmetic is what it is
without sharding. Fully sharded data parallelism is arXiv 2304.11277.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import PartialState
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.distributed.tensor import DTensor
from transformers import (
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainingArguments,
)

from empathy_lib.core.config import Tuning
from empathy_lib.core.errors import UserError
from empathy_lib.models.base import load_policy, working_dtype
from empathy_lib.models.processes import is_sharded
from empathy_lib.models.quantized import load_quantized

Arguments = TypeVar("Arguments", bound=TrainingArguments)


def load_to_train(
    folder: Path, dtype: str = "auto", tuning: Tuning = "full"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """:func:`load_policy`, for QLoRA in 4 bits; to be sharded, in float32 and with transformers' own
    ``generate``, which makes as many passes in all processes."""
    if tuning == "qlora":
        return load_quantized(folder, dtype)
    if not is_sharded():
        return load_policy(folder, dtype=dtype)
    model, tokenizer = load_policy(folder, dtype="float32")
    del model.generate
    return model, tokenizer


def sharded(arguments: dict[str, Any], betas: tuple[float, float], checkpointing: str) -> dict[str, Any]:
    """Arguments of a trainer that shards its model, layer by layer, and optimizes it by stock AdamW.

    Args:
        checkpointing: which of ``arguments`` checkpoints activations; sharding does it in its own way.

    Raises:
        UserError: the cards compute in float16.
    """
    if arguments["fp16"]:
        raise UserError("sharding=fsdp2: these cards do not multiply bfloat16; set sharding=none")
    config = {
        "version": 2,
        "reshard_after_forward": True,
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",  # layers are what the model's _no_split_modules say
        "activation_checkpointing": arguments[checkpointing],
        "state_dict_type": "FULL_STATE_DICT",
    }
    optimizer = {"optim": "adamw_torch_fused", "adam_beta1": betas[0], "adam_beta2": betas[1]}
    return {**arguments, **optimizer, checkpointing: False, "fsdp": True, "fsdp_config": config}


def computing_in(arguments: Arguments, dtype: str = "auto") -> Arguments:
    """The same arguments, with arithmetic in ``dtype`` where they shard."""
    if is_sharded():
        policy = MixedPrecisionPolicy(param_dtype=working_dtype(dtype), reduce_dtype=torch.float32)
        arguments.fsdp_plugin_args["mixed_precision_policy"] = policy
    return arguments


class AssertSharded(TrainerCallback):
    """Where sharding was asked for, stop a trainer that did not obtain it; accelerate leaves it out on
    CPUs."""

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        """The model has just been wrapped."""
        if not is_sharded():
            return
        parameters = list(model.parameters())
        if whole := sum(not isinstance(parameter, DTensor) for parameter in parameters):
            raise UserError(
                f"sharding=fsdp2 was asked for, but accelerate made {PartialState().distributed_type.value} "
                f"of it: {whole} of {len(parameters)} parameters are whole in every process; give each "
                f"process a GPU, or set sharding=none"
            )
        model._is_fsdp_managed_module = True  # so generate goes on until all processes are done


def gathered(model: PreTrainedModel) -> PreTrainedModel:
    """A plain copy of a sharded model in the first process' CPU memory; all must ask, the others get one
    without weights."""
    weights = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    with torch.device("meta"):
        plain = AutoModelForCausalLM.from_config(model.config)
    plain.generation_config = model.generation_config
    if weights:
        plain.load_state_dict(weights, assign=True)
        plain.tie_weights()
    return plain
