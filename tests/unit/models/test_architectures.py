"""Any base: the same four stages on tiny random models of the configurations that people bring.

Each row is a family as its maker ships it: tokenizer (byte level or byte fallback, with or without a pad
token, what it puts before a text), chat template, tied or untied embeddings, several ends of a turn.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
import transformers
from stages import FakeJudge
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from empathy_lib.core.config import (
    BaseModelConfig,
    GenerationConfig,
    GRPOStageConfig,
    RewardConfig,
    SFTStageConfig,
)
from empathy_lib.grpo.train import train_grpo
from empathy_lib.models.base import generate, load_policy, prepare_base
from empathy_lib.models.prompts import coe_prompt, training_texts
from empathy_lib.reward import paid, triplets
from empathy_lib.reward.train import train_reward
from empathy_lib.sft import sft_pairs
from empathy_lib.sft.train import train_sft

# ChatML as Qwen3's template has it: unless told otherwise, its maker lets the model think aloud first
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content }}<|eot_id|>{% endfor %}<|start_header_id|>assistant<|end_header_id|>\n\n"
)


@dataclass(frozen=True)
class Family:
    """One row: the configuration's class, and the tokenizer's habits."""

    config: str
    tied: bool
    end: str
    pad: str | None
    before: tuple[str, ...] = ()
    template: str | None = None
    further_ends: tuple[str, ...] = ()
    more: tuple[tuple[str, object], ...] = ()


FAMILIES = {
    "Qwen2.5 base": Family("Qwen2Config", True, "<|endoftext|>", "<|endoftext|>"),
    "Qwen2.5 chat, untied": Family(
        "Qwen2Config", False, "<|im_end|>", "<|endoftext|>", (), CHATML, ("<|endoftext|>",)
    ),
    "Qwen3 chat": Family(
        "Qwen3Config",
        True,
        "<|im_end|>",
        "<|endoftext|>",
        (),
        CHATML,
        ("<|endoftext|>",),
        (("head_dim", 16),),
    ),
    "Llama 3 base, no pad": Family("LlamaConfig", False, "<|end_of_text|>", None, ("<|begin_of_text|>",)),
    "Llama 3 chat, no pad": Family(
        "LlamaConfig", True, "<|eot_id|>", None, ("<|begin_of_text|>",), LLAMA3, ("<|end_of_text|>",)
    ),
    "GLM-4": Family("Glm4Config", False, "<|endoftext|>", "<|endoftext|>", ("[gMASK]", "<sop>")),
    "InternLM 3": Family("InternLM3Config", False, "</s>", "</s>", ("<s>",)),
}
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 1024,
}


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda name: name.replace(",", "").replace(" ", "-"))
def folder(request, items, tmp_path_factory):
    """A random model of the family in the hub's layout, and the family."""
    family = FAMILIES[request.param]
    specials = sorted({family.end, *family.before, *family.further_ends, *filter(None, [family.pad])})
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    learnt = trainers.BpeTrainer(
        vocab_size=900,
        special_tokens=[*specials, "<|im_start|>", "<|start_header_id|>", "<|end_header_id|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator([*training_texts(items), "unused words that nobody needs " * 9], learnt)
    if family.before:
        inner.post_processor = processors.TemplateProcessing(
            single=" ".join([*family.before, "$A"]),
            special_tokens=[(token, inner.token_to_id(token)) for token in family.before],
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token=family.end,
        pad_token=family.pad,
        bos_token=family.before[0] if family.before else None,
    )
    tokenizer.chat_template = family.template
    config = getattr(transformers, family.config)(
        **SIZES,
        vocab_size=len(tokenizer) + 7,  # as shipped: rounded up, rows that no token has
        tie_word_embeddings=family.tied,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **dict(family.more),
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    ends = [tokenizer.convert_tokens_to_ids(token) for token in (family.end, *family.further_ends)]
    model.generation_config.eos_token_id = ends
    made = tmp_path_factory.mktemp("hub") / "底座 base"
    model.save_pretrained(made)
    tokenizer.save_pretrained(made)
    return made, family


@pytest.mark.parametrize("trimmed", [True, False], ids=["trimmed", "whole"])
def test_four_stages_run_on_any_base(folder, trimmed, items, tmp_path):
    source, family = folder
    settings = BaseModelConfig(source=str(source), trim_vocabulary=trimmed, trim_min_count=1, max_length=700)
    base = prepare_base(settings, training_texts(items), cache=tmp_path)
    model, tokenizer = load_policy(base, dtype="float32")
    whole, uncut = AutoModelForCausalLM.from_pretrained(source), AutoTokenizer.from_pretrained(source)
    assert (model.config.vocab_size < whole.config.vocab_size) == trimmed
    assert model.config.tie_word_embeddings == family.tied

    # the prompt: what is put before it stands there once, and a model that could think aloud is told not to
    prompt = coe_prompt(tokenizer, items[0].question)
    ids = tokenizer(prompt)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids)[: len(family.before)] == list(family.before)
    assert all(ids.count(tokenizer.convert_tokens_to_ids(token)) == 1 for token in family.before)
    assert ("<think>\n\n</think>" in prompt) == (family.template == CHATML)

    # lossless: the same text, and for the tokens that both have the same logits up to bfloat16's rounding
    assert tokenizer.decode(ids) == uncut.decode(uncut(prompt)["input_ids"])
    shared = [t for t in tokenizer.get_vocab() if t in uncut.get_vocab()]
    with torch.no_grad():
        ours = model(torch.tensor([ids])).logits[0, -1, tokenizer.convert_tokens_to_ids(shared)]
        theirs = whole(torch.tensor([uncut(prompt)["input_ids"]])).logits[0, -1]
    theirs = theirs[uncut.convert_tokens_to_ids(shared)]
    assert torch.corrcoef(torch.stack([ours, theirs]))[0, 1] > 0.99
    ends = model.generation_config.eos_token_id
    told = tokenizer.convert_ids_to_tokens(ends if isinstance(ends, list) else [ends])
    assert set(told) == {family.end, *family.further_ends}
    assert tokenizer.pad_token is not None and tokenizer.pad_token_id < model.config.vocab_size

    # SFT: each completion ends, and the end is learnt, whatever stands in for the missing pad token
    pairs = sft_pairs(items, tokenizer, 12, np.random.default_rng(0), coe=True)
    steps = SFTStageConfig(batch_size=2, max_steps=3, learning_rate=1e-3, allow_worse_than_base=True)
    log = train_sft(base, pairs, pairs[:2], tmp_path / "sft", steps, settings, 1)
    assert all(np.isfinite(record["loss"]) for record in log if "loss" in record)
    policy = tmp_path / "sft" / "policy"

    # GRPO, and greedy answers of what comes out
    config = GRPOStageConfig(
        max_steps=2, prompts_per_step=2, num_generations=2, micro_batch=2, learning_rate=1e-3, beta=0.02
    )
    short = GenerationConfig(max_new_tokens=8)
    reward = paid.AnswerReward(FakeJudge(), "smooth")
    log = train_grpo(policy, items, reward, tmp_path / "grpo", config, short, 1)
    assert [record["step"] for record in log if "kl" in record] == [1, 2]
    model, tokenizer = load_policy(tmp_path / "grpo" / "policy")
    answers = generate(model, tokenizer, [prompt] * 2, short, 1, greedy=True)
    assert answers[0] == answers[1]

    # a reward model from the same decoder
    if not trimmed:
        drawn = triplets.build_triplets(
            items, config := RewardConfig(max_triplets=8, batch_size=4, max_steps=2), np.random.default_rng(0)
        )
        log = train_reward(base, drawn, drawn[:4], tmp_path / "reward", config, 1)
        assert any(np.isfinite(record.get("loss", np.nan)) for record in log)


def test_the_end_of_a_completion_is_among_what_is_learnt(folder, items, tmp_path):
    """Where pad and end are one token, a collator that masks pads would mask the end as well."""
    from empathy_lib.sft.trainer import PassesTrainer

    source, _ = folder
    settings = BaseModelConfig(source=str(source), trim_vocabulary=False, max_length=700)
    base, seen = prepare_base(settings, training_texts(items), cache=tmp_path), []
    tokenizer = AutoTokenizer.from_pretrained(base)
    pairs = sft_pairs(items, tokenizer, 2, np.random.default_rng(0), coe=True)

    class Looking(PassesTrainer):
        def compute_loss(self, model, inputs, *given, **named):
            seen.append(inputs["labels"])
            return super().compute_loss(model, inputs, *given, **named)

    steps = SFTStageConfig(batch_size=2, max_steps=1, learning_rate=1e-3, allow_worse_than_base=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("empathy_lib.sft.train.PassesTrainer", Looking)
        train_sft(base, pairs, pairs, tmp_path / "sft", steps, settings, 1)
    for labels in seen:
        for row in labels:
            assert row[row != -100][-1] == tokenizer.eos_token_id
