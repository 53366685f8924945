"""What CoE accuracy is worth nothing below: chance, a constant guess, a pasted post, a fixed quotation,
rules, and a system's own chains shuffled.

Knows: chains that need no understanding. Does not know: how a chain is marked (``reward.marking``).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from empathy_lib.core.coe import ChainOfEmpathy, parse
from empathy_lib.core.schema import Gold, Item
from empathy_lib.dataset.rules.chain import default_rules
from empathy_lib.reward.marking import ALL_MARKS, MARKED, MAX_EMOTIONS, Marker

LEVELS = {
    "chance": "drawn at random",
    "constant": "best constant guess",
    "post_pasted": "post pasted",
    "post_pasted_uncounted": "post pasted, span not counted",
    "fixed_quote": "best fixed place quoted",
    "rules": "rules annotator",
}
QUOTE_WIDTHS = (25, 40)
_PLACES = np.linspace(0, 1, 11)


def levels(items: Sequence[Item], marker: Marker) -> dict[str, dict[str, float]]:
    """Each of :data:`LEVELS` to mark to its share of posts, over the items with gold labels.

    ``fixed_quote`` quotes the same place of every post, in all layers; place and width are picked for each
    label knowing the golds, as the constant is: upper bounds of what no reading can get. NaN where there is
    no such level, or no gold.
    """
    known = [item for item in items if item.gold is not None]
    if not known:
        return {name: dict.fromkeys(ALL_MARKS, math.nan) for name in LEVELS}
    golds = [item.gold for item in known]
    marker = marker.knowing(golds)
    rules = default_rules()
    paste: Callable[[Item], str] = lambda item: item.question  # noqa: E731
    uncounted = replace(marker, count_span=False)
    quotes = [
        _pasted(known, lambda item, w=width, p=place: _cut(item.question, w, p), marker)
        for width in QUOTE_WIDTHS
        for place in _PLACES
    ]
    return {
        "chance": chance(golds, marker),
        "constant": constant_guess(golds, marker),
        "post_pasted": _pasted(known, paste, marker),
        "post_pasted_uncounted": _pasted(known, paste, uncounted),
        "fixed_quote": {name: max(quote[name] for quote in quotes) for name in ALL_MARKS},
        "rules": mean_marks([(rules.chain(i.question), i.gold, i.question) for i in known], marker),
    }


def overlap_cannot_judge(level: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Labels for which pasting the post beats the best constant guess as soon as no span is counted: there
    finding words in a layer says nothing of reading."""
    return [m for m in ALL_MARKS if level["post_pasted_uncounted"][m] > level["constant"][m]]


def levels_table(level: Mapping[str, Mapping[str, float]], marks: Sequence[str]) -> pd.DataFrame:
    """The levels for reading: a row a level, a column a mark, which overlap alone cannot judge marked †."""
    spoilt = overlap_cannot_judge(level)
    cells = {
        LEVELS[name]: [f"{values[m]:.3f}" if not math.isnan(values[m]) else "not available" for m in marks]
        for name, values in level.items()
    }
    return pd.DataFrame.from_dict(
        cells, orient="index", columns=[f"{m} †" if m in spoilt else m for m in marks]
    )


def headline_entries(
    level: Mapping[str, Mapping[str, float]], golds: Sequence[Gold | None]
) -> dict[str, dict[str, object]]:
    """``coe_accuracy.<level>.<mark>`` for ``Run.headline``."""
    n = sum(gold is not None for gold in golds)
    return {
        f"coe_accuracy.{name}.{mark}": {"value": value, "n": n, "unit": "share"}
        for name, values in level.items()
        for mark, value in values.items()
    }


def mean_marks(chains: Sequence[tuple[ChainOfEmpathy | None, Gold, str]], marker: Marker) -> dict[str, float]:
    """Mean of each mark over (chain, gold, post); NaN where no gold has the label."""
    marks = [marker.mark_chain(*one) for one in chains]
    return {name: _mean([mark[name] for mark in marks]) for name in ALL_MARKS}


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


def _cut(post: str, width: int, place: float) -> str:
    start = round(max(0, len(post) - width) * place)
    return post[start : start + width]


def _pasted(items: Sequence[Item], part: Callable[[Item], str], marker: Marker) -> dict[str, float]:
    layers = [
        ChainOfEmpathy.model_construct(**dict.fromkeys(("L1", "L2", "L3", "L4"), part(i))) for i in items
    ]
    return mean_marks(
        [(layer, item.gold, item.question) for layer, item in zip(layers, items, strict=True)], marker
    )


def chance(golds: Sequence[Gold], marker: Marker) -> dict[str, float]:
    """What a label drawn evenly from all that there are would score; two, where two emotions may be named."""
    pairs = {
        kind: [nearest.chance(getattr(gold, kind)) for gold in golds]
        for kind, nearest in (("cause", marker.causes), ("belief", marker.beliefs))
    }
    return dict.fromkeys(ALL_MARKS, math.nan) | {
        "L1": min(1.0, MAX_EMOTIONS / len(marker.emotions)),
        "bias": 1 / len(marker.biases) if marker.biases else math.nan,
        "L3": 1 / len(marker.intents),
        **{kind: _mean([of_all for of_all, _ in both]) for kind, both in pairs.items()},
        **{f"{kind}_subtopic": _mean([within for _, within in both]) for kind, both in pairs.items()},
    }


def constant_guess(golds: Sequence[Gold | None], marker: Marker) -> dict[str, float]:
    """What one and the same chain for every post would score: the two best emotions, the best cause, bias,
    belief and intent for these golds.

    An upper bound of guessing, since the best label is picked knowing the golds. NaN where no gold is known.
    """
    known = [gold for gold in golds if gold is not None]
    if not known:
        return dict.fromkeys(ALL_MARKS, math.nan)
    marker = marker.knowing(known)
    share = lambda labels, most=1: (  # noqa: E731
        sum(count for _, count in Counter(labels).most_common(most)) / len(labels) if labels else math.nan
    )
    level = {
        "L1": share([gold.emotion for gold in known], MAX_EMOTIONS),
        "L1_any": 1.0,  # by naming all
        "bias": share([gold.bias for gold in known if gold.bias]),
        "L3": share([gold.intent for gold in known]),
        "gist_recall": max(
            _mean([marker.recalls_gist(cause, gold) for gold in known])
            for cause in {gold.cause for gold in known}
        ),
    }
    for kind, nearest in (("cause", marker.causes), ("belief", marker.beliefs)):
        labels = [getattr(gold, kind) for gold in known]
        hits = [[nearest.identifies(text, label) for label in labels] for text in sorted(set(labels))]
        level[kind] = max(_mean([of_all for of_all, _ in row]) for row in hits)
        level[f"{kind}_subtopic"] = max(_mean([within for _, within in row]) for row in hits)
    return {name: level[name] for name in ALL_MARKS}


def shuffled_chains(
    completions: Sequence[str], golds: Sequence[Gold | None], marker: Marker
) -> dict[str, float]:
    """What a system's chains score against the golds of *other* posts: the exact mean over all mismatched
    pairs.

    A system above this reads the post; a system at it writes chains that fit any post. Layers that are too
    long name nothing; what they quote is not counted, the post being another's. NaN with fewer than two
    golds.
    """
    known = [
        (parse(completion), gold)
        for completion, gold in zip(completions, golds, strict=True)
        if gold is not None
    ]
    if len(known) < 2:
        return dict.fromkeys(MARKED, math.nan)
    marker = marker.knowing(gold for _, gold in known)
    return {
        name: value
        for name, value in mean_marks(
            [
                (parsed.coe if parsed else None, gold, "")
                for i, (parsed, _) in enumerate(known)
                for j, (_, gold) in enumerate(known)
                if i != j
            ],
            marker,
        ).items()
        if name in MARKED
    }
