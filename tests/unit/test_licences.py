"""The bill of materials names what is locked, and the page of licences what the bill says."""

import json
import re
import sys
from importlib import metadata

import pytest

from empathy_lib.core.run import ROOT

sys.path.append(str(ROOT / "tests"))
import audit

BILL = json.loads((ROOT / "docs" / "sbom.cdx.json").read_text(encoding="utf-8"))
PAGE = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_locked_package_is_in_the_bill():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    locked = {plain(name): version for name, _, version in (line.partition("==") for line in lock) if version}
    found = {plain(c["name"]): c["version"] for c in BILL["components"] if c["type"] == "library"}
    # pip, and what comes with an environment, is in no lock
    assert locked.items() <= found.items(), "run: make audit"
    assert set(found) - set(locked) <= {"pip", "setuptools", "wheel"}


def test_weights_stand_there_with_the_hashes_that_are_checked():
    found = {c["name"]: c for c in BILL["components"] if c["type"] != "library"}
    assert found == {c["name"]: c for c in audit.weights_and_texts()}
    hashed = [c for c in found.values() if c["type"] == "machine-learning-model"]
    assert len(hashed) == 5 and all(len(c["hashes"][0]["content"]) == 64 for c in hashed)


def test_the_page_says_what_the_bill_says():
    assert PAGE.split(audit.BEGIN)[1].split(audit.END)[0].strip() == audit.page(BILL).strip()
    assert "krippendorff" in PAGE.split("GPL or MPL")[1].split("\n")[0]


@pytest.mark.parametrize("text", [json.dumps(BILL), PAGE], ids=["bill", "page"])
def test_no_address_of_an_index_or_machine(text):
    assert "externalReferences" not in text and not re.search("file://|/(root|home|tmp)/", text)


def test_a_local_build_is_the_package_and_its_own_words_stand_in_for_a_licence():
    name, version = "transformers", metadata.version("transformers")
    local = f"{name}=={version}+cpu"
    component = {
        "type": "library",
        "name": name,
        "version": f"{version}+cpu",
        "bom-ref": local,
        "licenses": [],
    }
    component |= {"purl": f"pkg:pypi/{name}@{version}%2Bcpu", "licenses": []}
    made = audit.bill({"components": [component], "dependencies": [{"ref": "root", "dependsOn": [local]}]})
    found = made["components"][0]
    assert found["version"] == version and found["purl"].endswith(f"@{version}")
    assert made["dependencies"][0]["dependsOn"] == [f"{name}=={version}"]
    assert "Apache" in found["licenses"][0]["license"]["name"]  # its metadata's free text
