"""What each task of a sharded construction does, step by step.

Knows: the order of ``build``, which step reads what another wrote. Does not know: who runs a task, or where
(``trove``), how a source is read (``source``). Steps over posts work on their own shard; ``merge`` and
``deal`` are one task each, over numbers alone.

clean: the rules that look at one post; keys of its question. like_questions: a bucket's near-duplicates.
merge: which post repeats which. gather: answers of repeats, de-identification, the crisis gate; keys of what
is left. related: a bucket's posts that must not be parted. deal: the splits. write: chains, and the lines of
each split. :func:`finish` puts the dataset folder together.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import reduce
from itertools import chain, islice
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from empathy_lib.core.config import SYNTHETIC, DatasetConfig
from empathy_lib.core.files import read_json, write_json
from empathy_lib.core.run import generator
from empathy_lib.core.schema import Item, iter_jsonl, jsonl_line, write_jsonl
from empathy_lib.core.text import fingerprint
from empathy_lib.dataset import apart, split
from empathy_lib.dataset.annotate import BY, Annotator, gold_or_rules, has_gold
from empathy_lib.dataset.build import deidentifies, describe, figures_of
from empathy_lib.dataset.cleaning import Funnel, count_rules, tidied, with_answers_of
from empathy_lib.dataset.counts import Counts
from empathy_lib.dataset.deidentify import deidentified
from empathy_lib.dataset.planted import PlantedNoise, noise_table
from empathy_lib.dataset.repeats import merge_repeats
from empathy_lib.dataset.rules.chain import unnamed_shares
from empathy_lib.dataset.shards import source
from empathy_lib.dataset.shards.files import Job, Shards, Signed, chunks
from empathy_lib.dataset.shards.search import bucketed, equal_pairs, near_pairs
from empathy_lib.dataset.split import SPLITS, LeakageError
from empathy_lib.dataset.store import CHUNK
from empathy_lib.dataset.text_rules import TEXT_RULES


@dataclass
class Cleaned:
    """What ``clean`` tells of a shard: posts and answers it was given, how many texts each rule mended, how
    many answers each removed; ``duplicates`` are rows of planted ones."""

    questions: int = 0
    answers: int = 0
    changed: Counter[str] = field(default_factory=Counter)
    removed: Counter[str] = field(default_factory=Counter)
    noise: PlantedNoise = field(default_factory=PlantedNoise)
    duplicates: list[int] = field(default_factory=list)


def clean(job: Job, shard: int) -> None:
    """Apply the rules that look at one post alone, and sign what is left."""
    out, told, row = Signed(job, "clean", shard), Cleaned(), 0
    for raw in source.posts(job, shard):
        left, tally = tidied(raw, job.config)
        told.questions += len(raw)
        told.answers += tally.answers
        told.changed += tally.changed
        told.removed += Counter(tally.removed.values())
        told.noise.add(raw, tally.removed)
        for item in left:
            out.add(item)
            told.duplicates += [row] if item.noise == "duplicate" else []
            row += 1
    _close(job, out, [], [])
    job.save("clean", shard, told)


def _close(job: Job, out: Signed, answers: list[int], homes: list[int], **arrays: np.ndarray) -> None:
    """End a shard, and deal its keys to buckets; ``answers`` and ``homes`` as :func:`bucketed` wants them."""
    prints, signatures = out.marks()
    marks = np.array(answers, np.uint64), np.array(homes, np.uint32)
    keys = bucketed(prints, signatures, *marks, job.tasks, job.config.near_duplicate_jaccard)
    out.close(prints=prints, signatures=signatures, **keys, **arrays)


def like_questions(job: Job, bucket: int) -> None:
    """Find a bucket's near-duplicate questions."""
    pairs = np.zeros((0, 2), np.int64)
    if "near-duplicate question" not in job.config.rules_off:
        equal_too = "exact duplicate question" in job.config.rules_off
        bar = job.config.near_duplicate_jaccard
        pairs = near_pairs(Shards(job, "clean"), bucket, bar, equal_too=equal_too)
    job.save_arrays("like_questions", bucket, pairs=pairs)


def _pairs(job: Job, step: str) -> np.ndarray:
    """All pairs that a step found, ordered by (j, i)."""
    pairs = np.concatenate([job.array(step, bucket, "pairs") for bucket in range(job.tasks)])
    return pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]


def merge(job: Job, task: int) -> None:
    """Decide which posts repeat which. Writes ``merged`` (duplicate, first), by the duplicate, and
    ``members`` (first, duplicate), by the first and then in the order that answers get."""
    posts = Shards(job, "clean")
    pairs = _pairs(job, "like_questions")
    merging = merge_repeats(posts.whole("prints"), lambda merged: pairs.tolist(), job.config)
    members = [(first, place) for first, group in sorted(merging.groups.items()) for place in group]
    arrays = {"merged": sorted(merging.merged.items()), "members": members}
    arrays = {name: np.array(rows, np.int64).reshape(-1, 2) for name, rows in arrays.items()}
    job.save_arrays("merge", 0, **arrays)
    write_json(job.path("merge", 0, "json"), merging.removed)


@dataclass
class Gathered:
    """What ``gather`` tells of a shard: posts left without an answer, answers that stood twice, findings of
    personal data; posts that passed the crisis gate and those that did not, with their answers; topics by
    their codes; posts without a gold chain."""

    unanswered: int = 0
    again: int = 0
    found: Counter[str] = field(default_factory=Counter)
    kept: int = 0
    crisis: int = 0
    crisis_answers: int = 0
    topics: list[str] = field(default_factory=list)
    lacking: int = 0


def gather(job: Job, shard: int) -> None:
    """Give every post that stays its repeats' answers, de-identify it, pass it through the crisis gate, and
    sign what is left."""
    out, told, posts = Signed(job, "gather", shard), Gathered(), Shards(job, "clean")
    prints, signatures = (posts.array(shard, name) for name in ("prints", "signatures"))
    codes: dict[str, int] = {}
    topics, kept_out, answers, homes = [], [], [], []
    joined = _joined(job, shard, posts, told)
    with job.path("gather", shard, "crisis.jsonl").open("w", encoding="utf-8") as crisis:
        while batch := list(islice(joined, CHUNK)):
            items, flags = _safe([item for _, item in batch], job.config, told)
            for (row, before), item, flagged in zip(batch, items, flags, strict=True):
                if flagged:
                    crisis.write(jsonl_line(item))
                    told.crisis += 1
                    told.crisis_answers += len(item.answers)
                    continue
                same = item.question == before.question
                out.add(item, (int(prints[row]), signatures[row]) if same else None)
                topics.append(codes.setdefault(item.topic, len(codes)))
                kept_out.append(split.held_out(item))
                answers += map(fingerprint, item.references)
                homes += [told.kept] * len(item.answers)
                told.kept += 1
                told.lacking += not has_gold(item)
    told.topics = list(codes)
    arrays = {"topics": np.array(topics, np.int64), "kept_out": np.array(kept_out, bool)}
    _close(job, out, answers, homes, **arrays)
    job.save("gather", shard, told)


def _joined(job: Job, shard: int, posts: Shards, told: Gathered) -> Iterator[tuple[int, Item]]:
    """A shard's posts that stay and have an answer, with those of their repeats, and each one's row."""
    start = posts.starts[shard]
    merged, members = (job.array("merge", 0, name) for name in ("merged", "members"))
    gone = np.isin(np.arange(start, posts.starts[shard + 1]), merged[:, 0])
    for row, item in enumerate(chain.from_iterable(chunks(job, "clean", shard))):
        if gone[row]:
            continue
        first, last = np.searchsorted(members[:, 0], [start + row, start + row + 1])
        sources = [item, *map(posts.item, members[first:last, 1].tolist())]
        item, again = with_answers_of([(one, range(len(one.answers))) for one in sources], job.config)
        told.again += len(again)
        told.unanswered += not item.answers
        if item.answers:
            yield row, item


def _safe(items: list[Item], config: DatasetConfig, told: Gathered) -> tuple[list[Item], list[bool]]:
    """Posts without personal data, where that is asked for, and which of them are set aside."""
    if deidentifies(config):
        items, found = deidentified(items)
        told.found += found
    if config.data == SYNTHETIC:
        return items, [False] * len(items)
    items, flags = apart.tagged(items)
    return items, [flag and config.crisis != "keep" for flag in flags]


def related(job: Job, bucket: int) -> None:
    """Find a bucket's posts that must not be parted."""
    posts = Shards(job, "gather")
    pairs = near_pairs(posts, bucket, job.config.near_duplicate_jaccard), equal_pairs(posts, bucket)
    job.save_arrays("related", bucket, pairs=np.concatenate(pairs))


@dataclass
class Dealt:
    """What ``deal`` decides for all: who makes the chains."""

    annotator: Annotator


def deal(job: Job, task: int) -> None:
    """Deal all posts to the splits, by the numbers of their clusters and topics."""
    funnel_of(job)  # raises where nothing is left
    told, posts = job.load_all("gather", Gathered), Shards(job, "gather")
    crisis = sum(each.crisis for each in told)
    apart.check_some_left(len(posts) + crisis, crisis, job.config)
    names = sorted({topic for each in told for topic in each.topics})
    code = {name: place for place, name in enumerate(names)}
    topics = [
        np.array([code[name] for name in each.topics], np.int64)[posts.array(shard, "topics")]
        for shard, each in enumerate(told)
    ]
    pairs, kept_out = _pairs(job, "related"), posts.whole("kept_out")
    labels = split.component_labels(pairs, len(posts))
    rng = generator(job.seed, "split")
    home = split.deal(labels, np.concatenate(topics), len(names), kept_out, job.config, rng)
    if len(parted := pairs[home[pairs[:, 0]] != home[pairs[:, 1]]]) or (kept_out & (home == 0)).any():
        raise LeakageError(
            f"posts at {parted[:1].tolist()} are in two splits, or one held out of training is in it"
        )
    job.save_arrays("deal", 0, home=home)
    lacking = sum(each.lacking for each in told)
    job.save("deal", 0, Dealt(gold_or_rules(lacking, len(posts), job.config.annotator)))


def write(job: Job, shard: int) -> None:
    """Put chains on a shard's posts, and write the lines of each split."""
    annotate = BY[job.load("deal", 0, Dealt).annotator]
    own = Shards(job, "gather").range(shard)
    home = iter(job.array("deal", 0, "home")[own.start : own.stop].tolist())
    counts = {name: Counts() for name in SPLITS}
    with ExitStack() as files:
        out = {
            name: files.enter_context(job.path("write", shard, f"{name}.jsonl").open("w", encoding="utf-8"))
            for name in SPLITS
        }
        for batch in chunks(job, "gather", shard):
            for item, place in zip(annotate(batch)[0], home, strict=False):
                counts[SPLITS[place]].add(item)
                out[SPLITS[place]].write(jsonl_line(item))
    job.save("write", shard, Written(**counts))


@dataclass
class Written:
    """Counts of what ``write`` wrote of each split."""

    train: Counts
    validation: Counts
    test: Counts


def funnel_of(job: Job) -> Funnel:
    """What all rules removed, as :func:`empathy_lib.dataset.cleaning.clean` counts it; ``merged`` holds
    places, and ``removed_answers`` nothing.

    Raises:
        UserError: nothing is left.
    """
    cleaned, gathered = job.load_all("clean", Cleaned), job.load_all("gather", Gathered)
    changed = sum((each.changed for each in cleaned), Counter())
    merged = dict(job.array("merge", 0, "merged").tolist())
    funnel = Funnel(changed={rule: changed[rule] for rule in TEXT_RULES}, merged=merged)
    questions = sum(each.questions for each in cleaned)
    removed = {
        **read_json(job.path("merge", 0, "json")),
        "not Chinese": questions - len(Shards(job, "clean")),
        "question without answer": sum(each.unanswered for each in gathered),
    }
    answers = sum(each.answers for each in cleaned)
    count_rules(funnel, answers, questions, answers_removed(job), removed)
    return funnel


def answers_removed(job: Job) -> Counter[str]:
    """Answers by the rule that removed them."""
    removed = sum((each.removed for each in job.load_all("clean", Cleaned)), Counter())
    removed["duplicate answer"] = sum(each.again for each in job.load_all("gather", Gathered))
    return removed


def finish(job: Job, folder: Path, started: float) -> dict[str, Any]:
    """Put the dataset folder together from what the steps wrote; what its ``statistics.json`` holds."""
    folder.mkdir(parents=True, exist_ok=True)
    reading, written = source.reading_of(job), job.load_all("write", Written)
    write_jsonl(reading.rejected, folder / "rejected.jsonl")
    write_json(folder / "set_aside.json", [])
    for step, what in (("gather", "crisis"), *(("write", name) for name in SPLITS)):
        with (folder / f"{what}.jsonl").open("wb") as whole:
            for shard in range(job.tasks):
                with job.path(step, shard, f"{what}.jsonl").open("rb") as part:
                    shutil.copyfileobj(part, whole)
    parts = {name: reduce(add, (getattr(each, name) for each in written)) for name in SPLITS}
    funnel, gathered = funnel_of(job), job.load_all("gather", Gathered)
    first = next(item for _, item in iter_jsonl(folder / "train.jsonl"))
    raw = int(funnel.rows[0]["questions_before"])
    figures = figures_of(parts, first, raw, reading.kept, _noise(job, funnel), job.config)
    named = unnamed_shares(reduce(add, (counts.unnamed for counts in parts.values())))
    told = {
        "found": sum((each.found for each in gathered), Counter()),
        "crisis": (sum(each.crisis for each in gathered), sum(each.crisis_answers for each in gathered)),
        "named_nothing": named if named["posts"] else None,
    }
    return describe(
        folder, figures, reading, funnel, job.config, job.seed, **told, unchained=0, started=started
    )


def _noise(job: Job, funnel: Funnel) -> pd.DataFrame | None:
    """See :func:`empathy_lib.dataset.cleaning.planted_noise_report`."""
    posts, noise, places = Shards(job, "clean"), PlantedNoise(), set()
    for start, told in zip(posts.starts.tolist(), job.load_all("clean", Cleaned), strict=False):
        noise.planted += told.noise.planted
        noise.hits += told.noise.hits
        noise.duplicates |= told.noise.duplicates
        places |= {start + row for row in told.duplicates}
    return noise_table(noise, answers_removed(job), funnel.merged, places)
