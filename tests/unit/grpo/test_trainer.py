"""Prompts read once and compiled steps give what transformers and TRL give: completions, log-probabilities,
gradients, updates."""

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from trl import GRPOConfig, GRPOTrainer

from empathy_lib.grpo.trainer import SharedPromptGRPOTrainer
from empathy_lib.models import decoding
from empathy_lib.models.base import load_policy

PROMPTS = ["最近总是失眠，我很焦虑。", "你好", "孩子不听话，我每天都很累。"]


def load(folder, dtype=torch.float32):
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype), tokenizer


def batch_of(tokenizer, repeats=(0, 1, 0, 2, 1)):
    return tokenizer(
        [PROMPTS[i] for i in repeats], return_tensors="pt", padding=True, return_token_type_ids=False
    )


@pytest.mark.parametrize("window", [512, 8])  # 8: shorter than a prompt
def test_completions_are_those_of_the_stock_generate(hub_folder, window, compiled, monkeypatch):
    monkeypatch.setattr(decoding, "MIN_ROWS", 5)
    made = []
    monkeypatch.setattr(
        decoding, "_static", lambda *args, whole=decoding._static: made.append(args) or whole(*args)
    )
    model, tokenizer = load(hub_folder)
    model.config.sliding_window = window
    batch = batch_of(tokenizer)
    how = {
        "max_new_tokens": 24,
        "do_sample": False,
        "pad_token_id": tokenizer.pad_token_id,
        "min_new_tokens": 24,
    }
    stock = model.generate(**batch, **how)
    decoding.use_quick_generate(model)
    if compiled:
        decoding.compile_steps(model, 5, batch["input_ids"].shape[1] + 24)
    assert torch.equal(model.generate(**batch, **how), stock)
    assert len(made) == (compiled and window > 8)  # a window shorter than the prompt has dropped tokens
    # of another shape
    assert len(model.generate(**batch_of(tokenizer, (0, 1)), **how)) == 2 and len(made) <= 1


def test_a_policy_is_loaded_with_the_quick_generate(base):
    model, _ = load_policy(base)
    assert isinstance(model.generate, decoding._QuickGenerate)


@pytest.mark.parametrize("window", [512, 8])
def test_log_probabilities_and_gradients_are_trls(hub_folder, tmp_path, window):
    model, tokenizer = load(hub_folder)
    model.config.sliding_window = window
    trainer = trainer_of(SharedPromptGRPOTrainer, model, tokenizer, tmp_path)
    batch, completions = (
        batch_of(tokenizer),
        torch.randint(5, 200, (5, 7), generator=torch.Generator().manual_seed(2)),
    )
    ids = torch.cat([torch.full((5, 2), tokenizer.pad_token_id), batch["input_ids"], completions], dim=1)
    mask = torch.cat(
        [torch.zeros(5, 2, dtype=torch.long), batch["attention_mask"], torch.ones_like(completions)], dim=1
    )
    mask[1, -3:] = 0  # a completion that ends early
    mask[4, -2:] = 0  # in a part of its own, as five rows are cut in twos
    keep = mask[:, -7:]
    found = []
    for kind in (GRPOTrainer, SharedPromptGRPOTrainer):
        for size in (None, 2):
            model.zero_grad()
            logps, entropies, _ = kind._get_per_token_logps_and_entropies(
                trainer, model, ids, mask, 7, size, compute_entropy=True
            )
            (logps * keep).sum().backward()
            found.append(
                [
                    (logps * keep).detach(),
                    (entropies * keep).detach(),
                    *[p.grad.clone() for p in model.parameters()],
                ]
            )
    for other in found[1:]:
        for one, same in zip(found[0], other, strict=True):
            assert torch.allclose(one, same, atol=2e-5, rtol=1e-4)


def trainer_of(kind, model, tokenizer, folder, **more):
    arguments = GRPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=4,
        num_generations=4,
        max_completion_length=6,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        beta=0.1,
        bf16=False,
        gradient_checkpointing=False,
        learning_rate=1e-2,
        logging_steps=1,
        seed=3,
        **more,
    )
    rows = Dataset.from_list([{"prompt": prompt} for prompt in PROMPTS])
    return kind(
        model=model,
        reward_funcs=lambda completions, **_: [float(len(c) % 3) for c in completions],
        args=arguments,
        train_dataset=rows,
        processing_class=tokenizer,
    )


def test_training_steps_are_trls(hub_folder, tmp_path):
    made = []
    for kind in (GRPOTrainer, SharedPromptGRPOTrainer):
        torch.manual_seed(0)
        model, tokenizer = load(hub_folder)
        trainer = trainer_of(kind, model, tokenizer, tmp_path / kind.__name__, max_steps=3)
        trainer.train()
        made.append((trainer, [(log["loss"], log["kl"]) for log in trainer.state.log_history if "kl" in log]))
    (stock, before), (ours, after) = made
    assert len(before) == 3 and torch.allclose(torch.tensor(before), torch.tensor(after), atol=1e-5)
    for one, other in zip(stock.model.parameters(), ours.model.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_the_completions_of_a_prompt_share_a_micro_batch(hub_folder, tmp_path):
    seen = []

    class Watched(SharedPromptGRPOTrainer):
        def _prepare_inputs(self, generation_batch):
            inputs = super()._prepare_inputs(generation_batch)
            seen.append(len(torch.unique(inputs["prompt_ids"], dim=0)))
            return inputs

    model, tokenizer = load(hub_folder)
    trainer_of(Watched, model, tokenizer, tmp_path, max_steps=2).train()
    assert seen == [1] * 8


def test_a_drawn_token_follows_the_softmax_at_the_temperature():
    """60,000 draws of six tokens: within four standard errors of the probabilities, and never one of
    probability zero."""
    torch.manual_seed(0)
    scores = torch.tensor([-torch.inf, 2.0, 0.5, -1.0, 1.0, -torch.inf])
    made = decoding.Draw(0.8)(torch.zeros(60_000, 1, dtype=torch.long), scores.repeat(60_000, 1))
    assert (made.isfinite().sum(dim=1) == 1).all()
    seen = made.argmax(dim=1).bincount(minlength=6) / 60_000
    expected = (scores / 0.8).softmax(dim=0)
    assert ((seen - expected).abs() <= 4 * (expected * (1 - expected) / 60_000).sqrt()).all()


@pytest.mark.parametrize(
    "changes",
    [{"top_p": 0.9}, {"top_k": 20}, {"min_p": 0.1}, {"do_sample": False}, {"num_return_sequences": 2}, {}],
)
def test_only_plain_sampling_is_drawn_by_us(hub_folder, monkeypatch, changes):
    drawn = []
    monkeypatch.setattr(
        decoding.Draw, "__call__", lambda self, ids, scores: drawn.append(self.temperature) or scores
    )
    model, tokenizer = load(hub_folder)
    decoding.use_quick_generate(model)
    settings = {
        "do_sample": True,
        "top_p": 1.0,
        "top_k": 0,
        "temperature": 0.8,
        "max_new_tokens": 3,
        "min_new_tokens": 3,
    } | changes
    made = model.generate(
        **batch_of(tokenizer, (0, 1)),
        generation_config=GenerationConfig(pad_token_id=tokenizer.pad_token_id, **settings),
    )
    assert len(made) == 2 * settings.get("num_return_sequences", 1)
    assert drawn == ([] if changes else [0.8] * 3)


@pytest.mark.parametrize("window", [512, 8])
def test_rows_that_ended_leave_the_batch_and_the_others_go_on_as_before(hub_folder, window, monkeypatch):
    monkeypatch.setattr(decoding, "STRETCH", 3)
    model, tokenizer = load(hub_folder)
    model.config.sliding_window = window
    batch = batch_of(tokenizer)
    how = {"do_sample": False, "pad_token_id": tokenizer.pad_token_id, "repetition_penalty": 1.3}
    free = model.generate(**batch, **how, max_new_tokens=20)
    after = free[:, batch["input_ids"].shape[1] :]
    # tokens that come early in some rows, late in others, in the last stretch of one or never
    how["eos_token_id"] = [int(after[0, 1]), int(after[1, 10]), int(after[3, 19])]
    stock = model.generate(**batch, **how, max_new_tokens=20)
    widths = []
    decoding.use_quick_generate(model)
    watched = model.generate.stock
    monkeypatch.setattr(
        model.generate, "stock", lambda **now: widths.append(len(now["input_ids"])) or watched(**now)
    )
    assert torch.equal(model.generate(**batch, **how, max_new_tokens=20), stock)
    assert widths[0] == 5 and widths[-1] < 5
    whole = GenerationConfig(**how, max_new_tokens=20)
    assert torch.equal(model.generate(**batch, generation_config=whole), stock)
    scored = model.generate(**batch, **how, max_new_tokens=20, return_dict_in_generate=True)
    assert torch.equal(scored.sequences, stock)
