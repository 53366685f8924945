"""The dataset card: what the folder holds, where it comes from, what it is fit for and what not.

Knows: the statistics it is given. Does not know: the items.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from empathy_lib.config import DatasetConfig

_ORIGIN = {
    True: "**Synthetic, written by the project.** Posts and answers are put together by a seeded program from fragments that stand in "
    "`data/synthesis/`; no person wrote them about their own life. This is *not* the paper's Empathy-QA, of which no release was found.",
    False: "**Real data of the user.** The project only cleaned, annotated and split it. It is *not* the paper's Empathy-QA. Unless "
    "`dataset.deidentify` was `off`, personal data that has a form (names after a cue, numbers, addresses, …) was replaced by typed "
    "placeholders, as far as rules find it. That is no anonymity: whoever gave the file is responsible for what is left.",
}
_LICENCE = {
    True: "CC BY 4.0, as the texts in `data/synthesis/`.",
    False: "that of the source; do not pass this folder on unless it allows so.",
}
_CHAINS = {
    "gold": "gold, as the source gives it (synthetic items: from the labels they were generated from)",
    "rules": "rule-made CoE: quotes of the post, put into the four layers by rules",
}
_DATA_LIMITS = {
    True: "Posts follow a plan (situation, cause, belief, request) and are far more regular than real ones; a model that does well here "
    "has learnt the plan, not counselling. Figures on it compare methods, they say nothing about people.",
    False: "Who wrote the posts and who answered is not known to the project, nor is the quality of the answers.",
}
_CHAIN_LIMITS = {
    "gold": "The chains are only as good as the source's labels.",
    "rules": "The chains are often shallow, all answers of a post share one, and without gold labels their accuracy is unknown.",
}


def write_card(folder: Path, statistics: dict[str, Any], config: DatasetConfig, seed: int) -> Path:
    """Write ``README.md`` into a dataset folder and return its path.

    Args:
        folder: an existing folder.
        statistics: as :func:`empathy_lib.empathy_qa.build.statistics` gives them.
        config: the choices the dataset was built with.
        seed: the profile's seed.
    """
    synthetic = statistics["synthetic"]
    annotator = statistics["annotator"]
    splits = "\n".join(
        f"| {name} | {part['questions']:,} | {part['answers']:,} | {part['topics']} |" for name, part in statistics["splits"].items()
    )
    lengths = "\n".join(
        f"| {name} | {part['mean']:.0f} | {part['median']:.0f} | {part['p95']:.0f} | {part['max']:.0f} |"
        for name, part in statistics["lengths"].items()
    )
    text = f"""# Dataset card

## Origin
{_ORIGIN[synthetic]}

- source: `{statistics["source"]}`, seed {seed}
- Chain of Empathy: {_CHAINS[annotator]}
- licence: {_LICENCE[synthetic]}

## Composition
{statistics["questions"]:,} questions, {statistics["answers"]:,} answers ({statistics["answers_per_question"]:.2f} a question), \
{statistics["topics"]} topics, {statistics["subtopics"]} sub-topics. The paper \
reports (second-hand) 40,959 questions, 168,470 answers, 29 topics, 182 sub-topics for its own data.

| split | questions | answers | topics |
|---|---|---|---|
{splits}

Near-duplicate posts (character 5-gram Jaccard ≥ {config.near_duplicate_jaccard}) and posts with an answer in common are never parted.

| visible characters | mean | median | 95 % | max |
|---|---|---|---|---|
{lengths}

## Cleaning
From {statistics["raw_questions"]:,} raw questions and {statistics["raw_answers"]:,} raw answers; what each rule removed \
is in `funnel.csv`. Answers shorter than {config.min_answer_chars} characters are dropped (paper, second-hand: 100).

{_noise_table(statistics["noise"])}

## Uses
Teaching and comparing training methods for visible, empathic reasoning. **Not** for advice to people in distress, and not for \
judging a model's safety: harm is not annotated.

## Limits
{_DATA_LIMITS[synthetic]} {_CHAIN_LIMITS[annotator]}

## Safety
{statistics["self_harm_posts"]} post(s) hold a word of suicide or self-injury (a word list, no assessment of risk). Whoever writes such \
a post needs a human: a crisis line, a doctor, somebody near. In mainland China: 12356 (psychological aid), 120 (emergency).
"""
    path = folder / "README.md"
    path.write_text(text, encoding="utf-8")
    return path


def _noise_table(noise: dict[str, dict[str, Any]] | None) -> str:
    if noise is None:
        return "How well the rules find noise is not known: nothing in this source is labelled as noise."
    percent = lambda value: "–" if value is None else f"{value:.1%}"  # noqa: E731
    rows = "\n".join(
        f"| {kind} | {row['planted']} | {row['removed']} | {percent(row['precision'])} | {percent(row['recall'])} |"
        for kind, row in noise.items()
    )
    head = "| kind | planted | removed | precision | recall |\n|---|---|---|---|---|\n"
    return f"The synthesis plants noise, and labels it, so that the rules can be marked:\n\n{head}{rows}"
