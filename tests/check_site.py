"""Does every link in a built site lead somewhere? ``python tests/check_site.py site``: each relative ``href``
and ``src`` is a file there, each ``#anchor`` an id of that page. Links to other hosts are not fetched.
Nothing a page needs may come from one, so that it works without the internet; a badge may."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

NEVER_MISSING = {"", "top"}  # the top of the page, by definition


class Page(HTMLParser):
    """The links and the ids of one page."""

    def __init__(self, path: Path):
        super().__init__()
        self.links: list[tuple[str, str]] = []  # tag and target
        self.ids: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value is not None:
                self.links.append((tag, value))
            elif value and (name == "id" or (tag, name) == ("a", "name")):
                self.ids.add(value)


def check(site: Path) -> list[str]:
    """One line for each broken link: page, target and what is wrong. FileNotFoundError: no pages."""
    files = sorted(site.rglob("*.html"))
    # what stands under _static are the theme's templates
    pages = {path.resolve(): Page(path) for path in files if "_static" not in path.relative_to(site).parts}
    if not pages:
        raise FileNotFoundError(f"{site}: no HTML page")
    faults = []
    for path, page in pages.items():
        where = path.relative_to(site.resolve()).as_posix()
        for tag, link in page.links:
            parts = urlsplit(link)
            if parts.scheme == "data":
                continue
            if parts.scheme or parts.netloc:
                if tag not in ("a", "img"):
                    faults.append(f"{where}: <{tag}> loads {link} from another host")
                continue
            if parts.path.startswith("/"):
                faults.append(f"{where}: {link} breaks wherever the site is not at a host's root")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                faults.append(f"{where}: {link} is no file of the site")
            elif target in pages and unquote(parts.fragment) not in pages[target].ids | NEVER_MISSING:
                faults.append(f"{where}: {link} names no id of {target.name}")
    return faults


def main() -> None:
    faults = check(Path(sys.argv[1]))
    print("\n".join(faults), file=sys.stderr, end="\n" if faults else "")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
