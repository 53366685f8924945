"""The six systems that are compared, and their completions on held-out questions.

Knows: which prompt and which policy a system is, how completions are cached so that a killed run goes on.
Does not know: what the completions are worth (``metrics``).
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from transformers import AutoTokenizer

from empathy_lib.core.config import E5, GenerationConfig
from empathy_lib.core.errors import UserError
from empathy_lib.core.run import Run, generator
from empathy_lib.core.schema import Item
from empathy_lib.dataset.build import load_splits
from empathy_lib.models.base import base_request, generate, load_policy, prepare_base
from empathy_lib.models.e5 import prepare_e5
from empathy_lib.models.encoder import Encoder
from empathy_lib.models.fluency import mean_log_probability
from empathy_lib.models.lengths import Length, completion_length
from empathy_lib.models.memory import releases_memory
from empathy_lib.models.prompts import base_prompt, coe_prompt, few_shot_prompt, plain_prompt, training_texts
from empathy_lib.models.retrieval import Bm25Retriever

SYSTEMS = ("base", "few_shot", "bm25", "sft_no_coe", "sft", "grpo")
# The stage whose artefact a system needs.
_STAGE = {
    "base": "01_dataset",
    "few_shot": "01_dataset",
    "bm25": "01_dataset",
    "sft_no_coe": "02_sft",
    "sft": "02_sft",
    "grpo": "04_grpo",
}
# Below the stage: the folder of a trained policy.
POLICY = {"sft_no_coe": "no_coe/policy", "sft": "coe/policy", "grpo": "policy"}
COMPARED = "grpo_"  # followed by one of grpo.comparisons: a system of notebook 04 alone
_STOPS = re.compile(r"\n求助帖：|\n阅读求助帖")  # where a base model starts a task of its own


def base_folder(run: Run) -> Path:
    """Folder of the run's prepared base; fetched, verified and trimmed on the first call."""
    train = load_splits(run.stage("01_dataset"))["train"]
    return prepare_base(run.profile.base_model, training_texts(train))


@functools.cache
def _completion_length(base: Path, dataset: Path, identity: str, generation: str) -> Length:
    """As :func:`completion_room`; what ``dataset`` holds is told by its ``identity``."""
    config = GenerationConfig.model_validate_json(generation)
    return completion_length(config, load_splits(dataset)["train"], AutoTokenizer.from_pretrained(base))


def completion_room(run: Run) -> Length:
    """``generation.max_new_tokens`` of this run, and how its training completions lie to it."""
    identity = run.manifest("01_dataset").get("identity", "")
    found = run.profile.generation.model_dump_json()
    return _completion_length(base_folder(run), run.stage("01_dataset"), identity, found)


def generation_of(run: Run) -> GenerationConfig:
    """``generation`` of the profile with the number of new tokens that ``auto`` means on this run's training
    items."""
    generation = run.profile.generation
    if generation.max_new_tokens != "auto":
        return generation
    return generation.model_copy(update={"max_new_tokens": completion_room(run).tokens})


def reward_base(run: Run) -> Path:
    """Folder of what the reward encoder starts from (``reward.base``)."""
    return prepare_e5() if run.profile.reward.base == E5 else base_folder(run)


def held_out(run: Run) -> list[Item]:
    """The test questions that every system answers: ``metrics.max_questions`` of the test split, drawn with
    the seed."""
    items = load_splits(run.stage("01_dataset"))["test"]
    order = run.rng("held-out questions").permutation(len(items))
    return [items[i] for i in order[: run.profile.metrics.max_questions]]


def few_shot_examples(run: Run) -> list[Item]:
    """Training items shown to the few-shot base, drawn with the seed."""
    items = [i for i in load_splits(run.stage("01_dataset"))["train"] if any(a.coe for a in i.answers)]
    order = run.rng("few-shot examples").permutation(len(items))
    return [items[i] for i in order[: run.profile.metrics.few_shot_examples]]


def policy_stage(system: str, seed: int = 1) -> str:
    """Name of the stage whose artefact a system needs; ``seed`` 2, 3, … is a further training run of ``grpo``
    (``grpo.seeds``)."""
    stage = f"04_{system}" if system.startswith(COMPARED) else _STAGE[system]
    return stage + (f"_seed{seed}" if seed > 1 else "")


def policy_folder(run: Run, system: str, seed: int = 1) -> Path:
    """Where a system's weights are, of one of its trainings; the base's own for what is not trained."""
    if system in ("base", "few_shot"):
        return base_folder(run)
    return run.stage(policy_stage(system, seed)) / POLICY.get(system, "policy")


def completions_stage(
    system: str, *, greedy: bool = False, sample: int = 1, seed: int = 1, penalty: float = 1.0
) -> str:
    """Name of the stage that holds a system's completions."""
    parts = [system, *[f"seed{seed}"] * (seed > 1), *["greedy"] * greedy, *[f"sample{sample}"] * (sample > 1)]
    parts += [f"penalty{penalty:g}"] * (penalty != 1)
    return f"completions/{'_'.join(parts)}"


def complete(
    run: Run,
    system: str,
    items: list[Item],
    *,
    greedy: bool = False,
    sample: int = 1,
    seed: int = 1,
    penalty: float = 1.0,
) -> list[str]:
    """One completion per item, generated once per run and cached under ``completions/``.

    Args:
        system: one of :data:`SYSTEMS`, or ``grpo_`` and one of ``grpo.comparisons``.
        items: questions to answer; their order is kept.
        greedy: greedy decoding instead of the profile's sampling (a separate cache).
        sample: 1, or 2, 3, … for further completions of the same questions, each drawn afresh.
        seed: which of the training runs of ``grpo``, from 1 to ``grpo.seeds``.
        penalty: a repetition penalty, as :func:`empathy_lib.models.base.generate` takes it (a separate
            cache).

    Raises:
        UserError: no such system, or its stage is not finished.
    """
    known = (*SYSTEMS, *(COMPARED + name for name in run.profile.grpo.comparisons))
    if system not in known:
        raise UserError(f"no system '{system}'; use one of {', '.join(known)}")
    name = completions_stage(system, greedy=greedy, sample=sample, seed=seed, penalty=penalty)
    request = {
        # batch_size too: every batch has a seed of its own
        "generation": generation_of(run).model_dump(exclude={"max_new_tokens_cap"}),
        "base": base_request(run.profile.base_model),
        "few_shot": run.profile.metrics.few_shot_examples if system == "few_shot" else None,
    }
    request |= {"penalty": penalty} if penalty != 1 else {}
    content = {"questions": [item.question for item in items]}
    with run.build(name, request, [policy_stage(system, seed)], content) as stage:
        if not stage.reused:
            decoding = {"greedy": greedy, "penalty": penalty}
            _fill(run, system, seed, items, stage.path / "completions.jsonl", name, **decoding)
    return [_STOPS.split(text)[0].strip() for text in _read(run.stage(name) / "completions.jsonl").values()]


@releases_memory
def _fill(
    run: Run,
    system: str,
    trained: int,
    items: list[Item],
    path: Path,
    purpose: str,
    *,
    greedy: bool,
    penalty: float,
) -> None:
    """Generate what ``path`` does not hold yet; each batch has a seed of its own, so a resumed file equals an
    unbroken one."""
    if system == "bm25":
        retriever = Bm25Retriever(load_splits(run.stage("01_dataset"))["train"])
        _append(path, [i.id for i in items], retriever.answers([i.question for i in items]))
        return
    done = len(_read(path)) if path.exists() else 0
    config = generation_of(run)
    size = config.batch_size
    model, tokenizer = load_policy(policy_folder(run, system, trained))
    shots = few_shot_examples(run) if system == "few_shot" else []
    prompt_of: dict[str, Callable[[str], str]] = {
        "base": lambda q: base_prompt(tokenizer, q),
        "few_shot": lambda q: few_shot_prompt(tokenizer, q, shots),
        "sft_no_coe": lambda q: plain_prompt(tokenizer, q),
        "grpo_no_coe": lambda q: plain_prompt(tokenizer, q),
    }
    build = prompt_of.get(system, lambda q: coe_prompt(tokenizer, q))
    for start in range(done, len(items), size):
        batch = items[start : start + size]
        seed = int(generator(run.profile.seed, f"{purpose}/{start}").integers(2**31))
        prompts = [build(i.question) for i in batch]
        texts = generate(model, tokenizer, prompts, config, seed, greedy=greedy, penalty=penalty)
        _append(path, [i.id for i in batch], texts)


def _append(path: Path, ids: list[str], completions: list[str]) -> None:
    lines = [
        json.dumps({"id": i, "completion": c}, ensure_ascii=False) + "\n"
        for i, c in zip(ids, completions, strict=True)
    ]
    with path.open("a", encoding="utf-8") as handle:
        handle.write("".join(lines))


def _read(path: Path) -> dict[str, str]:
    """Whole records of a completions file; a batch cut short by a kill is cut off the file."""
    data = path.read_bytes()
    # bytes: a kill may cut a character, and some characters pass for line ends in text
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        path.write_bytes(whole)
    records = [json.loads(line) for line in whole.decode("utf-8").split("\n") if line]
    return {record["id"]: record["completion"] for record in records}


def complete_all(run: Run, items: list[Item]) -> dict[str, list[str]]:
    """Completions of all six systems, ``{system: [completion, …]}``; written by notebook 05 as its
    ``completions.jsonl``."""
    return {system: complete(run, system, items) for system in SYSTEMS}


def further_samples(run: Run, system: str, items: list[Item]) -> list[list[str]]:
    """Completions of ``sft`` or ``grpo`` beyond the first: ``metrics.samples`` of each training run, as
    notebook 04 draws them."""
    seeds = range(1, run.profile.grpo.seeds + 1) if system == "grpo" else (1,)
    drawn = [(seed, sample + 1) for seed in seeds for sample in range(run.profile.metrics.samples)]
    return [complete(run, system, items, sample=sample, seed=seed) for seed, sample in drawn[1:]]


def fluency_of_base(run: Run) -> Callable[[list[str]], np.ndarray]:
    """The untrained base's mean log-probability of texts (see ``fluency``), which no training moved."""
    model, tokenizer = load_policy(base_folder(run))
    return lambda texts: mean_log_probability(model, tokenizer, texts)


def base_encoder(run: Run) -> Encoder:
    """The untrained base as a text encoder, centred on training references: similarity scores that the reward
    model has no part in."""
    model, tokenizer = load_policy(base_folder(run))
    train = load_splits(run.stage("01_dataset"))["train"]
    return Encoder(model.base_model, tokenizer, [item.references[0] for item in train[:128]])
