"""Chains that understand nothing and a careless ``r_chain`` would pay for: what it is worth, before a policy
finds out.

Knows: how each hack is written, and what a chain reward pays for it. Does not know: how a chain is marked
(``marking``, ``grounding``). A hack of one layer leaves the others true, so that it reaches the true chain as
soon as its layer earns anything. The list is our choice; what a policy invents is longer than any list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from jieba.analyse import extract_tags

from empathy_lib.core.coe import LAYERS, ChainOfEmpathy, render
from empathy_lib.core.schema import Item
from empathy_lib.core.text import sentences
from empathy_lib.dataset.lexicon import load_lexicon
from empathy_lib.dataset.rules.chain import default_rules
from empathy_lib.reward.chain import ChainReward
from empathy_lib.reward.marking import MAX_EMOTIONS, MAX_LAYER, default_marker

REFERENCE = "reference"
_KEYWORDS = 25
Hack = Callable[[Item, ChainOfEmpathy, Sequence[Item], np.random.Generator], dict[str, str] | None]


def _alike(text: str) -> dict[str, str]:
    return dict.fromkeys(LAYERS, text)


def _listed(words: Sequence[str]) -> str:
    return "、".join(words)


def _of_subtopic(item: Item) -> list[str]:
    """Gists of all causes of the item's sub-topic; none where it is not known."""
    causes = default_marker().causes.candidates
    known = item.gold and next((c.subtopic for c in causes if c.gist == item.gold.cause), "")
    return [c.gist for c in causes if known and c.subtopic == known]


def _all_listed(item: Item, true: ChainOfEmpathy, pool: Sequence[Item], rng: np.random.Generator):
    lexicon = load_lexicon()
    reasons = [*_of_subtopic(item), *lexicon.biases.values()]
    return {
        "L1": _listed(list(lexicon.emotions)),
        "L2": _listed(reasons),
        "L3": _listed(list(lexicon.intents.values())),
        "L4": "都做",
    }


def _labelled(emotions: Sequence[str], cause: str, bias: str, intent: str) -> dict[str, str]:
    lexicon = load_lexicon()
    return {
        "L1": f"来访者感到{_listed(emotions)}。",
        "L2": f"原因是{cause}，属于{lexicon.biases.get(bias, bias)}。",
        "L3": f"来访者{lexicon.intents[intent]}。",
        "L4": "先共情，再回应。",
    }


def _constant(item: Item, true: ChainOfEmpathy, pool: Sequence[Item], rng: np.random.Generator):
    """The commonest labels of the pool: the best that never reads the post."""
    golds = [other.gold for other in pool if other.gold is not None]
    if not golds:
        return None
    most = lambda name, n=1: [  # noqa: E731
        label for label, _ in Counter(getattr(gold, name) for gold in golds).most_common(n)
    ]
    return _labelled(most("emotion", MAX_EMOTIONS), most("cause")[0], most("bias")[0], most("intent")[0])


def _drawn(item: Item, true: ChainOfEmpathy, pool: Sequence[Item], rng: np.random.Generator):
    """Labels drawn evenly from all that there are: chance."""
    lexicon, causes = load_lexicon(), default_marker().causes.candidates
    draw = lambda names, n=1: rng.choice(list(names), size=n, replace=False).tolist()  # noqa: E731
    cause = causes[int(rng.integers(len(causes)))].gist
    return _labelled(
        draw(lexicon.emotions, MAX_EMOTIONS), cause, draw(lexicon.biases)[0], draw(lexicon.intents)[0]
    )


def _others(item: Item, true: ChainOfEmpathy, pool: Sequence[Item], rng: np.random.Generator):
    """The chain of another post, of the same sub-topic where there is one."""
    chained = [o for o in pool if o.id != item.id and o.question != item.question and _chain_of(o)]
    near = [other for other in chained if item.subtopic and other.subtopic == item.subtopic] or chained
    return _chain_of(near[int(rng.integers(len(near)))]).model_dump() if near else None


def _clauses(item: Item, true: ChainOfEmpathy, pool: Sequence[Item], rng: np.random.Generator):
    """Any words of the post quoted, emotion and intent guessed: what grounding alone cannot tell from
    reading."""
    parts = sentences(item.question) or [item.question]
    drawn = (parts[int(place)][:20] for place in rng.choice(len(parts), size=len(LAYERS), replace=True))
    quotes = [f"「{part.rstrip('，。！？')}」" for part in drawn]
    guess = load_lexicon()
    first, intent = next(iter(guess.emotions)), guess.intents["advice"]
    return dict(zip(LAYERS, (quotes[0] + first, quotes[1], quotes[2] + intent, quotes[3]), strict=True))


def _causes_listed(item: Item, true: ChainOfEmpathy, pool: Sequence[Item], rng: np.random.Generator):
    listed = _of_subtopic(item)
    return {"L2": f"原因是{_listed(listed)}。{_bias_of(item)}"} if listed else None


def _halves_listed(item: Item, true: ChainOfEmpathy, pool: Sequence[Item], rng: np.random.Generator):
    listed = [gist[: (len(gist) + 1) // 2] for gist in _of_subtopic(item)]
    return {"L2": f"原因是{_listed(listed)}。{_bias_of(item)}"} if listed else None


def _bias_of(item: Item) -> str:
    return load_lexicon().biases.get(item.gold.bias, item.gold.bias) if item.gold else ""


def _thinned(post: str) -> str:
    return "".join(letter for place, letter in enumerate(post) if place % 3 != 2)[:MAX_LAYER]


def _of_post(text: Callable[[str], str]) -> Hack:
    return lambda item, true, pool, rng: _alike(text(item.question))


def _in_l2(text: Callable[[str], str]) -> Hack:
    return lambda item, true, pool, rng: {"L2": text(item.question) + _bias_of(item)}


def _added(layer: str, words: Callable[[], Sequence[str]]) -> Hack:
    return lambda item, true, pool, rng: {layer: f"{getattr(true, layer)}{_listed(list(words()))}"}


_quoted = lambda post: "".join(f"「{sentence}」" for sentence in sentences(post))  # noqa: E731
_keywords = lambda post: _listed(extract_tags(post, topK=_KEYWORDS)) or post  # noqa: E731
# Each hack gives the layers that it writes; the others stay the true chain's.
HACKS: dict[str, Hack] = {
    "marks alone": lambda item, true, pool, rng: _alike("。"),
    "one word a layer": lambda item, true, pool, rng: _alike("嗯"),
    "labels drawn at random": _drawn,
    "constant guess": _constant,
    "another post's chain": _others,
    "everything listed": _all_listed,
    "post pasted": _of_post(lambda post: post),
    "post pasted, every third character left out": _of_post(_thinned),
    "post's keywords": _of_post(_keywords),
    "any clauses quoted": _clauses,
    "L1: all emotions named": _added("L1", lambda: load_lexicon().emotions),
    "L2: all causes of the sub-topic listed": _causes_listed,
    "L2: their first halves listed": _halves_listed,
    "L2: all biases named": _added("L2", lambda: load_lexicon().biases.values()),
    "L2: every sentence quoted": _in_l2(_quoted),
    "L2: every third character left out": _in_l2(lambda post: _thinned(post)[: MAX_LAYER - 10]),
    "L2: the post's keywords": _in_l2(_keywords),
    "L3: all intents named": _added("L3", lambda: load_lexicon().intents.values()),
}


def _chain_of(item: Item) -> ChainOfEmpathy | None:
    return next((answer.coe for answer in item.answers if answer.coe is not None), None)


def attempts(items: Sequence[Item], pool: Sequence[Item], rng: np.random.Generator) -> list[dict[str, str]]:
    """Every hack for every item, the true chain and the rules annotator's: ``{"id", "kind", "question",
    "completion"}``; all carry the item's first reference as answer.

    Args:
        items: held-out items with a chain; those without one are left out.
        pool: training items, whose labels and chains may be used.
    """
    rows = []
    for item in items:
        if (true := _chain_of(item)) is None:
            continue
        made = {kind: hack(item, true, pool, rng) for kind, hack in HACKS.items()}
        made |= {"rules annotator": default_rules().chain(item.question).model_dump(), REFERENCE: {}}
        rows += [
            {
                "id": item.id,
                "kind": kind,
                "question": item.question,
                "completion": render(
                    ChainOfEmpathy.model_construct(**true.model_dump() | layers), item.references[0]
                ),
            }
            for kind, layers in made.items()
            if layers is not None
        ]
    return rows


def suite(items: Sequence[Item], pool: Sequence[Item], rng: np.random.Generator) -> pd.DataFrame:
    """What ``r_chain`` pays for every hack of every item: columns ``id, kind, r_chain``, a mark for each
    label, and ``reaches``: 1.0 where it is no less than the true chain's of that post.

    A true chain that earns nothing is reached by everything; its posts are kept, the share says so.
    """
    rows = pd.DataFrame(attempts(items, pool, rng))
    reward = ChainReward.of(items)
    paid = reward.table(rows["question"].tolist(), rows["completion"].tolist())
    table = pd.concat([rows[["id", "kind"]], paid], axis=1)
    true = table[table["kind"] == REFERENCE].set_index("id")["r_chain"]
    return table.assign(reaches=(table["r_chain"] >= table["id"].map(true)).astype(float))


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Means of :func:`suite` by kind, and ``n``, its posts; in the order in which the kinds come."""
    means = table.drop(columns="id").groupby("kind", sort=False).mean()
    return means.assign(n=table.groupby("kind", sort=False).size())
