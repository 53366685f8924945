"""The whole construction in one call, and reading back what it wrote.

Knows: the order of the steps and the files of a dataset folder. Does not know: how a step works.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from empathy_lib.core.config import SYNTHETIC, DatasetConfig, Profile
from empathy_lib.core.errors import UserError
from empathy_lib.core.files import cache_dir, read_json, write_json
from empathy_lib.core.run import MANIFEST, Run, generator, peak_gib
from empathy_lib.core.schema import Item, read_jsonl, write_jsonl
from empathy_lib.core.statistics import wilson_share
from empathy_lib.dataset import apart
from empathy_lib.dataset.annotate import annotate, resolve_annotator, rules_named_nothing
from empathy_lib.dataset.card import write_card
from empathy_lib.dataset.cleaning import Funnel, clean, planted_noise_report
from empathy_lib.dataset.counts import Counts, count_figures, counted
from empathy_lib.dataset.croissant import write_croissant
from empathy_lib.dataset.deidentify import TYPES, deidentify_items
from empathy_lib.dataset.losses import removed_most
from empathy_lib.dataset.planted import NOISE_KINDS
from empathy_lib.dataset.sources import Reading, read_source, source_digest
from empathy_lib.dataset.split import SPLITS, LeakageError, leakage, split

if TYPE_CHECKING:
    from empathy_lib.dataset.shards.plan import Plan

IN_CRISIS = "speaks of danger, set aside"
BY_HAND = "changed in a cell"  # of a notebook, so that no rule accounts for it


def build_dataset(config: DatasetConfig, seed: int, folder: Path) -> dict[str, Any]:
    """Read or generate, clean, de-identify, annotate, split, check for leaks, and write the dataset folder:
    what notebook 01 does in its cells, in one call.

    Returns:
        What ``statistics.json`` holds; see :func:`statistics`.

    Raises:
        UserError: the source is at fault, or too little of it is left.
        LeakageError: two splits share a question or an answer (would be a bug of ours).
        AssertionError: an answer is unaccounted for (would be a bug of ours).
    """
    reading = read_source(config, seed)
    started = time.monotonic()
    cleaned, funnel, found = _cleaned(reading.items, config)
    safe, crisis = apart.crisis_apart(cleaned, config)
    items, set_aside = with_chains(safe, config)
    splits = split(items, config, generator(seed, "split"))
    told = {"found": found, "set_aside": set_aside, "crisis": crisis, "started": started}
    figures = write_dataset(folder, splits, reading, funnel, config, seed, **told)
    if changed := read_json(folder / "report.json")["removed_by_rule"].get(BY_HAND):
        raise AssertionError(f"answers are unaccounted for: {changed}")
    return figures


def write_dataset(
    folder: Path,
    splits: Mapping[str, Sequence[Item]],
    reading: Reading,
    funnel: Funnel,
    config: DatasetConfig,
    seed: int,
    *,
    found: Mapping[str, int],
    set_aside: Sequence[dict[str, Any]] = (),
    crisis: Sequence[Item] = (),
    started: float | None = None,
) -> dict[str, Any]:
    """Write splits, as they are, with all that describes them.

    Writes ``train.jsonl``, ``validation.jsonl``, ``test.jsonl``, ``rejected.jsonl`` (records that could not
    be read), ``set_aside.json`` (answers the teacher wrote no chain for), ``crisis.jsonl`` (items that speak
    of danger to life), ``statistics.json``, ``funnel.csv``, ``report.json`` (see :func:`report`),
    ``croissant.json`` and the card ``README.md``. The same splits give the same bytes, but for minutes and
    memory in the report, and for a teacher's own whims.

    Args:
        reading, funnel, found, set_aside: what reading, cleaning, de-identification and the teacher said.
        crisis: what the crisis gate set aside.
        started: ``time.monotonic()`` when construction began, for the report; by default now.

    Returns:
        What ``statistics.json`` holds; see :func:`statistics`.

    Raises:
        LeakageError: two splits share a question or an answer.
    """
    started = started or time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    write_jsonl(reading.rejected, folder / "rejected.jsonl")
    write_json(folder / "set_aside.json", list(set_aside))
    write_jsonl(crisis, folder / apart.FILE)
    if leaks := leakage(splits, config.near_duplicate_jaccard):
        raise LeakageError(leaks[0])
    for name, members in splits.items():
        write_jsonl(members, folder / f"{name}.jsonl")
    figures = statistics(reading, funnel, splits, config)
    named = rules_named_nothing(item for name in splits for item in splits[name])
    unchained = len([lost for lost in set_aside if lost["answer"] is not None])
    told = {"found": found, "unchained": unchained, "named_nothing": named}
    told["crisis"] = (len(crisis), sum(len(item.answers) for item in crisis))
    return describe(folder, figures, reading, funnel, config, seed, **told, started=started)


def describe(
    folder: Path,
    figures: dict[str, Any],
    reading: Reading,
    funnel: Funnel,
    config: DatasetConfig,
    seed: int,
    *,
    found: Mapping[str, int],
    unchained: int,
    crisis: tuple[int, int],
    named_nothing: dict[str, float] | None,
    started: float,
) -> dict[str, Any]:
    """Write all that describes the items of a dataset folder, in which no leak was found; see
    :func:`write_dataset`. ``crisis`` counts the posts and answers that the gate set aside, ``unchained`` the
    answers that the teacher wrote no chain for."""
    figures = figures | {"crisis_set_aside": crisis[0]}
    write_json(folder / "statistics.json", figures)
    funnel.frame().to_csv(folder / "funnel.csv", index=False)
    write_card(folder, figures, config, seed, config.licence)
    write_croissant(folder, figures, config, config.licence)
    cost = {"construction_minutes": (time.monotonic() - started) / 60, "peak_gib": peak_gib()}
    counts = report(reading, funnel, found, unchained, crisis[1], figures, config)
    counts["rules_named_nothing"] = named_nothing
    write_json(folder / "report.json", counts | {"leakage_pairs": 0} | cost)
    return figures


def deidentifies(config: DatasetConfig) -> bool:
    """Whether this configuration's texts are de-identified (``dataset.deidentify``)."""
    return config.deidentify == "on" or (config.deidentify == "auto" and config.data != SYNTHETIC)


def with_chains(items: Sequence[Item], config: DatasetConfig) -> tuple[Sequence[Item], list[dict[str, Any]]]:
    """Items with a chain on every answer by ``config.annotator``, and what the teacher could write none for.

    Raises:
        UserError: the teacher is asked for and real data is not de-identified, or its endpoint is at fault.
    """
    if config.annotator != "teacher":
        return annotate(items, resolve_annotator(items, config.annotator)), []
    if config.data != SYNTHETIC and not deidentifies(config):
        raise UserError(
            "dataset.annotator=teacher sends posts to an endpoint; set dataset.deidentify=auto, so that it "
            "sees no personal data"
        )
    from empathy_lib.dataset.teacher import annotate_with_teacher  # not needed, and not loaded, otherwise

    return annotate_with_teacher(items, config.teacher, cache_dir() / "teacher")


def dataset_request(config: DatasetConfig) -> dict[str, Any]:
    """What decides a dataset, for its stage's request: how fast the teacher is asked, and at what price, does
    not."""
    decides = (
        {"model", "temperature", "max_tokens", "attempts", "max_failed_share"}
        if config.annotator == "teacher"
        else set()
    )
    teacher = config.teacher.model_dump(include=decides)
    return {**config.model_dump(), "teacher": teacher, "source_digest": source_digest(config)}


def to_annotate(config: DatasetConfig, seed: int) -> Sequence[Item]:
    """The items an annotator gets: read, cleaned, de-identified, without those in crisis. Raises as
    :func:`build_dataset` does."""
    return apart.crisis_apart(_cleaned(read_source(config, seed).items, config)[0], config)[0]


def _cleaned(raw: Sequence[Item], config: DatasetConfig) -> tuple[Sequence[Item], Funnel, Counter[str]]:
    """Items cleaned and, where the configuration asks for it, de-identified; what was removed, and findings
    by type."""
    cleaned, funnel = clean(raw, config)
    cleaned, found = deidentify_items(cleaned) if deidentifies(config) else (cleaned, Counter())
    return cleaned, funnel, found


def teacher_estimate(items: Sequence[Item], config: DatasetConfig) -> dict[str, float | None]:
    """What a teacher would be asked for these items, and at what cost; nothing is sent or written.

    Keys: those of :func:`empathy_lib.dataset.teacher.estimate`.
    """
    from empathy_lib.dataset.teacher import TeacherCache, estimate, pairs_of

    return estimate(pairs_of(items), config.teacher, TeacherCache(cache_dir() / "teacher"))


def build_folder(profile: Profile, out: str, plan: Plan | None = None) -> tuple[Path, bool]:
    """The dataset of a profile in a folder of its own, for use without the notebooks; ``(folder, whether it
    was reused)``. With a plan it is built shard by shard, and the same comes out.

    Raises:
        UserError: the folder holds something else, or the source is at fault.
    """
    folder = Path(out).expanduser().resolve()
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / MANIFEST).is_file()):
        raise UserError(f"--out {out}: is there and holds no dataset of ours; give a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with Run(profile, folder.parent, say=lambda line: None).build(
        folder.name, dataset_request(profile.dataset)
    ) as stage:
        if not stage.reused and plan is None:
            build_dataset(profile.dataset, profile.seed, stage.path)
        elif not stage.reused and plan is not None:
            from empathy_lib.dataset.shards import trove  # an extra, and not loaded otherwise

            # hidden, so that it is no source where it lies in one
            work = folder.with_name(f".{folder.name}.shards")
            trove.build_dataset(profile.dataset, profile.seed, stage.path, work, plan)
    return folder, stage.reused


def report(
    reading: Reading,
    funnel: Funnel,
    found: Mapping[str, int],
    unchained: int,
    in_crisis: int,
    figures: dict[str, Any],
    config: DatasetConfig,
) -> dict[str, Any]:
    """Where every answer went: ``read`` = ``kept`` + ``rejected`` + ``removed``, all counted in answers, and
    what came out. What no rule accounts for was changed in a cell, and counted as such (added: below 0)."""
    by_rule = {row["rule"]: int(row["answers_removed"]) for row in funnel.rows}
    by_rule |= {"no chain by the teacher": unchained, "beyond dataset.questions": reading.left_out}
    by_rule |= {IN_CRISIS: in_crisis}
    kept = figures["answers"]
    if by_hand := reading.read - kept - reading.lost - sum(by_rule.values()):
        by_rule[BY_HAND] = by_hand
    removed = sum(by_rule.values())
    counts = {"read": reading.read, "kept": kept, "rejected": reading.lost, "removed": removed}
    return {
        **counts,
        "removed_by_rule": by_rule,
        "removed_most": removed_most(by_rule, counts["read"], config, reading.layouts),
        "remarks": reading.remarks(),
        "not_read": reading.notes.not_read,
        "hidden_skipped": len(reading.notes.hidden),
        "blank_rows_skipped": sum(reading.notes.blank_rows.values()),
        "changed_by_rule": funnel.changed,
        "turns_cut": reading.notes.turns_cut,
        "rejected_by_reason": dict(
            Counter(f"{rejection.field}: {rejection.reason}" for rejection in reading.rejected).most_common(
                20
            )
        ),
        "layouts": dict(reading.layouts),
        **{key: figures[key] for key in ("questions", "answers", "topics", "subtopics")},
        "pii_by_type": {kind: found.get(kind, 0) for kind in TYPES} if deidentifies(config) else None,
        "duplicates": len(funnel.merged),
    }


def load_splits(folder: Path) -> dict[str, list[Item]]:
    """Read ``train``, ``validation`` and ``test`` back.

    Raises:
        UserError: a file is missing or broken.
    """
    for name in SPLITS:
        if not (folder / f"{name}.jsonl").is_file():
            raise UserError(f"{folder / f'{name}.jsonl'}: no such file; run notebook 01 first")
    return {name: read_jsonl(folder / f"{name}.jsonl") for name in SPLITS}


def statistics(
    raw: Reading, funnel: Funnel, splits: Mapping[str, Sequence[Item]], config: DatasetConfig
) -> dict[str, Any]:
    """All counts a reader needs to judge the dataset; lengths are visible characters.

    Keys: ``source``, ``synthetic``, ``annotator``, ``raw_questions``, ``raw_answers``, ``questions``,
    ``answers``, ``answers_per_question``, ``topics``, ``subtopics``, ``intents`` (gold, if known),
    ``crisis_posts`` (kept with a tag), ``splits`` (counts of each), ``lengths`` (mean, median, 95th
    percentile, max of question, answer, chain), ``noise`` (precision and recall of each planted kind, or None
    for real data).
    """
    noise = planted_noise_report(raw.items, funnel)
    parts = {name: counted(members) for name, members in splits.items()}
    return figures_of(parts, splits["train"][0], len(raw.items), raw.kept, noise, config)


def figures_of(
    parts: Mapping[str, Counts],
    first: Item,
    raw_questions: int,
    raw_answers: int,
    noise: pd.DataFrame | None,
    config: DatasetConfig,
) -> dict[str, Any]:
    """:func:`statistics` from each split's counts, the first post for training, and what
    :func:`planted_noise_report` says."""
    return {
        "source": first.source,
        "synthetic": config.data == SYNTHETIC,
        "annotator": first.coe_origin,
        "raw_questions": raw_questions,
        "raw_answers": raw_answers,
        **count_figures(parts),
        "noise": None if noise is None else {row["kind"]: _plain(row) for row in noise.to_dict("records")},
    }


def headline_figures(figures: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Entries for ``Run.headline``: sizes, and precision and recall of each kind of noise with Wilson
    intervals (None for real data)."""
    entries: dict[str, dict[str, Any]] = {
        "dataset.questions": {
            "value": figures["questions"],
            "n": figures["raw_questions"],
            "unit": "questions",
        },
        "dataset.answers": {"value": figures["answers"], "n": figures["raw_answers"], "unit": "answers"},
    }
    for kind in NOISE_KINDS:
        row = (figures["noise"] or {}).get(kind)
        for name, of in (("precision", "removed"), ("recall", "planted")):
            entry: dict[str, Any] = {"value": None, "unit": "share"}
            if row and row[of]:
                score = wilson_share([1.0] * row["hits"] + [0.0] * (row[of] - row["hits"]))
                entry |= {"value": score.value, "interval": [score.low, score.high], "n": row[of]}
            entries[f"dataset.noise_{name}.{kind}"] = entry
    return entries


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no NaN: an undefined score is None."""
    return {
        key: None if isinstance(value, float) and np.isnan(value) else value
        for key, value in row.items()
        if key != "kind"
    }
