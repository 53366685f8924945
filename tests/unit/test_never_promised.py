"""What no page may promise: safety, clinical use, help at every hour, anonymity, compliance; a sentence that
names one of these must deny it."""

import json
import re

import pytest

from empathy_lib.core.run import ROOT

PROMISES = re.compile(
    r"\b24 ?h\b|24/7|24[- ]hours?|around the clock|\bassess\w* (?:of )?risk|\brisk assess|\bC-SSRS\b"
    r"|\bclinical(?:ly)? (?:valid|safe|prove|test|use|result)|\bguarantee|\bno harm\b"
    r"|\bis safe\b|\bsafe (?:for|to use)\b|\bkeeps? (?:you|people) safe|\bensures? safety"
    r"|\banonym(?:ous|ity)\b|\bcomplian\w+|\bfaithful(?:ly|ness)?\b|\bmonitors? (?:you|users?|posts?)\b"
    r"|24 ?小时|全天候|临床(?:有效|验证|用途|结果)|风险评估|绝对安全|保证(?:安全|有人接听)"
    r"|匿名(?!者)|合法合规",
    re.IGNORECASE,
)
DENIALS = re.compile(
    r"\b(?:no|not|never|nobody|none|neither|nor|cannot|without)\b|不|没有|无法|并非|绝非", re.IGNORECASE
)
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "tests").glob("*/README.md")),
    *sorted((ROOT / "notebooks").rglob("*.ipynb")),
]


def prose(path):
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    cells = (cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown")
    return "\n\n".join("".join(cell["source"]) for cell in cells)


def promised(text):
    """Sentences that name one of these and deny none."""
    sentences = re.split(r"(?<=[.!?:;])\s+|(?<=[。！？；：])|\n{2,}|\n(?=[|#>-])", text)
    named = (" ".join(each.split()) for each in sentences if PROMISES.search(each))
    return [each for each in named if not DENIALS.search(each)]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_page_promises_what_nobody_here_can_keep(path):
    assert promised(prose(path)) == []


@pytest.mark.parametrize(
    "claim",
    [
        "12356 answers 24 h a day.",
        "The gate is a risk assessment.",
        "热线 24 小时有人接听。",
        "The corpus is anonymous.",
    ],
)
def test_a_promise_is_seen_and_its_denial_is_not(claim):
    assert promised(f"First words. {claim} Last words.") == [claim]
    assert promised("The gate is no risk assessment. 语料并非匿名。 It is not anonymous.") == []
