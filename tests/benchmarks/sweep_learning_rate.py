"""Which learning rate lowers the validation loss of SFT, with and without the chain? On any data source.

    .venv/bin/python tests/benchmarks/sweep_learning_rate.py FOLDER [--data DATA] [--rates 5e-5 1e-4 2e-4]
        [--pairs 400] [--profile laptop] [--set field=value …]

Every rate trains anew from the same base, on the same pairs, with the profile's other settings; pairs
without room are left out as in notebook 02. Each training is a stage of the run in FOLDER, so the same
command goes on after a kill and reuses what is done; weights are not kept. The table shows the base's
own loss (step 0), the best, its step, and the last. The last line is JSON; ``chosen``
has the lowest sum of both best losses among the rates at which both policies end below the base.

So far, ``laptop`` (batches of 4), 398 synthetic pairs, nats per completion token, base to best (step 100 of
100, still falling):

    policy    rate    base    best
    coe       1e-4    4.261   1.403
    coe       2e-4    4.261   1.416
    no_coe    1e-4    4.844   2.497

SMILE (smile_6000), ``coe``: 271 pairs in batches of 8, 5e-5: 3.818 to 2.258; 363 pairs in batches of 2, 5e-5:
to 2.068. Notebook 02 of ``laptop`` on 1,079 pairs, batches of 2: 5e-5 reaches 2.161 at step 200, 1.988 at 400
and 1.952 at the end (540), 1e-4 2.346, 2.089 and was stopped there; ``no_coe`` at 5e-5 rises from the base's
3.701 to 3.899 at step 100 and ends at 3.515. On 1,200 synthetic pairs the two rates end alike: with the chain
.859 at 5e-5 and .832 at 1e-4 (from 4.232), without it 1.711 at both (from 5.012). So ``laptop`` takes 5e-5.
Not done: less than 5e-5 on SMILE, which ``no_coe`` seems to want.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import pandas as pd
from transformers import AutoTokenizer

from empathy_lib.core.config import SYNTHETIC, SFTStageConfig, parse_assignments
from empathy_lib.core.run import Run
from empathy_lib.dataset.build import build_dataset, dataset_request, load_splits
from empathy_lib.models import read_log, systems
from empathy_lib.models.base import base_request
from empathy_lib.sft import fit, sft_pairs, train_sft

KINDS = {"coe": True, "no_coe": False}


def drawn(run: Run) -> dict[str, dict[str, list[dict]]]:
    """The pairs of each kind of policy, ``train`` and ``validation``, as notebook 02 draws them."""
    splits, limits = load_splits(run.stage("01_dataset")), run.profile.sft
    tokenizer = AutoTokenizer.from_pretrained(systems.base_folder(run))
    written, pairs = systems.completion_room(run), {kind: {} for kind in KINDS}
    for split, most, purpose in (
        ("train", limits.max_items, "sft pairs"),
        ("validation", limits.max_validation_items, "sft validation"),
    ):
        made = {
            kind: sft_pairs(splits[split], tokenizer, most, run.rng(purpose), coe=chain)
            for kind, chain in KINDS.items()
        }
        room = fit(made["coe"], tokenizer, run.profile.base_model, written)
        print(f"{split}: {room}", flush=True)
        for kind in KINDS:
            pairs[kind][split] = room.select(made[kind])
    return pairs


def trained(run: Run, kind: str, pairs: dict[str, list[dict]], config: SFTStageConfig) -> dict[str, float]:
    """What one training did to the validation loss."""
    name = f"02_sweep/{kind}_{config.learning_rate:g}"
    request = {"base_model": base_request(run.profile.base_model), "sft": config.model_dump()}
    with run.build(name, request, ["01_dataset"], pairs) as stage:
        if not stage.reused:
            start = systems.base_folder(run), pairs["train"], pairs["validation"], stage.path
            train_sft(*start, config, run.profile.base_model, run.profile.seed)
            shutil.rmtree(stage.path / "policy")
    log = read_log(run.stage(name) / "log.jsonl")
    looks = {record["step"]: record["eval_loss"] for record in log if "eval_loss" in record}
    best = min((step for step in looks if step), key=looks.__getitem__)
    found = {"base": looks[0], "best": looks[best], "step": best, "last": looks[max(looks)]}
    return found | {"steps": max(looks), "below_base": looks[best] < looks[0]}


def table(results: dict[str, dict[str, dict[str, float]]]) -> pd.DataFrame:
    """One row a training."""
    rows = {(kind, rate): row for kind, rates in results.items() for rate, row in rates.items()}
    return pd.DataFrame(rows).T.rename_axis(["policy", "rate"])


def chosen(results: dict[str, dict[str, dict[str, float]]]) -> str | None:
    """The rate with the lowest best losses among those at which every policy ends below its base."""
    rates = next(iter(results.values()))
    good = [rate for rate in rates if all(kind[rate]["below_base"] for kind in results.values())]
    return min(good, key=lambda rate: sum(kind[rate]["best"] for kind in results.values()), default=None)


def main(arguments: list[str] | None = None) -> None:
    """Train at every rate that is not done yet; table and JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", default=SYNTHETIC)
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--rates", type=float, nargs="+", default=[2e-5, 5e-5, 1e-4, 2e-4])
    parser.add_argument("--set", action="append", default=[], dest="assignments", metavar="FIELD=VALUE")
    asked = parser.parse_args(arguments)
    overrides = {"dataset.data": asked.data, "sft.max_items": asked.pairs}
    run = Run.open(asked.profile, str(asked.folder), overrides | parse_assignments(asked.assignments))
    data = run.profile.dataset
    with run.build("01_dataset", dataset_request(data)) as stage:
        if not stage.reused:
            build_dataset(data, run.profile.seed, stage.path)
    pairs, results = drawn(run), {kind: {} for kind in KINDS}
    for rate in asked.rates:
        changes = {"learning_rate": rate, "allow_worse_than_base": True}
        config = run.profile.sft.model_copy(update=changes)
        for kind in KINDS:
            results[kind][f"{rate:g}"] = trained(run, kind, pairs[kind], config)
            print(table(results).round(3).to_string(), flush=True)
    used = {split: len(each) for split, each in pairs["coe"].items()}
    print(
        json.dumps(
            {
                "data": Path(asked.data).name,
                "profile": asked.profile,
                "pairs": used,
                **results,
                "chosen": chosen(results),
            }
        )
    )


if __name__ == "__main__":
    main()
