"""`make book`: no page forgotten, versions pinned, and a link to nowhere is seen. Needs no Sphinx."""

import re
import runpy
import tomllib

import pytest

from empathy_lib.core.run import NOTEBOOKS, ROOT

CONF = runpy.run_path(str(ROOT / "book" / "conf.py"))
check = runpy.run_path(str(ROOT / "tests" / "check_site.py"))["check"]


def test_every_page_of_the_repository_is_in_the_book_once():
    listed = [page for pages in CONF["PAGES"].values() for page in pages]
    there = {
        path.relative_to(ROOT).with_suffix("").as_posix()
        for pattern in ("*.md", "docs/*.md", "notebooks/*.ipynb", "notebooks/solutions/*.ipynb")
        for path in ROOT.glob(pattern)
    }
    assert len(listed) == len(set(listed)) and {CONF["root_doc"], *listed} == there
    assert CONF["PAGES"]["Notebooks"] == [f"notebooks/{name}" for name in NOTEBOOKS]


def test_no_page_links_to_a_page_that_the_book_leaves_out():
    listed = {page for pages in CONF["PAGES"].values() for page in pages} | {CONF["root_doc"]}
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")):
        for target in re.findall(r"\]\(([^):#]+\.md)[)#]", page.read_text(encoding="utf-8")):
            linked = (page.parent / target).resolve().relative_to(ROOT).with_suffix("").as_posix()
            assert linked in listed, f"{page.name} links to {target}"


def test_a_page_is_the_executed_notebook_where_one_is_published():
    name = NOTEBOOKS[0]
    source = ["as committed, without outputs"]
    CONF["read_source"](None, f"notebooks/{name}", source)
    assert source == [(CONF["EXECUTED"] / f"{name}.ipynb").read_text(encoding="utf-8")]
    source = ["a solution stays as it is"]
    CONF["read_source"](None, f"notebooks/solutions/{name}", source)
    assert source == ["a solution stays as it is"]


def test_what_the_book_needs_is_pinned_and_kept_out_of_the_lock():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    pins = dict(pin.split("==") for pin in extras["book"])
    assert {"sphinx", "myst-nb"} <= set(pins) and all(re.fullmatch(r"[\d.]+", pin) for pin in pins.values())
    lock = (ROOT / "requirements.lock").read_text().lower()
    assert not [name for name in pins if re.search(rf"^{name}==", lock, re.MULTILINE)]


@pytest.mark.parametrize(
    ("link", "fault"),
    [
        ('<a href="b.html">', None),
        ('<a href="b.html#there">', None),
        ('<a href="b.html#">', None),
        ('<a href="#here">', None),
        ('<img src="%E5%9B%BE%201.png">', None),
        ('<a href="https://example.org/gone">', None),
        ('<img src="https://example.org/badge.svg">', None),
        ('<img src="data:image/png;base64,AA">', None),
        ('<a href="c.html">', "a.html: c.html is no file of the site"),
        ('<a href="folder">', "a.html: folder is no file of the site"),
        ('<a href="b.html#nowhere">', "a.html: b.html#nowhere names no id of b.html"),
        ('<a href="#nowhere">', "a.html: #nowhere names no id of a.html"),
        ('<img src="gone.png">', "a.html: gone.png is no file of the site"),
        ('<a href="/b.html">', "a.html: /b.html breaks wherever the site is not at a host's root"),
        ('<script src="//cdn/x.js">', "a.html: <script> loads //cdn/x.js from another host"),
    ],
)
def test_the_link_check_sees(tmp_path, link, fault):
    (tmp_path / "a.html").write_text(f'<p id="here">{link}</p>', encoding="utf-8")
    (tmp_path / "b.html").write_text('<h1 id="there">b</h1>', encoding="utf-8")
    (tmp_path / "图 1.png").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    assert check(tmp_path) == ([fault] if fault else [])


def test_a_site_without_pages_is_a_fault(tmp_path):
    with pytest.raises(FileNotFoundError, match="no HTML page"):
        check(tmp_path)
