"""QLoRA (arXiv 2305.14314): a frozen base in 4 bits, adapters in float32 beside it.

Knows: bitsandbytes through transformers, and how a whole policy comes out of adapters. Does not know: what is
trained. bitsandbytes is the extra ``[qlora]``.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from peft import PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from transformers import (
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from empathy_lib.core.errors import UserError
from empathy_lib.models.base import device, load_policy, working_dtype


def load_quantized(folder: Path, dtype: str = "auto") -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """As ``base.load_policy``, with all linear layers but the head in NormalFloat of 4 bits.

    Raises:
        UserError: bitsandbytes is not installed.
    """
    if find_spec("bitsandbytes") is None:
        raise UserError(
            "tuning=qlora needs bitsandbytes, which is not installed: pip install -e '.[qlora]', or set "
            "tuning=lora"
        )
    four_bits = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=working_dtype(dtype),
    )
    model, tokenizer = load_policy(
        folder, dtype=dtype, quantization_config=four_bits, device_map={"": device()}
    )
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            # packing for a processor's inference rounds the scales for good: a resumed training would differ
            module.support_avx512bf16_for_cpu = False
    return model, tokenizer


def exact_adapters(model: PreTrainedModel | PeftModel) -> None:
    """Adapters in float32 again. TRL turns those over 4 bits into bfloat16; a training that resumes loads
    float32 ones, which would be others than the optimizer holds."""
    if getattr(model, "is_loaded_in_4bit", False):
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()


def merged(model: PeftModel, start: Path) -> PreTrainedModel:
    """The policy that adapters make of the base they were trained on, whole and free of peft.

    Adapters over 4 bits are merged into the weights of ``start`` as they were before: merged into those of 4
    bits, all that quantization lost would stay lost.
    """
    if not getattr(model, "is_loaded_in_4bit", False):
        return model.merge_and_unload()
    plain = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32, use_safetensors=True)
    adapted = get_peft_model(plain, model.peft_config["default"])
    set_peft_model_state_dict(
        adapted, {name: weights.cpu() for name, weights in get_peft_model_state_dict(model).items()}
    )
    return adapted.merge_and_unload()
