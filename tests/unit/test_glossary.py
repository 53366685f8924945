"""docs/glossary.md: four filled cells a row, each term once, and the terms that a reader will look up."""

import re

from empathy_lib.core.run import ROOT

TEXT = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
HEAD = ["Term", "中文", "In English", "中文解释"]
LOOKED_UP = """
Chain of Empathy|Layer|Supervised fine-tuning (SFT)|Completion|Rollout|Advantage|Reference policy|KL
GRPO|Group|Reward|InfoNCE|Triplet|Hard negative|Threshold|Pairwise accuracy|AUC|Calibrated|Monotone
ROUGE-L|BLEU|Distinct-n|Self-BLEU|BERTScore|Bootstrap|Interval|Paired permutation test|Holm|Win@K
Mean rank|Bradley-Terry|Two-way clustered|Critical difference|Krippendorff|Attention check|Blinded
Near-duplicate|MinHash|LSH|Leakage|De-identification|Copy rate|Sharpening|Well-formed
Greedy decoding|Sampled decoding|Temperature|Top-p|LoRA|Manifest|Stage|papermill|nbval|Loss mask
Kendall's W|Kendall's tau|Friedman|Plackett-Luce|Best of n
"""


def rows():
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in TEXT.splitlines() if line[:1] == "|"
    ]
    return [row for row in cells if row != HEAD and set(row[0]) != {"-"}]


def test_every_row_has_both_languages_and_no_term_stands_twice():
    chinese, terms = re.compile(r"[\u4e00-\u9fff]"), [row[0] for row in rows()]
    assert len(terms) == len({term.lower() for term in terms}) > 90
    for row in rows():
        assert len(row) == 4 and all(row), row
        assert not chinese.search(row[0] + row[2]) and chinese.search(row[3]), row
        assert row[2].endswith(".") and row[3].endswith("。"), row


def test_the_terms_that_readers_look_up_are_there():
    terms = "\n".join(row[0] for row in rows())
    missing = [
        term
        for term in re.split(r"[|\n]", LOOKED_UP.strip())
        if not re.search(rf"^{re.escape(term)}", terms, re.M)
    ]
    assert missing == []
