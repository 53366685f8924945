"""Sphinx's settings: one static site of README, executed notebooks and docs. ``make book`` runs no cell.

Knows: which pages there are, in which order. Does not know: what stands in them.
"""

import hashlib
import shutil
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXECUTED = ROOT / "notebooks" / "executed" / "laptop"
NAMES = sorted(path.stem for path in (ROOT / "notebooks").glob("0*.ipynb"))
DOCS = (
    "course",
    "results",
    "limits",
    "glossary",
    "own-data",
    "export",
    "chat",
    "study",
    "cost",
    "scale",
    "repeat",
    "security",
    "licences",
    "deidentification",
    "map",
)
# The order of the side bar; the opening page is README.md. A test compares it with the files.
PAGES = {
    "Notebooks": [f"notebooks/{name}" for name in NAMES],
    "Docs": [f"docs/{name}" for name in DOCS],
    "Solutions": [f"notebooks/solutions/{name}" for name in NAMES],
    "中文": ["README.zh-CN"],
}

project = "Empathy-R1, reproduced"
html_title = project
root_doc = "README"
include_patterns = ["README.md", *(f"{page}.*" for pages in PAGES.values() for page in pages)]
exclude_patterns = [".*", "runs", "site", "empathy_lib", "tests", "data", "**.pdf"]  # not even walked through
extensions = ["myst_nb"]
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 4  # links such as limits.md#heading, as on GitHub
nb_execution_mode = "off"
nb_merge_streams = True
html_theme = "sphinx_book_theme"
html_theme_options = {
    "home_page_in_toc": True,
    "show_toc_level": 2,
    "use_download_button": False,
    "navbar_persistent": [],  # one search field, in the side bar
}
html_context = {"default_mode": "auto"}  # light or dark as the reader's system is
html_static_path = ["static"]
html_css_files = ["book.css"]
html_js_files = ["mermaid.min.js", "book.js"]
html_math_renderer = "mathml"
html_copy_source = html_use_index = False

# mermaidx is not imported: its wheel holds npm's mermaid 11.16.0, so diagrams are drawn without the internet
MERMAID_SHA256 = "74d7c46dabca328c2294733910a8aa1ed0c37451776e8d5295da38a2b758fb9b"


def read_source(app, docname, source):
    """A notebook's page is its executed copy, where there is one; README.md gets the table of contents."""
    executed = EXECUTED / f"{docname.removeprefix('notebooks/')}.ipynb"
    if executed.is_file():
        source[0] = executed.read_text(encoding="utf-8").replace("](../../", "](")  # as from the page's place
    if docname == root_doc:
        for caption, pages in PAGES.items():
            lines = "\n".join(pages)
            source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{lines}\n```\n"


def link_folders(app, doctree):
    """A link to a folder, which GitHub lists, goes to the first page of that folder."""
    from sphinx.addnodes import pending_xref

    for node in doctree.findall(pending_xref):
        folder = ((ROOT / node["refdoc"]).parent / node["reftarget"]).resolve()
        if node.get("refdomain") is None and folder.is_dir() and not node.get("reflocalid"):
            folder = ROOT / "notebooks" if folder == EXECUTED else folder
            inside = [page for pages in PAGES.values() for page in pages if (ROOT / page).parent == folder]
            if inside:  # else Sphinx says which link leads nowhere
                node["refdomain"], node["reftarget"], node["reftargetid"] = "doc", inside[0], None


def math(display):
    """MathML, which browsers draw themselves: no script."""

    def visit(self, node):
        from docutils.nodes import SkipNode
        from latex2mathml.converter import convert

        self.body.append(convert(node.astext(), display=display))
        raise SkipNode

    return visit, None


def finish(app, error):
    """What raw HTML in pages refers to, the script for the diagrams, and the name that servers open."""
    if error:
        return
    site = Path(app.outdir)
    shutil.copytree(ROOT / "figures", site / "figures", ignore=shutil.ignore_patterns("*.pdf"))
    script = Path(find_spec("mermaidx").submodule_search_locations[0]) / "assets" / "mermaid.js"
    if hashlib.sha256(script.read_bytes()).hexdigest() != MERMAID_SHA256:
        raise RuntimeError(
            f"{script} is not mermaid 11.16.0: install the versions of pyproject.toml's extra [book]"
        )
    shutil.copyfile(script, site / "_static" / "mermaid.min.js")
    shutil.copyfile(site / "README.html", site / "index.html")


def setup(app):
    app.connect("source-read", read_source)
    app.connect("doctree-read", link_folders)
    app.connect("build-finished", finish)
    app.add_html_math_renderer("mathml", inline_renderers=math("inline"), block_renderers=math("block"))
    # pygments knows no mermaid; book.js draws the diagram in the block's place
    from pygments.lexers import TextLexer

    app.add_lexer("mermaid", TextLexer)
