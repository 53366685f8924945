"""What a profile needs of a card: parameters as torch counts them, activations as autograd keeps them."""

import io

import pytest
import torch
from rich.console import Console
from torch.autograd.graph import saved_tensors_hooks
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, Qwen3Config

from empathy_lib.app import doctor
from empathy_lib.core.config import LoraSettings, load_profile
from empathy_lib.core.errors import UserError
from empathy_lib.models import plan
from empathy_lib.models.training import with_lora

COMMON = {"vocab_size": 500, "num_hidden_layers": 3, "max_position_embeddings": 128, "hidden_size": 64}
HEADS, GROUPS, INNER = "num_attention_heads", "num_key_value_heads", "intermediate_size"
CONFIGS = [
    Qwen3Config(**COMMON, **{INNER: 192, HEADS: 4, GROUPS: 2}, head_dim=16),
    LlamaConfig(**COMMON, **{INNER: 160, HEADS: 4, GROUPS: 4}),
    Gemma3TextConfig(**COMMON, **{INNER: 256, HEADS: 4, GROUPS: 1}, head_dim=32),
]


@pytest.fixture(params=CONFIGS, ids=lambda config: type(config).__name__)
def config(request):
    return request.param


def kept_bytes(model, tokens):
    """Bytes that autograd saves in one forward pass, parameters left out, each storage once."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    seen = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own and tensor.is_floating_point():
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        out = model.base_model(input_ids=torch.arange(tokens)[None] % 500, use_cache=False)
    assert out.last_hidden_state.requires_grad
    return sum(seen.values())


def test_parameters_and_adapters_are_those_of_the_model(config):
    shape, model = plan.shape_of(config), AutoModelForCausalLM.from_config(config)
    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())
    adapted = with_lora(model, LoraSettings(r=4))
    trained = sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)
    assert plan.trained_parameters(shape, "lora", LoraSettings(r=4)) == trained
    assert plan.trained_parameters(shape, "full", LoraSettings(r=4)) == shape.parameters


def test_activations_are_an_upper_bound_and_not_a_loose_one(config):
    shape = plan.shape_of(config)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").train()
    # float32 here, 16 bits there
    kept, planned = (
        kept_bytes(model, 64),
        2 * plan.activation_bytes(shape, 64, checkpointed=False, logits=False),
    )
    assert 0.6 * planned < kept < 1.6 * planned
    model.gradient_checkpointing_enable({"use_reentrant": False})
    checkpointed = plan.activation_bytes(shape, 64, checkpointed=True, logits=False)
    assert kept_bytes(model, 64) < 2 * checkpointed < planned


def test_the_cache_is_what_a_cache_holds(config):
    shape, model = plan.shape_of(config), AutoModelForCausalLM.from_config(config).to(torch.bfloat16)
    cache = model(input_ids=torch.ones(3, 20, dtype=torch.long), use_cache=True).past_key_values
    held = sum(2 * layer.keys.numel() + 2 * layer.values.numel() for layer in cache.layers)
    assert plan.cache_bytes(shape, 3, 20) == held


@pytest.mark.parametrize("name", ["gpu", "paper"])
def test_the_profiles_for_cards_fit_the_cards_they_were_written_for(name):
    profile, card = load_profile(name), plan.CARDS[plan.CARD_OF[name]]
    shape = plan.shape_of(plan.config_of(profile.base_model.source))
    found = plan.needs(profile, shape, card)
    assert {"02 SFT", "04 GRPO"} <= found.keys()
    for stage, need in found.items():
        assert 1 < need.total < card.memory and need.hours > 0, stage


def test_what_does_not_fit_is_said_with_its_remedy():
    said = io.StringIO()
    overrides = {"reward.base": "policy", "grpo.tuning": "full"}
    assert doctor.report_plan("paper", "T4", overrides, Console(file=said, width=200)) == 1
    text = said.getvalue()
    assert "03 reward: most of it is" in text and "estimated, not measured" in text
    assert "04 GRPO: most of it is" in text and "tuning=lora" in text


@pytest.mark.parametrize(
    ("profile", "card", "overrides", "words"),
    [
        ("laptop", "", {}, "runs on a CPU"),
        ("gpu", "GTX", {}, "use one of T4"),
        ("gpu", "", {"base_model.source": "/no/such/folder"}, "config.json cannot be read"),
    ],
)
def test_a_plan_that_cannot_be_made_is_an_error(profile, card, overrides, words):
    with pytest.raises(UserError, match=words):
        doctor.report_plan(profile, card, overrides, Console(file=io.StringIO()))
