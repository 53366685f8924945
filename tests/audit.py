"""What a reader gets with this repository, and under which licence: packages, weights, texts.

``make audit`` has CycloneDX's own tool list the installed packages and calls this:

    .venv/bin/python tests/audit.py bom.json docs/sbom.cdx.json docs/licences.md

It adds weights (with the SHA-256 that the library checks) and texts, which no package tool knows, leaves
out addresses, and writes the list of licences from the result. Where a package declares its licence in
words of its own only, these are given.
"""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from empathy_lib import __version__
from empathy_lib.core.files import write_json, write_text
from empathy_lib.models import crisis, e5, use, wheel

BEGIN, END = "<!-- licences:begin -->", "<!-- licences:end -->"
COPYLEFT = ("GPL", "MPL")  # what asks something of those who pass the code on
_PREFIX = "License :: OSI Approved :: "


def licence_of(component: dict[str, Any]) -> str:
    """What a package declares: an SPDX expression, else its classifier, else its own words."""
    declared = [
        each.get("expression") or each["license"].get("id") or each["license"].get("name", "")
        for each in component.get("licenses", ())
    ]
    spdx = sorted({text for text in declared if text and not text.startswith(_PREFIX)})
    named = sorted({text.removeprefix(_PREFIX) for text in declared if text.startswith(_PREFIX)})
    try:
        words = (metadata.metadata(component["name"]).get("License") or "").strip().split("\n")[0]
    except metadata.PackageNotFoundError:
        words = ""
    return " and ".join(spdx or named) or words or "none declared"


def weights_and_texts() -> list[dict[str, Any]]:
    """Components that are no package: weights by their hash, and the project's texts."""

    def part(name: str, kind: str, version: str, licence: str, sha256: str = "") -> dict[str, Any]:
        made = {"type": kind, "bom-ref": name, "name": name, "version": version}
        if sha256:
            made["hashes"] = [{"alg": "SHA-256", "content": sha256}]
        return made | {"licenses": [{"license": {"name": licence}}]}

    model, data = "machine-learning-model", "data"
    return [
        part("gemma-3-270m, 4 bits", model, wheel.VERSION, "Gemma Terms of Use", wheel.GGUF_SHA256),
        part("multilingual-e5-small, 4 bits", model, e5.VERSION, "MIT", e5.SHA256),
        *(
            part(f"USE multilingual v3, {file}", model, use.VERSION, "Apache-2.0", sha256)
            for file, sha256 in use.SHA256.items()
        ),
        part("crisis classifier", model, __version__, "Apache-2.0", crisis.SHA256),
        part("data/", data, __version__, "CC-BY-4.0"),
    ]


def without_addresses(value: Any) -> Any:
    """The same JSON without web addresses, which say where a package lies and not what it is."""
    if isinstance(value, dict):
        return {key: without_addresses(part) for key, part in value.items() if key != "externalReferences"}
    return [without_addresses(part) for part in value] if isinstance(value, list) else value


def bill(found: dict[str, Any]) -> dict[str, Any]:
    """The bill of materials: packages with the licence they declare, then weights and texts."""
    found = without_addresses(found)
    for component in found["components"]:
        # the local build of a package is the package
        for key in ("version", "purl", "bom-ref"):
            if key in component:
                component[key] = component[key].split("+")[0].split("%2B")[0]
        component["licenses"] = [{"license": {"name": licence_of(component)}}]
        component.pop("properties", None)
    found["components"] = sorted(found["components"], key=lambda each: each["name"].lower())
    for dependency in found["dependencies"]:
        dependency["ref"] = dependency["ref"].split("+")[0]
        if "dependsOn" in dependency:
            dependency["dependsOn"] = sorted(ref.split("+")[0] for ref in dependency["dependsOn"])
    found["components"] += weights_and_texts()
    return found


def page(found: dict[str, Any]) -> str:
    """Licences in Markdown: weights and texts, what asks something of who passes it on, then all packages."""
    kinds: dict[str, list[str]] = {}
    for component in found["components"]:
        if component["type"] == "library":
            licence = component["licenses"][0]["license"]["name"]
            kinds.setdefault(licence, []).append(f"{component['name']} {component['version']}")
    others = [each for each in found["components"] if each["type"] != "library"]
    asks = sorted(name for kind in kinds for name in kinds[kind] if any(word in kind for word in COPYLEFT))
    packages = sum(map(len, kinds.values()))
    lines = ["| Weights and texts | Licence | SHA-256 |", "|---|---|---|"]
    for each in others:
        sha256 = each.get("hashes", [{"content": ""}])[0]["content"]
        name = each["licenses"][0]["license"]["name"]
        lines.append(f"| {each['name']} | {name} | {f'`{sha256[:16]}…`' if sha256 else ''} |")
    lines += ["", f"{packages} packages. Under a licence of the GPL or MPL families: {', '.join(asks)}.", ""]
    lines += ["| Licence, as declared | Packages |", "|---|---|"]
    lines += [
        f"| {kind} | {', '.join(kinds[kind])} |" for kind in sorted(kinds, key=lambda k: -len(kinds[k]))
    ]
    return "\n".join(lines)


def main(source: str, target: str, text: str) -> None:
    """Write both files."""
    found = bill(json.loads(Path(source).read_text(encoding="utf-8")))
    write_json(Path(target), found)
    old = Path(text).read_text(encoding="utf-8")
    head, tail = old.split(BEGIN)[0], old.split(END)[1]
    write_text(Path(text), f"{head}{BEGIN}\n{page(found)}\n{END}{tail}")


if __name__ == "__main__":
    main(*sys.argv[1:])
