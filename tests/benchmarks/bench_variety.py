"""Does the synthetic Empathy-QA read as varied as real posts? Sentence shares, Distinct-n and self-BLEU, with
the same sample sizes.

    .venv/bin/python tests/benchmarks/bench_variety.py [--full] [file or folder of real posts …]

Both lengths of the synthesis, with ``--full`` also all posts of the ``paper`` profile (some minutes), and
each source named (its texts are read and cleaned as ``dataset`` would, at most 2,000 questions). The last
line is JSON. No real text is printed.
"""

from __future__ import annotations

import json
import sys

from empathy_lib.core.config import DatasetConfig, load_profile
from empathy_lib.core.run import generator
from empathy_lib.dataset.build import to_annotate
from empathy_lib.dataset.variety import sentence_shares, variety

QUESTIONS, SAMPLE, SEED = 2_000, 100, 1


def main() -> None:
    """Measure and print."""
    sources = {
        f"synthetic, {length}": DatasetConfig(questions=QUESTIONS, answer_length=length)
        for length in ("short", "long")
    }
    paths = [word for word in sys.argv[1:] if word != "--full"]
    sources |= {"synthetic, paper": load_profile("paper").dataset} if "--full" in sys.argv else {}
    sources |= {
        f"real {place}": DatasetConfig(data=path, questions=QUESTIONS) for place, path in enumerate(paths, 1)
    }
    rows = {}
    for name, config in sources.items():
        items = to_annotate(config, SEED)
        table = variety(items, SAMPLE, generator(SEED, "variety"))
        top = sentence_shares(items)
        print(
            f"{name}: {len(items)} questions\n{table.round(3)}\nmost frequent sentence: {top.iloc[0]:.2%} of "
            f"the items\n",
            flush=True,
        )
        figures = {
            f"{text}.{column}": value for text, row in table.iterrows() for column, value in row.items()
        }
        rows[name] = {
            key: round(float(value), 4)
            for key, value in {"top_sentence_share": top.iloc[0], **figures}.items()
        }
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
