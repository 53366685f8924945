"""The whole construction: files, reproducibility, both kinds of source, card and figures."""

import json
from copy import deepcopy

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
import pytest

from empathy_lib.core.config import DatasetConfig, load_profile
from empathy_lib.core.errors import UserError
from empathy_lib.core.files import read_json
from empathy_lib.core.schema import Item
from empathy_lib.core.style import use_style
from empathy_lib.dataset import figures as plots
from empathy_lib.dataset.build import build_dataset, build_folder, headline_figures, load_splits
from empathy_lib.dataset.split import SPLITS, assert_no_leakage

matplotlib.use("Agg")
use_style()
FILES = {
    "train.jsonl",
    "validation.jsonl",
    "test.jsonl",
    "statistics.json",
    "funnel.csv",
    "README.md",
    "crisis.jsonl",
    "rejected.jsonl",
    "report.json",
}
FILES |= {"set_aside.json", "croissant.json"}
SYNTHETIC = DatasetConfig(questions=60)


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic")
    return folder, build_dataset(SYNTHETIC, 1, folder)


@pytest.fixture(scope="module")
def real(tmp_path_factory, psyqa_records):
    """A PsyQA file of 40 posts in words of our own, one reply in four too short, one post about self-harm."""
    folder = tmp_path_factory.mktemp("real")
    records = deepcopy(psyqa_records)
    for record in records[::4]:
        record["answers"].append({"answer_text": "抱抱"})
    records[0]["question"] += "有时我不想活了。"
    records[1]["question"] += "我叫李明，电话13812345678。"
    (folder / "psyqa.json").write_text(json.dumps(records), encoding="utf-8")
    return folder, build_dataset(DatasetConfig(data=str(folder / "psyqa.json")), 1, folder / "out")


def test_synthetic_writes_all_files_and_reads_back(synthetic):
    folder, figures = synthetic
    assert {path.name for path in folder.iterdir()} == FILES
    splits = load_splits(folder)
    assert_no_leakage(splits, SYNTHETIC.near_duplicate_jaccard)
    items = [item for name in SPLITS for item in splits[name]]
    assert len(items) == figures["questions"] == 60
    assert sum(len(item.answers) for item in items) == figures["answers"]
    assert all(answer.coe for item in items for answer in item.answers)
    assert all(item.coe_origin == "gold" and item.gold for item in items)
    assert figures["synthetic"] and figures["annotator"] == "gold"
    assert json.loads((folder / "statistics.json").read_text(encoding="utf-8")) == figures
    assert pd.read_csv(folder / "funnel.csv").columns[0] == "rule"


def test_the_report_accounts_for_every_answer(synthetic, real):
    for folder in (synthetic[0], real[0] / "out"):
        report = read_json(folder / "report.json")
        assert report["read"] == report["kept"] + report["rejected"] + report["removed"] > report["kept"] > 0
        assert report["removed"] == sum(report["removed_by_rule"].values())
        assert report["leakage_pairs"] == 0 and report["peak_gib"] > 0 and report["construction_minutes"] > 0
    assert read_json(real[0] / "out" / "report.json")["layouts"] == {"psyqa": 40}


def test_real_posts_are_deidentified_and_synthetic_ones_are_left_alone(synthetic, real):
    found = read_json(real[0] / "out" / "report.json")["pii_by_type"]
    assert {kind: count for kind, count in found.items() if count} == {"name": 1, "phone": 1}
    written = "".join((real[0] / "out" / f"{name}.jsonl").read_text(encoding="utf-8") for name in SPLITS)
    assert "13812345678" not in written and "我叫[姓名]，电话[电话]。" in written
    assert read_json(synthetic[0] / "report.json")["pii_by_type"] is None


def test_a_folder_of_its_own_is_reused_and_nothing_else_is_overwritten(tmp_path):
    profile = load_profile("smoke", {"dataset.questions": 40})
    assert build_folder(profile, str(tmp_path / "数据 set")) == ((tmp_path / "数据 set").resolve(), False)
    assert build_folder(profile, str(tmp_path / "数据 set"))[1] is True
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(UserError, match="holds no dataset of ours"):
        build_folder(profile, str(tmp_path / "mine"))
    assert (tmp_path / "mine" / "thesis.txt").is_file()


def test_synthetic_noise_is_found(synthetic):
    _, figures = synthetic
    for kind in ("advertisement", "short", "duplicate"):
        assert figures["noise"][kind]["planted"] > 0
        assert figures["noise"][kind]["precision"] >= 0.9, kind
        assert figures["noise"][kind]["recall"] >= 0.9, kind


def test_same_seed_same_bytes_other_seed_other_bytes(synthetic, tmp_path):
    folder, _ = synthetic
    build_dataset(SYNTHETIC, 1, tmp_path / "again")
    build_dataset(SYNTHETIC, 2, tmp_path / "other")
    for name in FILES - {"report.json"}:  # it holds minutes and memory
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes(), name
    assert (tmp_path / "other" / "train.jsonl").read_bytes() != (folder / "train.jsonl").read_bytes()


def test_real_data_gets_rule_made_chains_and_no_noise_report(real, capsys):
    folder, figures = real
    items = [item for members in load_splits(folder / "out").values() for item in members]
    assert all(item.coe_origin == "rules" and item.gold is None for item in items)
    assert figures["noise"] is None
    assert not figures["synthetic"]
    assert figures["raw_answers"] - figures["answers"] == 11  # ten too short, one set aside
    assert (figures["crisis_set_aside"], figures["crisis_posts"]) == (1, 0)


def test_headline_figures(synthetic, real):
    entries = headline_figures(synthetic[1])
    assert entries["dataset.questions"]["value"] == 60
    low, high = entries["dataset.noise_recall.short"]["interval"]
    assert low < entries["dataset.noise_recall.short"]["value"] <= high
    unknown = headline_figures(real[1])
    assert unknown.keys() == entries.keys()
    assert unknown["dataset.noise_precision.advertisement"]["value"] is None


def test_cards_say_what_they_describe(synthetic, real):
    card = (synthetic[0] / "README.md").read_text(encoding="utf-8")
    for words in (
        "Synthetic, written by the project",
        "60 questions",
        "CC BY 4.0",
        "## Limits",
        "advertisement",
        "12356",
    ):
        assert words in card
    card = (real[0] / "out" / "README.md").read_text(encoding="utf-8")
    for words in ("Real data of the user", "rule-made CoE", "that of the source", "not known", "1 post(s)"):
        assert words in card
    assert "Synthetic" not in card and str(real[0]) not in card


def test_a_missing_split_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="notebook 01"):
        load_splits(tmp_path)


def test_figures_show_every_question_and_say_where_it_comes_from(synthetic, real):
    for folder, figures in ((synthetic[0], synthetic[1]), (real[0] / "out", real[1])):
        splits = load_splits(folder)
        items = [item for members in splits.values() for item in members]
        origin = plots.origin_note(figures)
        drawn = [
            plots.topics(splits, origin),
            plots.lengths(items, origin),
            plots.references(items, origin),
            plots.funnel(pd.read_csv(folder / "funnel.csv"), origin),
        ]
        kind = "Synthetic" if figures["synthetic"] else "Real data of the user"
        assert all(figure.texts[-1].get_text().startswith(kind) for figure in drawn)
        bars = lambda figure: [bar for container in figure.axes[0].containers for bar in container]  # noqa: E731
        assert sum(bar.get_width() for bar in bars(drawn[0])) == len(items)
        assert sum(bar.get_height() for bar in bars(drawn[2])) == len(items)
        plt.close("all")


def test_many_topics_are_gathered_in_one_bar():
    items = [Item(id=str(i), question="怎么办", topic=f"主题{i}", answers=[]) for i in range(50)]
    figure = plots.topics({"train": items}, "")
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(labels) == plots.MAX_TOPICS + 1 and labels[-1] == "其他 10 个主题 · others"
    assert figure.axes[0].containers[0][-1].get_width() == 10
    plt.close("all")
