"""README and README.zh-CN.md say the same: headings, commands, links and generated blocks."""

import re

import pytest

from empathy_lib.app.report import READMES
from empathy_lib.core.run import ROOT

TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in READMES}
FENCE = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
GENERATED = re.compile(r"(<!-- (\w+):begin -->).*?(<!-- \2:end -->)", re.DOTALL)
# a README's own link to its other language
OTHER = {"README.md": "README.zh-CN.md", "README.zh-CN.md": "README.md"}


def prose(text):
    """Without code and without what publishing writes."""
    return GENERATED.sub(r"\1\3", FENCE.sub("", text))


def headings(text):
    return re.findall(r"^(#+) ", prose(text), re.MULTILINE)


def code(text):
    """The code blocks but for words: comments, and the labels of a diagram."""
    return [
        (kind, re.sub(r"\[\".*?\"\]", "[]", re.sub(r" *# .*", "", block)))
        for kind, block in FENCE.findall(text)
    ]


def links(text):
    return set(re.findall(r"\]\(([^)]+)\)", prose(text)))


def markers(text):
    return re.findall(r"<!-- \w+:(?:begin|end) -->", text)


def inline_code(text):
    return sorted(set(re.findall(r"`[^`\n]+`", prose(text))))


@pytest.mark.parametrize("part", [headings, code, markers, inline_code])
def test_both_readmes_have_the_same(part):
    english, chinese = (part(TEXTS[name]) for name in READMES)
    assert english == chinese and english


def test_both_readmes_link_to_the_same_and_to_each_other_at_the_top():
    english, chinese = (links(TEXTS[name]) - {OTHER[name]} for name in READMES)
    assert english == chinese and len(english) > 10
    for name, other in OTHER.items():
        assert f"]({other})" in "".join(TEXTS[name].splitlines(keepends=True)[:5])


@pytest.mark.parametrize("name", READMES)
def test_what_a_readme_links_to_is_there(name):
    here = [link for link in links(TEXTS[name]) if "://" not in link]
    made = ("figures/", "notebooks/executed/")  # by publishing a run
    assert [link for link in here if not (link.startswith(made) or (ROOT / link).exists())] == []


@pytest.mark.parametrize("name", READMES)
def test_both_readmes_name_the_crisis_line(name):
    assert "12356" in TEXTS[name] and "findahelpline.com" in TEXTS[name]


def test_the_comparison_sees_a_changed_command_link_and_heading():
    text = TEXTS["README.zh-CN.md"]
    assert code(text.replace("make lab", "make lob")) != code(text)
    assert links(text.replace("docs/study.md", "docs/x.md")) != links(text)
    assert headings(text.replace("## ", "### ", 1)) != headings(text)


def test_every_pattern_of_make_lab_finds_notebooks():
    # an unexpanded pattern reaches the signer as a name, and JupyterLab never opens
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nlab:")[2].partition("\n\n")[0]
    patterns = re.findall(r"\S+\*\.ipynb", recipe)
    assert len(patterns) == 3
    assert all(any(ROOT.glob(pattern)) for pattern in patterns), patterns
