"""How the teaching notebooks are written: short texts, code that fits a screen, both languages, exercises."""

import json
import re

import pytest
from starters import starters

from empathy_lib.core.run import NOTEBOOKS, ROOT

GOALS = ("**After this notebook you can**", "**You will learn**")
CHINESE = re.compile(r"[\u4e00-\u9fff].*[。？]")
# a docstring that is part of a finished stage's request
WIDE = {
    '    """Choose the trained encoder\'s threshold on validation pairs; their scores are kept beside it."""'
}


def cells_of(name, kind, folder="notebooks"):
    cells = json.loads((ROOT / folder / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == kind]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_at_most_one_text_in_ten_has_more_than_80_words(name):
    texts = cells_of(name, "markdown")
    long = [text[:60] for text in texts if len(text.split()) > 80]
    assert len(long) <= len(texts) / 10, long


@pytest.mark.parametrize("folder", ["notebooks", "notebooks/solutions"])
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_code_fits_a_screen(name, folder):
    for cell in cells_of(name, "code", folder):
        lines = [line for line in cell.splitlines() if line.strip()]
        assert len(lines) <= 15, cell
        assert not [line for line in lines if len(line) > 100 and line not in WIDE]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_section_opens_with_a_sentence_in_chinese(name):
    heads = [text for text in cells_of(name, "markdown") if text.startswith("## ")]
    assert len(heads) > 6
    assert [head[:40] for head in heads if not CHINESE.search(head.split("\n\n")[1])] == []


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_goals_a_diagram_and_three_to_five_exercises_with_solutions(name):
    texts = "\n".join(cells_of(name, "markdown"))
    assert any(goals in texts for goals in GOALS) and texts.count("```mermaid") == 1
    asked = list(starters(name[:2]))
    assert 3 <= len(asked) <= 5
    solved = "\n".join(cells_of(name, "code", "notebooks/solutions"))
    assert re.findall(r'exercises\.require\("(\d\d\.\d)"', solved) == asked
