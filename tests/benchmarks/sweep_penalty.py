"""Which repetition penalty keeps greedy answers out of loops? On validation posts of a finished run.

    .venv/bin/python tests/benchmarks/sweep_penalty.py RUN_DIR [--profile laptop] [--penalties 1 1.1 1.2 1.3]
        [--posts 60] [--systems sft grpo] [--set field=value …]

Nothing is kept but the table: shares of completions that are well-formed and that loop, r_answer by the run's
reward, copy rate and characters of the answers. Held-out posts are not looked at. The last line is JSON;
``chosen`` is the penalty with the highest mean share of well-formed completions, the least of equals.

So far, SMILE (smile_6000), ``laptop``, 60 validation posts:

    system  penalty  well-formed  loops  r_answer  copy rate  characters
    sft     1.1      .70          .28    .45       .069       324
    sft     1.2      .98          .00    .37       .002       184
    sft     1.3      .93          .00    .25       .001       166
    grpo    1.1      .60          .33    .55       .007       381
    grpo    1.2      .97          .02    .62       .000       260
    grpo    1.3      1.00         .00    .52       .000       236

So notebook 04 shows 1.2.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from empathy_lib.core import coe, copying, quality
from empathy_lib.core.config import parse_assignments
from empathy_lib.core.run import Run
from empathy_lib.dataset.build import load_splits
from empathy_lib.models import systems
from empathy_lib.models.base import generate, load_policy
from empathy_lib.models.prompts import coe_prompt
from empathy_lib.reward import AnswerReward, load_reward


def marked(posts: list[str], completions: list[str], reward: AnswerReward) -> dict[str, float]:
    """Means over the posts."""
    answers = [coe.answer_of(text) for text in completions]
    return {
        "well-formed": float(np.mean([coe.is_well_formed(text) for text in completions])),
        "loops": float(np.mean([quality.loops(text) for text in completions])),
        "r_answer": float(np.mean(reward.rate(posts, answers))),
        "copy rate": float(np.mean([copying.copy_rate(a, q) for a, q in zip(answers, posts, strict=True)])),
        "characters": float(np.mean([len(answer) for answer in answers])),
    }


def chosen(table: pd.DataFrame) -> float:
    """The penalty with the highest mean share of well-formed completions; the least of equals."""
    return float(table["well-formed"].unstack("penalty").mean().idxmax())


def main(arguments: list[str] | None = None) -> None:
    """Greedy answers at every penalty; table and JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--penalties", type=float, nargs="+", default=[1.0, 1.1, 1.2, 1.3])
    parser.add_argument("--posts", type=int, default=60)
    parser.add_argument("--systems", nargs="+", default=["sft", "grpo"])
    parser.add_argument("--set", action="append", default=[], dest="assignments", metavar="FIELD=VALUE")
    asked = parser.parse_args(arguments)
    run = Run.open(asked.profile, str(asked.folder), parse_assignments(asked.assignments))
    items = load_splits(run.stage("01_dataset"))["validation"]
    drawn = run.rng("sweep of the repetition penalty").permutation(len(items))[: asked.posts]
    posts = [items[place].question for place in drawn]
    reward = AnswerReward.from_config(load_reward(run), run.profile.grpo)
    config, rows = systems.generation_of(run), {}
    for system in asked.systems:
        model, tokenizer = load_policy(systems.policy_folder(run, system))
        prompts = [coe_prompt(tokenizer, post) for post in posts]
        for penalty in asked.penalties:
            how = {"greedy": True, "penalty": penalty}
            texts = generate(model, tokenizer, prompts, config, run.profile.seed, **how)
            rows[system, penalty] = marked(posts, [text.strip() for text in texts], reward)
            table = pd.DataFrame(rows).T.rename_axis(["system", "penalty"])
            print(table.round(3).to_string(), flush=True)
    found = {system: part.droplevel(0).to_dict("index") for system, part in table.groupby(level=0)}
    print(json.dumps({"run": asked.folder.name, "posts": len(posts), **found, "chosen": chosen(table)}))


if __name__ == "__main__":
    main()
