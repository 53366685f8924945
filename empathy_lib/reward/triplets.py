"""The reward model's training material: triplets (question, positive, negative).

Knows: which negatives there are and why. Does not know: the encoder or the loss.

The paper names the triplet (question, a professional's answer, another answer; second-hand). Which answers
serve as negatives is our choice:

- ``random``: an answer to any other post;
- ``same_topic``: an answer to another post of the same topic (hard: same vocabulary, another person);
- ``same_subtopic``: an answer to another post of the same sub-topic, with another cause, intent or belief
  where these are known (harder: the same kind of trouble, another person's reasons);
- ``bm25``: an answer to the post that BM25 finds nearest, again with another cause, intent or belief (the
  hardest: the same words, another need; a retriever that answers with it must not be paid);
- ``copy_whole``, ``copy_partial``, ``copy_rephrased``: the post itself, a part of it, or the post turned from
  "I" to "you". A cosine between post and answer can be bought by copying, so copies are negatives from the
  start;
- ``over_long``, ``keywords``, ``contradicting``: the answer with replies to other posts behind it, the post's
  own words in a row, a reply that denies what the post says. A judge that never saw them pays for them
  (notebook 03, the hacks).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product

import numpy as np
from jieba.analyse import extract_tags

from empathy_lib.core.config import RewardConfig
from empathy_lib.core.schema import Gold, Item
from empathy_lib.models.retrieval import Bm25Retriever

COPY_KINDS = ("copy_whole", "copy_partial", "copy_rephrased")
NEGATIVE_KINDS = ("random", "same_topic", "same_subtopic", "bm25", *COPY_KINDS)
HACK_KINDS = (*["over_long"] * 3, *["contradicting"] * 2, "keywords")  # the harder to see, the oftener
_SENTENCE = re.compile(r"[^。！？!?\n]+[。！？!?\n]*")
_LEADS = ("我感觉你", "听起来你", "我听到你说，", "你说，", "我能感受到，")

_MARKS = ("、", "，", " ", "和")
# A denial is one opening, one body and one ending: other sentences than the suite's in hacks, which
# are held out.
_OPENINGS = (
    "别为{words}这点事发愁了，谁家没有？",
    "听你讲{words}，我只觉得你小题大做。",
    "{words}都是借口。",
    "{words}，哪一样值得说？",
    "我看问题全在你，{words}没有一件怨得着别人。",
    "又是{words}，我都听烦了。",
    "{words}也好意思拿出来问？",
    "不就是{words}嘛，至于吗？",
)
_BODIES = (
    "你太闲了才会想这些。",
    "换了别人早就过去了，是你自己不肯放下。",
    "你就是懒，就是不想改。",
    "这有什么好难过的？我可看不出哪里难。",
    "先把自己的脾气改了再说吧。",
    "说白了就是你没本事，还想让大家哄着你。",
    "你这种人到哪里都一样，怨不得家里人嫌弃。",
    "真正受苦的人根本没空发牢骚。",
)
_ENDINGS = (
    "找点活干就好了，不要再来问了。",
    "谁劝也没有用，受不了也是自找的。",
    "再这样下去，身边的人都会躲着你。",
    "我没什么可说的，你爱怎样就怎样。",
    "哭有什么用，咬咬牙不就完了。",
    "以后这些话烂在肚子里就行。",
)
_DENIALS = tuple("".join(parts) for parts in product(_OPENINGS, _BODIES, _ENDINGS))


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


def denial_of(question: str, words: int, patterns: Sequence[str], rng: np.random.Generator) -> str:
    """One of ``patterns``, each with a place for ``{words}``, said of so many keywords of the post."""
    return patterns[int(rng.integers(len(patterns)))].format(
        words="、".join(extract_tags(question, topK=words))
    )


def negative_for(item: Item, pool: list[Item], kind: str, rng: np.random.Generator) -> str | None:
    """Draw one negative of ``kind`` for ``item``; None where the pool has none, as ``same_topic`` without
    topics."""
    return "".join(_parts(item, item.references[0], pool, kind, rng)[0]) or None


def _may_answer(item: Item, other: Item, kind: str) -> bool:
    """Whether a reply to ``other`` is a negative of ``kind`` for ``item``."""
    if other.id == item.id or other.question == item.question:
        return False
    if kind == "same_topic":
        return bool(item.topic) and other.topic == item.topic
    differs = item.gold is None or other.gold is None or _need(item.gold) != _need(other.gold)
    if kind == "same_subtopic":
        return (
            differs and bool(item.subtopic) and (other.topic, other.subtopic) == (item.topic, item.subtopic)
        )
    return differs or kind != "bm25"


def _need(gold: Gold) -> tuple[str, str, str]:
    return gold.cause, gold.intent, gold.belief


def _parts(
    item: Item,
    positive: str,
    pool: list[Item],
    kind: str,
    rng: np.random.Generator,
    retriever: Bm25Retriever | None = None,
) -> tuple[list[str], list[Item]]:
    """The texts that make up a negative, which are one but for ``over_long``, and the items that they answer;
    no text where the pool has none."""
    if kind in COPY_KINDS:
        return [copy_of(item.question, kind, rng)], []
    if kind == "keywords":
        words = extract_tags(item.question, topK=int(rng.integers(6, 20)))
        mark = _MARKS[int(rng.integers(len(_MARKS)))] if words else ""
        return [mark.join(rng.permutation(words).tolist())] if words else [], []
    if kind == "contradicting":
        return [denial_of(item.question, int(rng.integers(2, 6)), _DENIALS, rng)], []
    if kind == "bm25":
        found = (retriever or Bm25Retriever(pool)).nearest(
            item.question, lambda other: _may_answer(item, other, kind)
        )
        others = [found] if found else []
    else:
        others = [other for other in pool if _may_answer(item, other, kind)]
    if not others:
        return [], []
    drawn = [
        others[int(rng.integers(len(others)))]
        for _ in range(int(rng.integers(1, 4)) if kind == "over_long" else 1)
    ]
    replies = [other.answers[int(rng.integers(len(other.answers)))].text for other in drawn]
    return ([positive, *replies] if kind == "over_long" else replies), drawn


def build_triplets(items: list[Item], config: RewardConfig, rng: np.random.Generator) -> list[dict]:
    """Draw training triplets, every (question, answer) pair before any twice.

    Returns:
        ``{"anchor": post, "positive": reply, "negative": reply, "kind": kind of negative, "parts": texts that
        the negative is made of, "others": posts that these answer, "needs": of the anchor and those, where
        known}``, at most ``max_triplets``.
    """
    pairs = [(item, answer.text) for item in items for answer in item.answers]
    families = (("random",), ("same_topic",), ("same_subtopic",), ("bm25",), COPY_KINDS, HACK_KINDS)
    named = [
        config.same_topic_share,
        config.same_subtopic_share,
        config.nearest_share,
        config.copy_share,
        config.hack_share,
    ]
    shares = np.array([max(0.0, 1 - sum(named)), *named])
    retriever = Bm25Retriever(items) if config.nearest_share and pairs else None
    triplets = []
    for index in rng.permutation(len(pairs))[: config.max_triplets]:
        item, positive = pairs[index]
        family = families[rng.choice(len(families), p=shares / shares.sum())]
        # no other post of this sub-topic, of this topic, or no other post
        asked = family[int(rng.integers(len(family)))]
        easier = ["same_topic"] * (asked in ("same_subtopic", "bm25"))
        for kind in (asked, *easier, "random", "copy_whole"):
            parts, others = _parts(item, positive, items, kind, rng, retriever)
            if parts:
                break
        triplets.append(
            {
                "anchor": item.question,
                "positive": positive,
                "negative": "".join(parts),
                "kind": kind,
                "parts": parts,
                "others": [other.question for other in others],
                "needs": ["|".join(_need(each.gold)) for each in (item, *others) if each.gold],
            }
        )
    return triplets


def reward_posts(items: list[Item], config: RewardConfig) -> list[Item]:
    """The training posts that the reward model may see: every second one where its triplets would touch most,
    each its own post and often another's, else all.

    An independent judge needs posts of its own (:func:`unseen`).
    """
    return items if len(items) >= 4 * config.max_triplets else items[::2]


def unseen(items: list[Item], triplets: list[dict]) -> list[Item]:
    """Items of which no triplet holds a text, be it the post or any answer."""
    held = {
        text for triplet in triplets for text in (triplet["anchor"], triplet["positive"], *triplet["parts"])
    }
    return [item for item in items if held.isdisjoint([item.question, *item.references])]


def evaluation_pairs(
    items: list[Item],
    pool: list[Item],
    rng: np.random.Generator,
    answers: int = 1,
    retrieved: Sequence[str] = (),
) -> list[dict[str, str]]:
    """For each held-out question's first ``answers`` references one negative of every kind that ``pool``
    has.

    Args:
        retrieved: BM25's answer to each item (``models.retrieval``), in their order; without it the kind
            ``bm25`` is not among the pairs.
    """
    pairs = []
    for place, item in enumerate(items):
        for answer in item.answers[:answers]:
            for kind in NEGATIVE_KINDS:
                if kind == "bm25":
                    negative = retrieved[place] if len(retrieved) else None
                else:
                    negative = negative_for(item, pool, kind, rng)
                if negative is not None and negative not in item.references:
                    pair = {"id": item.id, "anchor": item.question, "positive": answer.text}
                    pairs.append({**pair, "negative": negative, "kind": kind})
    return pairs
