"""Is a run folder complete? ``python tests/check_run.py RUN``: six executed notebooks, and every headline
figure readers are promised."""

from __future__ import annotations

import sys
from pathlib import Path

from empathy_lib.core.files import read_json
from empathy_lib.core.run import NOTEBOOKS
from empathy_lib.core.style import SYSTEM_LABELS
from empathy_lib.metrics.harm_patterns import ITEMS
from empathy_lib.models.systems import SYSTEMS

ENTRY = {"value", "interval", "n", "unit", "notebook"}


def promised() -> set[str]:
    """The keys of ``headline.json`` that a complete run holds."""
    keys = {f"{system}.well_formed" for system in ("base", "sft", "grpo")}
    keys |= {f"{system}.validation_loss" for system in ("base", "sft", "sft_no_coe")}
    keys |= {
        "grpo.r_answer_minus_sft",
        "grpo.kind_judge_minus_sft",
        "grpo.kind_judge_minus_best_of_2",
        "rm.auc",
        "rm.pairwise_accuracy.random",
        "rm.pairwise_accuracy.same_topic",
    }
    labels = ("L1", "cause", "bias", "belief", "L3", "gist_recall")
    levels = ("chance", "constant", "post_pasted", "rules")
    keys |= {f"coe_accuracy.{who}.{label}" for who in (*SYSTEMS, *levels) for label in labels}
    keys |= {f"coe_accuracy.{who}.{label}" for who in ("grpo_chain", "reference") for label in labels[:5]}
    keys |= {f"{figure}.{system}" for figure in ("copy_rate", "r_answer") for system in SYSTEM_LABELS}
    keys |= {
        f"metrics.{system}.{metric}"
        for system in SYSTEMS
        for metric in ("rouge_1", "rouge_2", "rouge_l", "bleu_4", "distinct_2", "embedding")
    }
    keys |= {f"harm.{system}.{item}" for system in SYSTEM_LABELS for item in ITEMS}
    return keys | {f"{cost}.{name}" for cost in ("wall_minutes", "peak_gib") for name in NOTEBOOKS}


def main(run: Path) -> None:
    """Exit with 1 and say what is missing."""
    headline = read_json(run / "headline.json")
    faults = [
        f"no executed notebook {name}"
        for name in NOTEBOOKS
        if not (run / "notebooks" / f"{name}.ipynb").is_file()
    ]
    faults += [f"headline.json lacks {key}" for key in sorted(promised() - headline.keys())]
    faults += [
        f"headline.json: {key} has fields {sorted(entry)}"
        for key, entry in headline.items()
        if not set(entry) >= ENTRY
    ]
    if faults:
        sys.exit("\n".join(faults))
    print(f"run complete: six executed notebooks, {len(headline)} headline figures")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
