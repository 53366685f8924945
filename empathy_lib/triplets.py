"""The reward model's training material: triplets (question, positive, negative).

Knows: which negatives there are and why. Does not know: the encoder or the loss.

The paper names the triplet (question, a professional's answer, another answer; second-hand). Which answers serve as
negatives is our choice:

- ``random``: an answer to any other post;
- ``same_topic``: an answer to another post of the same topic (the hard one: same vocabulary, another person);
- ``copy_whole``, ``copy_partial``, ``copy_rephrased``: the post itself, a part of it, or the post turned from "I" to
  "you". A cosine between post and answer can be bought by copying, so copies are negatives from the start.
"""

from __future__ import annotations

import re

import numpy as np

from empathy_lib.config import RewardConfig
from empathy_lib.empathy_qa.schema import Item

COPY_KINDS = ("copy_whole", "copy_partial", "copy_rephrased")
NEGATIVE_KINDS = ("random", "same_topic", *COPY_KINDS)
_SENTENCE = re.compile(r"[^。！？!?\n]+[。！？!?\n]*")
_LEADS = ("我感觉你", "听起来你", "我听到你说，", "你说，", "我能感受到，")


def copy_of(question: str, kind: str, rng: np.random.Generator) -> str:
    """A reply that a policy could buy reward with: the post, or a part of it, dressed as an answer."""
    sentences = _SENTENCE.findall(question) or [question]
    if kind == "copy_whole":
        return question
    size = int(rng.integers(1, max(2, len(sentences))))
    start = int(rng.integers(0, len(sentences) - size + 1))
    part = "".join(sentences[start : start + size])
    if kind == "copy_partial":
        return part
    lead = _LEADS[int(rng.integers(len(_LEADS)))]
    whole = question if rng.random() < 0.5 else part
    return lead + re.sub(r"我们|我", lambda m: "你们" if m.group() == "我们" else "你", whole)


def negative_for(item: Item, pool: list[Item], kind: str, rng: np.random.Generator) -> str | None:
    """Draw one negative of ``kind`` for ``item``; None where the pool has none, as ``same_topic`` without topics."""
    if kind in COPY_KINDS:
        return copy_of(item.question, kind, rng)
    others = [i for i in pool if i.id != item.id and (kind == "random" or (item.topic and i.topic == item.topic))]
    if not others:
        return None
    other = others[int(rng.integers(len(others)))]
    return other.answers[int(rng.integers(len(other.answers)))].text


def build_triplets(items: list[Item], config: RewardConfig, rng: np.random.Generator) -> list[dict[str, str]]:
    """Draw training triplets, every (question, answer) pair before any twice.

    Returns:
        ``{"anchor": post, "positive": reply, "negative": reply, "kind": kind of negative}``, at most ``max_triplets``.
    """
    pairs = [(item, answer.text) for item in items for answer in item.answers]
    kinds = ["random", "same_topic", "copy"]
    shares = [max(0.0, 1 - config.same_topic_share - config.copy_share), config.same_topic_share, config.copy_share]
    triplets = []
    for index in rng.permutation(len(pairs))[: config.max_triplets]:
        item, positive = pairs[index]
        kind = kinds[rng.choice(3, p=np.array(shares) / sum(shares))]
        kind = COPY_KINDS[int(rng.integers(len(COPY_KINDS)))] if kind == "copy" else kind
        negative = negative_for(item, items, kind, rng)
        if negative is None:  # no other post of this topic, or no other post at all
            negative, kind = negative_for(item, items, "random", rng), "random"
        if negative is None:
            negative, kind = copy_of(item.question, "copy_whole", rng), "copy_whole"
        triplets.append({"anchor": item.question, "positive": positive, "negative": negative, "kind": kind})
    return triplets


def reward_posts(items: list[Item], config: RewardConfig) -> list[Item]:
    """The training posts that the reward model may see: all, or every second one where its triplets would touch most of them.

    An independent judge needs posts of its own (:func:`unseen`).
    """
    return items if sum(len(item.answers) for item in items) >= 2 * config.max_triplets else items[::2]


def unseen(items: list[Item], triplets: list[dict[str, str]]) -> list[Item]:
    """Items of which no triplet holds a text, be it the post or any answer."""
    held = {triplet[side] for triplet in triplets for side in ("anchor", "positive", "negative")}
    return [item for item in items if held.isdisjoint([item.question, *item.references])]


def evaluation_pairs(items: list[Item], pool: list[Item], rng: np.random.Generator, answers: int = 1) -> list[dict[str, str]]:
    """For each held-out question's first ``answers`` references one negative of every kind that ``pool`` has."""
    return [
        {"id": item.id, "anchor": item.question, "positive": answer.text, "negative": negative, "kind": kind}
        for item in items
        for answer in item.answers[:answers]
        for kind in NEGATIVE_KINDS
        if (negative := negative_for(item, pool, kind, rng)) is not None
    ]
