"""How varied a dataset's language is: sentences that recur, Distinct-n, self-BLEU.

Knows: items and texts. Does not know: what is varied enough; put a corpus of real posts beside it, with the
same sample sizes, since Distinct-n falls and self-BLEU rises as a sample grows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from empathy_lib.core.quality import distinct, self_bleu
from empathy_lib.core.schema import Item
from empathy_lib.core.text import sentences, visible_length


def sentence_shares(items: Sequence[Item]) -> pd.Series:
    """For each sentence the share of items whose post or answers hold it, the highest first, equals in the
    sentences' own order."""
    held: Counter[str] = Counter()
    for item in items:
        held.update({sentence for text in (item.question, *item.references) for sentence in sentences(text)})
    # sets have no order: equal counts need one
    ranked = sorted(held.items(), key=lambda entry: (-entry[1], entry[0]))
    return pd.Series(dict(ranked), dtype=float) / len(items)


def variety(items: Sequence[Item], sample: int, rng: np.random.Generator) -> pd.DataFrame:
    """Posts and answers of a random sample of items, one answer each: rows ``question`` and ``answer``.

    Columns: ``n``, ``characters`` (mean), ``distinct_2`` and ``distinct_3`` (character n-grams, 0 to 1),
    ``self_bleu`` (0 to 100).
    """
    drawn = [items[place] for place in rng.permutation(len(items))[:sample]]
    texts = {"question": [item.question for item in drawn], "answer": [item.references[0] for item in drawn]}
    rows = {
        name: {
            "n": len(group),
            "characters": float(np.mean([visible_length(text) for text in group])),
            "distinct_2": distinct(group, 2, "char").value,
            "distinct_3": distinct(group, 3, "char").value,
            "self_bleu": self_bleu(group).value,
        }
        for name, group in texts.items()
    }
    return pd.DataFrame(rows).T
