"""The dataset card: what the folder holds, where it comes from, what it is fit for and what not.

Knows: the statistics it is given, the questions of a datasheet (Gebru et al. 2021), the front matter by which
the hub and ``datasets`` read the folder. Does not know: the items, or the other metadata file
(``croissant``), which borrows the words said here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args, get_origin

from huggingface_hub import DatasetCardData
from pydantic import BaseModel

from empathy_lib.core.config import DatasetConfig
from empathy_lib.core.helplines import CRISIS_LINE, EMERGENCY
from empathy_lib.core.schema import Item

LANGUAGE = "zh"
SYNTHETIC_LICENCE = "cc-by-4.0"
UNKNOWN_LICENCE = "unknown"

ORIGIN = {
    True: "**Synthetic, written by the project.** Posts and answers are put together by a seeded program "
    "from fragments that stand in "
    "`data/synthesis/`; no person wrote them about their own life. This is *not* the paper's Empathy-QA, of "
    "which no release was found.",
    False: "**Real data of the user.** The project only cleaned, annotated and split it. It is *not* the "
    "paper's Empathy-QA.",
}
MOTIVATION = {
    True: "The paper's data is not to be had, so nobody can run its training on it. This stand-in lets every "
    "stage run, and be compared, "
    "without a private text; and since it is generated from labels, it has a key that chains can be marked "
    "against.",
    False: "Made so that the reproduction can be trained and measured on the user's own posts and answers.",
}
COLLECTION = {
    True: "Nothing was collected. A program draws a plan for each post (situation, cause, belief, request), "
    "words it, and words the "
    "answers from the same plan. Advertisements, short answers and repeated posts are planted, to test the "
    "cleaning.",
    False: "Read from a file or hub dataset that the user named. How the posts and answers were gathered, "
    "from whom, when and with what "
    "consent is not known to the project.",
}
CHAINS = {
    "gold": "gold, as the source gives it (synthetic items: from the labels they were generated from)",
    "rules": "rule-made CoE: the post's clauses told again in the four layers, now and then quoted",
    "teacher": "written by a language model behind an endpoint, checked for grammar, length, words of the "
    "post and quotes of the answer",
}
USES = (
    "Teaching and comparing training methods for visible, empathic reasoning. **Not** for advice to people "
    "in distress, and not for "
    "judging a model's safety: harm is not annotated."
)
MAINTENANCE = {
    True: "A fault is mended in the fragments or in the rules, never in these files, and the dataset built "
    "anew: the same version, seed "
    "and configuration give the same items. Nobody has promised upkeep.",
    False: "Whoever built it keeps it. What must go (somebody asks for their post back) is deleted in the "
    "source, and the dataset built "
    "anew; the split files are not edited by hand.",
}
DATA_LIMITS = {
    True: "Posts follow a plan (situation, cause, belief, request) and are far more regular than real ones; "
    "a model that does well here "
    "has learnt the plan, not counselling. Figures on it compare methods, they say nothing about people.",
    False: "Who wrote the posts and who answered is not known to the project, nor is the quality of the "
    "answers.",
}
CHAIN_LIMITS = {
    "gold": "The chains are only as good as the source's labels.",
    "rules": "The chains are rule-made and never better than these rules: often shallow, one for all "
    "answers of a "
    "post, and without gold labels of unknown accuracy. `report.json` counts the posts of which they named "
    "nothing.",
    "teacher": "No person has read the chains; the checks are lexical, and a fluent chain may still be "
    "wrong.",
}

_CC = re.compile(r"cc-(by(?:-nc)?(?:-sa|-nd)?)-([1-4]\.[05])")
_HUB_LICENCES = {
    "cc0-1.0",
    "apache-2.0",
    "mit",
    "odbl",
    "odc-by",
    "pddl",
    "cdla-permissive-1.0",
    "cdla-permissive-2.0",
    "cdla-sharing-1.0",
}
_SIZES = {
    1_000: "n<1K",
    10_000: "1K<n<10K",
    100_000: "10K<n<100K",
    1_000_000: "100K<n<1M",
    10_000_000: "1M<n<10M",
}


def held_out(statistics: dict[str, Any], config: DatasetConfig) -> str:
    """A sentence on what no training post holds, where that is so."""
    if not (statistics["synthetic"] and config.held_out_causes):
        return ""
    return (
        f" {config.held_out_causes} causes of every topic stand in validation and test posts only, as do "
        f"the emotion sentences and closings of the posts that have them (`gold.sentences`: `unseen`)."
    )


def write_card(
    folder: Path,
    statistics: dict[str, Any],
    config: DatasetConfig,
    seed: int,
    licence: str = "",
    files: dict[str, str] | None = None,
) -> Path:
    """Write ``README.md`` into a dataset folder and return its path.

    Args:
        folder: an existing folder.
        statistics: as :func:`empathy_lib.dataset.build.statistics` gives them.
        config: the choices the dataset was built with.
        seed: the profile's seed.
        licence: of the user's data, as an SPDX id, a URL or a name; unused for synthetic data.
        files: split to file name, where the folder holds something else than one file a split (a sample).
    """
    synthetic, annotator = statistics["synthetic"], statistics["annotator"]
    splits = "\n".join(
        f"| {name} | {part['questions']:,} | {part['answers']:,} | {part['topics']} |"
        for name, part in statistics["splits"].items()
    )
    lengths = "\n".join(
        f"| {name} | {part['mean']:.0f} | {part['median']:.0f} | {part['p95']:.0f} | {part['max']:.0f} |"
        for name, part in statistics["lengths"].items()
    )
    read = files or {name: f"{name}.jsonl" for name in statistics["splits"]}
    text = f"""---
{front_matter(statistics, read, licence)}
---

# Dataset card

## Origin
{ORIGIN[synthetic]}

- source: {code(statistics["source"])}, seed {seed}
- Chain of Empathy: {CHAINS[annotator]}
- licence: {_licence_words(statistics, licence)}

## Motivation
{MOTIVATION[synthetic]}

## Composition
{statistics["questions"]:,} questions, {statistics["answers"]:,} answers \
({statistics["answers_per_question"]:.2f} a question), \
{statistics["topics"]} topics, {statistics["subtopics"]} sub-topics. The paper \
reports (second-hand) 40,959 questions, 168,470 answers, 29 topics, 182 sub-topics for its own data.

| split | questions | answers | topics |
|---|---|---|---|
{splits}

Near-duplicate posts (character 5-gram Jaccard ≥ {config.near_duplicate_jaccard}) and posts with an \
answer in common are never parted.{held_out(statistics, config)}

| visible characters | mean | median | 95 % | max |
|---|---|---|---|---|
{lengths}

A line of a split file is one post: `id`, `question`, `topic`, `subtopic`, `answers` (each with `text`, \
`strategy`, its chain `coe` of \
`L1` to `L4`), `gold` (labels, where there are any), `source` and `coe_origin` (who made the chains). \
`noise` names what the synthesis \
planted.

## Collection
{COLLECTION[synthetic]} {personal_data(statistics, config)}

## Cleaning and labelling
{cleaning(config)} From {statistics["raw_questions"]:,} raw questions and {statistics["raw_answers"]:,} \
raw answers; what each rule \
removed is in `funnel.csv`. Topics and strategies are those of the source.

{_noise_table(statistics["noise"])}

## Loading
{_loading(read, sample=files is not None)}

## Uses
{USES}

## Distribution
{_distribution(read, sample=files is not None)} Licence: {_licence_words(statistics, licence)}

## Maintenance
{MAINTENANCE[synthetic]}

## Limits
{DATA_LIMITS[synthetic]} {CHAIN_LIMITS[annotator]}

## Safety
{statistics["crisis_set_aside"]} post(s) that speak of danger to life were set aside (`crisis.jsonl`: no \
part of the splits), {statistics["crisis_posts"]} are in the splits with a tag. Rules found them, which \
miss many (docs/limits.md), and are no assessment of risk. Whoever writes such \
a post needs a human: a crisis line, a doctor, somebody near. In mainland China: {CRISIS_LINE} \
(psychological aid), {EMERGENCY} (emergency).
"""
    path = folder / "README.md"
    path.write_text(text, encoding="utf-8")
    return path


def code(text: str) -> str:
    """A name as code in Markdown, where no tag or link in it works; a file's name may hold anything."""
    return f"`{' '.join(text.replace('`', chr(39)).split())}`"


def front_matter(statistics: dict[str, Any], files: dict[str, str], licence: str = "") -> str:
    """The YAML by which the hub shows the dataset, and ``datasets`` knows its files and columns."""
    synthetic = statistics["synthetic"]
    size = next((size for limit, size in _SIZES.items() if statistics["questions"] < limit), "10M<n<100M")
    data_files = [{"split": split, "path": file} for split, file in files.items()]
    return DatasetCardData(
        pretty_name=name(statistics),
        language=[LANGUAGE],
        **_hub_licence(licence_of(statistics, licence)),
        task_categories=["text-generation"],
        size_categories=[size],
        annotations_creators=["machine-generated"],
        language_creators=["machine-generated" if synthetic else "found"],
        tags=tags(statistics),
        configs=[{"config_name": "default", "data_files": data_files}],
        # Declared, since a line leaves empty fields out: guessed columns would differ from split to split.
        dataset_info={"config_name": "default", "features": _features(Item)},
    ).to_yaml()


def name(statistics: dict[str, Any]) -> str:
    """The dataset's name in metadata."""
    return (
        "Empathy-QA stand-in, synthetic"
        if statistics["synthetic"]
        else "Empathy-QA layout of the user's data"
    )


def tags(statistics: dict[str, Any]) -> list[str]:
    """Keywords for the hub and for Croissant."""
    return [
        "empathy",
        "counselling",
        "chain-of-empathy",
        "mental-health",
        "synthetic" if statistics["synthetic"] else "user-data",
    ]


def summary(statistics: dict[str, Any]) -> str:
    """What the dataset is, in one sentence."""
    kind = "Synthetic Chinese help-seeking posts" if statistics["synthetic"] else "Help-seeking posts"
    return (
        f"{kind} with {statistics['answers_per_question']:.2f} answers each on average "
        f"({statistics['questions']:,} posts, "
        f"{statistics['answers']:,} answers), every answer with a Chain of Empathy in four layers."
    )


def cleaning(config: DatasetConfig) -> str:
    """What the rules mend and drop."""
    off = f" Switched off: {', '.join(config.rules_off)}." if config.rules_off else ""
    return (
        "Named rules mend the texts, then drop what is not Chinese, advertisements, repeated posts and "
        "answers, and answers shorter than "
        f"{config.min_answer_chars} characters (paper, second-hand: 100).{off}"
    )


def personal_data(statistics: dict[str, Any], config: DatasetConfig) -> str:
    """What is known of personal data in the texts."""
    if statistics["synthetic"]:
        return "No person is described in it."
    if config.deidentify == "off":
        return (
            "Personal data was left in it (`dataset.deidentify` was `off`), and whoever gave the file is "
            "responsible for it."
        )
    return (
        "Personal data that has a form (names after a cue, numbers, addresses, …) was replaced by typed "
        "placeholders, as far as rules "
        "find it. That is no anonymity: whoever gave the file is responsible for what is left."
    )


def licence_of(statistics: dict[str, Any], licence: str = "") -> str:
    """The dataset's licence: ours for synthetic data, else the given one (SPDX id, URL or name), else
    ``unknown``."""
    return SYNTHETIC_LICENCE if statistics["synthetic"] else " ".join(licence.split()) or UNKNOWN_LICENCE


def licence_url(licence: str) -> str:
    """The address of a Creative Commons licence; any other licence as it is."""
    found = _CC.fullmatch(_slug(licence))
    return f"https://creativecommons.org/licenses/{found[1]}/{found[2]}/" if found else licence


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")


def _hub_licence(licence: str) -> dict[str, str]:
    """The front matter's licence keys; the hub knows a list of ids, and wants any other licence as ``other``
    with a name."""
    slug = _slug(licence)
    if slug == UNKNOWN_LICENCE or slug in _HUB_LICENCES or _CC.fullmatch(slug):
        return {"license": slug}
    if re.match(r"https?://", licence):
        return {"license": "other", "license_name": "licence-of-the-source", "license_link": licence}
    return {"license": "other", "license_name": slug or "licence-of-the-source"}


def _licence_words(statistics: dict[str, Any], licence: str) -> str:
    if statistics["synthetic"]:
        return "CC BY 4.0, as the texts in `data/synthesis/`."
    return (
        f"that of the source ({licence_of(statistics, licence)}); do not pass this folder on unless it "
        f"allows so."
    )


def _features(model: type[BaseModel]) -> list[dict[str, Any]]:
    """The columns of a record class, in the YAML of ``datasets``."""
    columns = []
    for field, info in model.model_fields.items():
        inner = [
            part
            for part in (info.annotation, *get_args(info.annotation))
            if isinstance(part, type) and issubclass(part, BaseModel)
        ]
        kind = "list" if get_origin(info.annotation) is list else "struct"
        dtype = "int64" if info.annotation is int else "string"
        columns.append(
            {"name": field, kind: _features(inner[0])} if inner else {"name": field, "dtype": dtype}
        )
    return columns


def _loading(files: dict[str, str], sample: bool) -> str:
    split = next(iter(files))
    note = (
        "Only a sample of the dataset stands here."
        if sample
        else "Every split has the same columns; a field that a line leaves out is null."
    )
    return f"""```python
from datasets import load_dataset

dataset = load_dataset("my_dataset")  # the path of this folder
print(dataset["{split}"][0]["question"])
```

{note}"""


def _distribution(files: dict[str, str], sample: bool) -> str:
    data = ", ".join(f"`{file}`" for file in files.values())
    if sample:
        return f"Data: {data}."
    return (
        f"Data: {data}. About it: `croissant.json` (metadata for machines), `statistics.json`, "
        f"`report.json`, `funnel.csv`; "
        "`rejected.jsonl` says what of the source could not be read. Nothing is uploaded anywhere."
    )


def _noise_table(noise: dict[str, dict[str, Any]] | None) -> str:
    if noise is None:
        return "How well the rules find noise is not known: nothing in this source is labelled as noise."
    percent = lambda value: "–" if value is None else f"{value:.1%}"  # noqa: E731
    rows = "\n".join(
        f"| {kind} | {row['planted']} | {row['removed']} | {percent(row['precision'])} | "
        f"{percent(row['recall'])} |"
        for kind, row in noise.items()
    )
    head = "| kind | planted | removed | precision | recall |\n|---|---|---|---|---|\n"
    return f"The synthesis plants noise, and labels it, so that the rules can be marked:\n\n{head}{rows}"
