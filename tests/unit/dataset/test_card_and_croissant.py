"""The metadata of a dataset folder, read back by the libraries it is written for: ``datasets`` and
``mlcroissant``."""

import hashlib
import json
import re
import shutil
import subprocess
import sys

import datasets
import mlcroissant
import pytest
import yaml
from huggingface_hub import DatasetCard

from empathy_lib.core.coe import LAYERS
from empathy_lib.core.config import DatasetConfig
from empathy_lib.core.errors import UserError
from empathy_lib.core.files import read_json
from empathy_lib.core.schema import Item, read_jsonl
from empathy_lib.dataset import card
from empathy_lib.dataset.build import build_dataset, load_splits
from empathy_lib.dataset.card import write_card
from empathy_lib.dataset.croissant import write_croissant
from empathy_lib.dataset.split import SPLITS

SYNTHETIC = DatasetConfig(questions=40)
HEADINGS = [
    "Origin",
    "Motivation",
    "Composition",
    "Collection",
    "Cleaning",
    "Loading",
    "Uses",
    "Distribution",
    "Maintenance",
]
HEADINGS += ["Limits", "Safety"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory, psyqa_records):
    """``{"synthetic", "real"}``: a dataset folder, its figures, its configuration; the real one without
    strategy, gold and sub-topic, every other post of it a bereaved person's (level 1 of the crisis gate)."""
    root = tmp_path_factory.mktemp("datasets")
    records = [
        {**record, "question": record["question"] + "我爸爸去年自杀了。" * (number % 2)}
        for number, record in enumerate(psyqa_records[:30])
    ]
    (root / "psyqa.json").write_text(json.dumps(records), encoding="utf-8")
    made = {}
    for name, config in (("synthetic", SYNTHETIC), ("real", DatasetConfig(data=str(root / "psyqa.json")))):
        folder = root / f"{name} 数据"
        made[name] = (folder, build_dataset(config, 1, folder), config)
        (folder / "manifest.json").write_text('{"request": "x"}', encoding="utf-8")
        (folder / "rejected.jsonl").write_text(
            '{"line": 3, "field": "question", "reason": "is empty"}\n', encoding="utf-8"
        )
    return made


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """``datasets`` with a cache of its own and no network."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


def without_none(value):
    if isinstance(value, dict):
        return {key: without_none(part) for key, part in value.items() if part is not None}
    return [without_none(part) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize("kind", ["synthetic", "real"])
def test_the_cards_snippet_loads_every_item_and_nothing_else(
    folders, kind, tmp_path, monkeypatch, offline, capsys
):
    shutil.copytree(folders[kind][0], tmp_path / "my_dataset")
    monkeypatch.chdir(tmp_path)
    snippet = re.search(
        r"```python\n(.+?)```", (tmp_path / "my_dataset" / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )[1]
    names = {}
    exec(snippet, names)
    assert capsys.readouterr().out.strip() == load_splits(folders[kind][0])["train"][0].question
    assert {split: part.column_names for split, part in names["dataset"].items()} == {
        split: list(Item.model_fields) for split in SPLITS
    }
    for split, items in load_splits(folders[kind][0]).items():
        assert [Item.model_validate(without_none(row)) for row in names["dataset"][split]] == items


def test_an_absolute_path_with_spaces_loads_too(folders, offline):
    loaded = datasets.load_dataset(str(folders["real"][0]))
    assert {split: part.num_rows for split, part in loaded.items()} == {
        k: v["questions"] for k, v in folders["real"][1]["splits"].items()
    }
    assert loaded["test"].features == loaded["train"].features


@pytest.mark.parametrize("kind", ["synthetic", "real"])
def test_the_card_is_a_hub_card_and_a_datasheet(folders, kind):
    folder, figures, _ = folders[kind]
    read = DatasetCard.load(folder / "README.md")
    assert read.data.language == ["zh"] and read.data.pretty_name == card.name(figures)
    assert read.data.license == {"synthetic": "cc-by-4.0", "real": "unknown"}[kind]
    assert [part["path"] for part in read.data.to_dict()["configs"][0]["data_files"]] == [
        f"{split}.jsonl" for split in SPLITS
    ]
    assert [line.split()[1] for line in read.text.splitlines() if line.startswith("## ")] == HEADINGS
    assert str(folder.parent) not in read.content and ("Synthetic" in read.content) == (kind == "synthetic")


def test_a_card_beside_a_sample_loads_the_sample(folders, tmp_path, offline):
    folder, figures, config = folders["synthetic"]
    lines = (folder / "test.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)[:2]
    (tmp_path / "sample.jsonl").write_text("".join(lines), encoding="utf-8")
    text = write_card(tmp_path, figures, config, 1, files={"sample": "sample.jsonl"}).read_text(
        encoding="utf-8"
    )
    assert "Only a sample" in text and "rejected.jsonl" not in text
    loaded = datasets.load_dataset(str(tmp_path))
    assert list(loaded) == ["sample"] and loaded["sample"]["id"] == [
        item.id for item in read_jsonl(tmp_path / "sample.jsonl")
    ]


@pytest.mark.parametrize(
    ("licence", "front", "address"),
    [
        ("", {"license": "unknown"}, "unknown"),
        (
            "CC BY-NC-SA 4.0",
            {"license": "cc-by-nc-sa-4.0"},
            "https://creativecommons.org/licenses/by-nc-sa/4.0/",
        ),
        ("mit", {"license": "mit"}, "mit"),
        (
            "https://example.org/terms",
            {
                "license": "other",
                "license_name": "licence-of-the-source",
                "license_link": "https://example.org/terms",
            },
            "https://example.org/terms",
        ),
        (
            "PsyQA: user\n agreement",
            {"license": "other", "license_name": "psyqa-user-agreement"},
            "PsyQA: user agreement",
        ),
        ("使用协议", {"license": "other", "license_name": "licence-of-the-source"}, "使用协议"),
    ],
)
def test_the_users_licence_is_carried_into_card_and_metadata(folders, tmp_path, licence, front, address):
    folder, figures, config = folders["real"]
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    text = write_card(tmp_path, figures, config, 1, licence).read_text(encoding="utf-8")
    fields = yaml.safe_load(text.split("---\n")[1])
    assert {key: value for key, value in fields.items() if key.startswith("license")} == front
    assert f"that of the source ({card.licence_of(figures, licence)})" in text
    assert read_json(write_croissant(tmp_path, figures, config, licence))["license"] == address


def test_synthetic_data_keeps_its_own_licence(folders, tmp_path):
    folder, figures, config = folders["synthetic"]
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    assert "license: cc-by-4.0\n" in write_card(tmp_path, figures, config, 1, "mit").read_text(
        encoding="utf-8"
    )
    assert (
        read_json(write_croissant(tmp_path, figures, config, "mit"))["license"]
        == "https://creativecommons.org/licenses/by/4.0/"
    )


def test_words_follow_the_configuration(folders):
    _, figures, config = folders["synthetic"]
    held = config.model_copy(update={"held_out_causes": 2})
    assert card.held_out(figures, config) == "" == card.held_out(folders["real"][1], held)
    assert "2 causes of every topic stand in validation and test posts only" in card.held_out(figures, held)
    _, figures, config = folders["real"]
    assert "shorter than 7 characters" in card.cleaning(DatasetConfig(min_answer_chars=7))
    assert "Switched off: advertisement." in card.cleaning(DatasetConfig(rules_off=["advertisement"]))
    assert "Switched off" not in card.cleaning(config)
    assert "placeholders" in card.personal_data(figures, config)
    assert "was left in it" in card.personal_data(figures, DatasetConfig(data="x", deidentify="off"))


def item_of(record: dict) -> dict:
    """A Croissant record, which speaks in ids and bytes, as an item's fields."""
    plain = {
        key.split("/")[-1]: item_of(value)
        if isinstance(value, dict)
        else [item_of(part) for part in value]
        if isinstance(value, list)
        else value.decode()
        if isinstance(value, bytes)
        else None
        if value != value  # what pandas puts where a line has no number
        else value
        for key, value in record.items()
    }
    layers = {layer: plain.pop(layer) for layer in LAYERS if layer in plain}
    return plain | ({"coe": layers} if layers else {})


@pytest.mark.parametrize("kind", ["synthetic", "real"])
def test_croissant_is_valid_and_yields_the_rows_of_the_files(folders, kind, tmp_path):
    folder = tmp_path / "moved"
    shutil.copytree(folders[kind][0], folder)
    path = str(folder / "croissant.json")
    read = mlcroissant.Dataset(path)
    assert not read.metadata.ctx.issues.errors
    assert [line for line in read.metadata.ctx.issues.warnings if "datePublished" not in str(line)] == []
    declared = {
        field.name
        for record_set in read.metadata.record_sets
        for field in record_set.fields
        if record_set.id == "questions"
    }
    assert declared >= {"id", "question", "topic", "answers", "coe_origin", "split"} | (
        {"gold"} if kind == "synthetic" else {"source", "crisis"}
    )
    unread = {name: Item.model_fields[name].default for name in Item.model_fields if name not in declared}
    for split, items in load_splits(folder).items():
        for records in (
            [record for record in read.records("questions") if record["questions/split"] == split.encode()],
            # anew: a filter stays on
            list(mlcroissant.Dataset(path).records("questions", filters={"questions/split": split})),
        ):
            fields = [without_none(item_of(record)) for record in records]
            assert [field.pop("split") for field in fields] == [split] * len(items)
            assert [Item.model_validate(field) for field in fields] == [
                item.model_copy(update=unread) for item in items
            ]


@pytest.mark.parametrize("kind", ["synthetic", "real"])
def test_croissant_describes_the_files_and_says_what_they_are(folders, kind):
    folder, figures, config = folders[kind]
    before = (folder / "croissant.json").read_bytes()
    assert (
        write_croissant(folder, figures, config).read_bytes() == before
        and str(folder.parent).encode() not in before
    )
    described = json.loads(before)
    files = {part["@id"]: part for part in described["distribution"] if part["@type"] == "cr:FileObject"}
    assert list(files) == [f"{split}.jsonl" for split in SPLITS]
    for name, part in files.items():
        data = (folder / name).read_bytes()
        assert part["sha256"] == hashlib.sha256(data).hexdigest() and part["contentSize"] == f"{len(data)} B"
        assert part["encodingFormat"] == "application/jsonlines" and part["contentUrl"] == name
    assert "not the paper's" in described["description"] and "2509.14851" in described["citeAs"]
    assert (
        ("Synthetic" in described["description"])
        == (kind == "synthetic")
        == ("synthetic" in described["keywords"])
    )
    assert described["rai:dataUseCases"] and described["rai:personalSensitiveInformation"]


def test_a_missing_split_is_a_user_error(folders, tmp_path):
    with pytest.raises(UserError, match=r"train\.jsonl: no such file"):
        write_croissant(tmp_path, folders["real"][1], folders["real"][2])


def test_mlcroissant_is_not_imported_before_it_is_needed():
    code = "import sys, empathy_lib.dataset.croissant; sys.exit('mlcroissant' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
