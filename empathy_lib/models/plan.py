"""What a profile needs of a card, before anything is downloaded: GiB and hours of each stage, estimated.

Knows: the parameters of a base by its configuration (counted by torch on tensors without data), what training
holds for each of them, a few cards. Does not know: what is installed. Nothing here was measured on a card:
docs/cost.md has the formulas and their assumptions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, Qwen2Config, Qwen3Config

from empathy_lib.core.config import E5, LoraSettings, Profile, Tuning
from empathy_lib.core.errors import UserError
from empathy_lib.models.passes import rows_per_pass

GIB = 2**30
OVERHEAD_GIB = 1.5  # CUDA context, kernels' workspaces, fragments; our guess
COMPUTE, BANDWIDTH = 0.35, 0.5  # shares of a card's stated rates that are reached; our guess


@dataclass(frozen=True)
class Card:
    """Memory in GiB, dense 16-bit TFLOP/s and GB/s, as its maker states; whether it multiplies bfloat16."""

    memory: float
    teraflops: float
    bandwidth: float
    bfloat16: bool = True


CARDS = {
    "T4": Card(15.0, 65, 320, bfloat16=False),
    "L4": Card(22.5, 121, 300),
    "A100-40": Card(39.5, 312, 1555),
    "A100-80": Card(79.2, 312, 2039),
    "H100-80": Card(79.2, 989, 3350),
}
CARD_OF = {"gpu": "T4", "paper": "A100-80"}  # what a profile was written for
REMEDIES = {
    "weights": "take a smaller base, or keep it in 4 bits (tuning=qlora)",
    "optimizer": "train adapters (tuning=lora), or for the reward model reward.base=e5",
    "activations": "lower tokens_per_pass or micro_batch",
    "cache": "lower generation.batch_size, or grpo.prompts_per_step and num_generations",
}
# The shapes of the bases that profiles name, as their model cards state them, for want of a network.
_KNOWN: dict[str, PretrainedConfig] = {
    "Qwen/Qwen3-0.6B-Base": Qwen3Config(
        vocab_size=151936,
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        tie_word_embeddings=True,
    ),
    "Qwen/Qwen2.5-7B": Qwen2Config(
        vocab_size=152064,
        hidden_size=3584,
        intermediate_size=18944,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
        tie_word_embeddings=False,
    ),
}


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder that memory and time follow from; ``linear``: in plus out of every adapted layer,
    ``adapted``: the weights of these layers, which QLoRA keeps in 4 bits."""

    parameters: int
    adapted: int
    linear: int
    layers: int
    width: int
    inner: int
    queries: int
    keys: int
    vocabulary: int


@dataclass(frozen=True)
class Need:
    """One stage on one card: GiB by what holds them, and hours (of all steps)."""

    weights: float
    optimizer: float
    activations: float
    cache: float
    hours: float

    @property
    def total(self) -> float:
        """GiB, overhead included."""
        return self.weights + self.optimizer + self.activations + self.cache + OVERHEAD_GIB


def config_of(source: str, revision: str | None = None) -> PretrainedConfig:
    """The configuration of a base: ours for those that profiles name, else the folder's or the hub's.

    Raises:
        UserError: it cannot be read.
    """
    if source in _KNOWN:
        return _KNOWN[source]
    try:
        return AutoConfig.from_pretrained(source, revision=revision or "main", trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UserError(
            f"base model '{source}': its config.json cannot be read ({str(error).splitlines()[0][:120]}); "
            "give a folder in the hub's layout, or check id and network"
        ) from error


def shape_of(config: PretrainedConfig) -> Shape:
    """Count a decoder's parameters on the meta device, where nothing is allocated."""
    config = config.get_text_config(decoder=True)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    adapted = [
        module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and not name.endswith("lm_head")
    ]
    return Shape(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        adapted=sum(module.weight.numel() for module in adapted),
        linear=sum(module.in_features + module.out_features for module in adapted),
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        inner=config.intermediate_size,
        queries=config.num_attention_heads * head,
        keys=config.num_key_value_heads * head,
        vocabulary=config.vocab_size,
    )


def trained_parameters(shape: Shape, tuning: Tuning, lora: LoraSettings) -> int:
    """How many parameters a stage trains: all, or two thin matrices beside every linear layer."""
    return shape.parameters if tuning == "full" else lora.r * shape.linear


def weight_bytes(shape: Shape, tuning: Tuning, size: int) -> int:
    """Weights of ``size`` bytes each; under QLoRA those of linear layers of 4 bits, with a scale for every
    64."""
    if tuning != "qlora":
        return size * shape.parameters
    return size * (shape.parameters - shape.adapted) + int(shape.adapted * (0.5 + 1 / 64))


def optimizer_bytes(trained: int, *, bfloat16: bool) -> int:
    """Gradients, both moments of Adam and, beside weights of 16 bits, their float32 masters."""
    return trained * ((2 + 4 + 8) if bfloat16 else (4 + 8))


def activation_bytes(shape: Shape, tokens: int, *, checkpointed: bool, logits: bool) -> int:
    """What a pass over so many tokens keeps for the way back, in 16 bits; attention is fused.

    Checkpointed: the input of every layer, and all of one layer. Where ``logits`` are held whole, they and
    their gradient come on top, in float32.
    """
    layer = 2 * tokens * (6 * shape.width + 2 * shape.queries + 2 * shape.keys + 4 * shape.inner)
    kept = 2 * tokens * shape.width * shape.layers + layer if checkpointed else layer * shape.layers
    return kept + (2 * 4 * tokens * shape.vocabulary if logits else 0)


def cache_bytes(shape: Shape, rows: int, tokens: int) -> int:
    """Keys and values, in 16 bits, of so many rows of so many tokens."""
    return 2 * 2 * rows * tokens * shape.layers * shape.keys


def needs(profile: Profile, shape: Shape, card: Card) -> dict[str, Need]:
    """Each stage's need on one card, at the longest texts that the profile allows: an upper bound on both.

    Weights lie in bfloat16 where the card multiplies it, else in float32 with float16 arithmetic (autocast).
    """
    size = 2 if card.bfloat16 else 4
    sft, grpo, generation = profile.sft, profile.grpo, profile.generation
    longest, new = profile.base_model.max_length_cap, generation.max_new_tokens_cap
    weights = size * shape.parameters
    flops, bytes_a_second = card.teraflops * 1e12 * COMPUTE, card.bandwidth * 1e9 * BANDWIDTH

    def trained_in(tuning: Tuning, lora: LoraSettings) -> tuple[float, float]:
        trained = trained_parameters(shape, tuning, lora)
        adapters = 0 if tuning == "full" else size * trained
        return (weight_bytes(shape, tuning, size) + adapters) / GIB, optimizer_bytes(
            trained, bfloat16=card.bfloat16
        ) / GIB

    def read_hours(tokens: float, passes: int) -> float:
        return 2 * passes * shape.parameters * tokens / flops / 3600

    def written_hours(rows: int, batches: float) -> float:
        # a step of decoding reads all weights and, on average, half of the cache
        step = (weights + cache_bytes(shape, rows, longest) / 2) / bytes_a_second
        return batches * new * step / 3600

    # forward, again (checkpointed), backward, and gradients of the weights where all are trained
    passes = {"full": 4, "lora": 3, "qlora": 3}
    held, optimizer = trained_in(sft.tuning, sft.lora)
    a_pass = sft.tokens_per_pass or sft.batch_size * longest
    found = {
        "02 SFT": Need(
            held,
            optimizer,
            activation_bytes(shape, a_pass, checkpointed=True, logits=True) / GIB,
            0,
            2 * read_hours(sft.max_items * sft.epochs * longest, passes[sft.tuning]),
        )
    }
    reward = profile.reward
    if reward.base != E5:  # the whole decoder is trained, without a head
        read_at_once = min(reward.tokens_per_pass, 3 * reward.batch_size * reward.max_length_cap)
        found["03 reward"] = Need(
            weights / GIB,
            optimizer_bytes(shape.parameters, bfloat16=card.bfloat16) / GIB,
            activation_bytes(shape, read_at_once, checkpointed=False, logits=False) / GIB,
            0,
            2 * read_hours(3 * reward.max_triplets * reward.epochs * reward.max_length_cap, 4),
        )
    rollouts = grpo.prompts_per_step * grpo.num_generations
    rows = rows_per_pass(grpo, rollouts, longest - new, new)
    held, optimizer = trained_in(grpo.tuning, grpo.lora)
    if grpo.tuning == "full":  # else the reference is the policy without its adapters
        held += weights / GIB
    found["04 GRPO"] = Need(
        held,
        optimizer,
        # log-probabilities are made in pieces, the logits never whole
        activation_bytes(shape, rows * longest, checkpointed=True, logits=False) / GIB,
        cache_bytes(shape, rollouts, longest) / GIB,
        read_hours(grpo.max_steps * rollouts * longest, passes[grpo.tuning] + 1)
        + written_hours(rollouts, grpo.max_steps),
    )
    batches = profile.metrics.max_questions / generation.batch_size * (2 * profile.metrics.samples + 4)
    found["02 to 05 sampling"] = Need(
        weights / GIB,
        0,
        0,
        cache_bytes(shape, generation.batch_size, longest) / GIB,
        written_hours(generation.batch_size, batches),
    )
    return found
