"""What vocabulary trimming buys: the trimmed base against the whole one, in one run, as ratios.

    .venv/bin/python tests/benchmarks/bench_base.py

Interleaved repeats on the same texts; the last line is JSON with the median ratio (above 1: trimmed is
quicker) and its spread. Absolute times depend on the machine and are not reported.
"""

from __future__ import annotations

import json
import statistics
import time

import torch

from empathy_lib.core.config import BaseModelConfig, DatasetConfig
from empathy_lib.dataset.generate import generate
from empathy_lib.models.base import load_policy, prepare_base
from empathy_lib.models.prompts import training_texts

REPEATS, BATCH, NEW_TOKENS = 3, 8, 24


def train_step(model, tokenizer, texts: list[str]) -> float:
    """Seconds of one forward and backward pass over ``texts``."""
    model.train()
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    started = time.perf_counter()
    model(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=batch["input_ids"]
    ).loss.backward()
    model.zero_grad()
    return time.perf_counter() - started


@torch.inference_mode()
def generation(model, tokenizer, texts: list[str]) -> float:
    """Seconds to sample ``NEW_TOKENS`` tokens after each text."""
    model.eval()
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    started = time.perf_counter()
    model.generate(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        max_new_tokens=NEW_TOKENS,
        min_new_tokens=NEW_TOKENS,
        do_sample=True,
        pad_token_id=tokenizer.pad_token_id,
    )
    return time.perf_counter() - started


def main() -> None:
    """Time both bases in turn and print the ratios."""
    texts = training_texts(generate(DatasetConfig(questions=200), seed=1))
    bases = {
        name: load_policy(prepare_base(BaseModelConfig(trim_vocabulary=name == "trimmed"), texts))
        for name in ("trimmed", "whole")
    }
    sample = [text[:300] for text in texts[:BATCH]]
    tokens = {name: sum(map(len, tokenizer(texts)["input_ids"])) for name, (_, tokenizer) in bases.items()}
    result: dict[str, object] = {
        "parameters_ratio": round(
            bases["whole"][0].num_parameters() / bases["trimmed"][0].num_parameters(), 2
        ),
        "extra_tokens_of_trimming": round(tokens["trimmed"] / tokens["whole"] - 1, 4),
    }
    for measure in (train_step, generation):
        ratios = []
        for repeat in range(REPEATS + 1):
            seconds = {name: measure(*base, sample) for name, base in bases.items()}
            if repeat:  # the first pair warms up
                ratios.append(seconds["whole"] / seconds["trimmed"])
        result[f"{measure.__name__}_ratio"] = {
            "median": round(statistics.median(ratios), 2),
            "spread": [round(r, 2) for r in sorted(ratios)],
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
