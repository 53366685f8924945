"""What is compiled where a compiler is: the small operations between a model's matrix products.

Knows: ``torch.compile`` and how transformers names its modules. Does not know: any trainer.

On a CPU a quarter of a training step goes into norms, activations and softmax, each operation a pass over
memory of its own. Compiled, such a part is one pass. The products stay with their library. Parts rather than
whole layers, so that a layer may hold a cache; one graph serves all lengths.
"""

from __future__ import annotations

import functools

import torch
from transformers import PreTrainedModel

from empathy_lib.models import attention

# compiling takes as long as some ten passes, and a small model has little to gain
MIN_PARAMETERS, MIN_PASSES = (50_000_000, 40)
_PARTS = ("MLP", "RMSNorm", "LayerNorm")


def compile_parts(model: torch.nn.Module, passes: int) -> None:
    """Compile, in place, the norms, the MLPs and the attention of ``model``, where so many ``passes`` forward
    and back make that pay."""
    if passes < MIN_PASSES or not is_worth_compiling(model):
        return
    torch._dynamo.config.recompile_limit = (
        64  # with and without gradient, three ranks, policy and reference: more than its eight
    )
    for module in model.modules():
        if type(module).__name__.endswith(_PARTS):
            module.compile(dynamic=True)
        if isinstance(module, PreTrainedModel) and module.config._attn_implementation == attention.NAME:
            module.set_attn_implementation(attention.COMPILED)


def is_worth_compiling(model: torch.nn.Module) -> bool:
    """Whether ``model`` is large enough, and its device one that can be compiled for."""
    large = sum(parameter.numel() for parameter in model.parameters()) >= MIN_PARAMETERS
    return large and can_compile(next(model.parameters()).device.type)


@functools.cache
def can_compile(device: str) -> bool:
    """Whether to compile on this device: on a CPU where a trial can be compiled; where it cannot, a line says
    so."""
    if device != "cpu":
        return False
    try:
        torch.compile(lambda x: x * 2 + 1)(torch.ones(64))
    except Exception as error:  # whatever a missing or broken tool chain raises
        print(
            f"nothing can be compiled here ({type(error).__name__}), so training and sampling take longer; "
            f"compilation needs g++,"
        )
        print("and torch in a folder whose path has no space, which the linker takes for its end")
        return False
    return True
