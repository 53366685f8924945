"""What a reader changes in a cell changes the result, and cells may be run twice and in another order."""

import json
import runpy

import e5_file
import matplotlib.pyplot as plt
import pandas as pd
import pytest

from empathy_lib.core import style
from empathy_lib.core.run import NOTEBOOKS, ROOT, Run
from empathy_lib.core.schema import read_jsonl
from empathy_lib.core.variant import copy_run
from notebooks import TINY, Kernel, cells_of, edited, legal_shuffle

NUMBERS = [name[:2] for name in NOTEBOOKS]


@pytest.fixture(scope="module")
def overrides(hub_folder):
    return {"base_model.source": str(hub_folder), **TINY}


@pytest.fixture(scope="module")
def finished(overrides, tmp_path_factory):
    """All six notebooks, run once; and what each wrote below its figures. No figure is drawn to a file."""
    patch = pytest.MonkeyPatch()
    patch.setenv("EMPATHY_CACHE", str(tmp_path_factory.mktemp("cache")))
    patch.setattr(style, "save", lambda figure, run, name: plt.close(figure))
    e5_file.install(patch, tmp_path_factory.mktemp("e5"))
    folder, captions = tmp_path_factory.mktemp("runs") / "whole", {}
    for number in NUMBERS:
        captions[number] = captions_of(Kernel(folder, overrides).run(cells_of(number)))
    yield Run.open("smoke", str(folder), overrides), captions
    patch.undo()


def captions_of(kernel):
    """The sentences that a notebook builds its captions from, by name."""
    return {key: kernel.names.get(key) for key in ("note", "about", "drawn", "answered")}


@pytest.fixture
def variant(finished, tmp_path):
    """A copy of the finished run, to be changed."""
    copy_run(finished[0].path, tmp_path / "变 体")
    return Run(finished[0].profile, tmp_path / "变 体")


def requests(run):
    return {stage: run.manifest(stage)["request"] for stage in run.stages()}


def figures(run):
    """The headline but for what it cost."""
    headline = json.loads((run.path / "headline.json").read_text(encoding="utf-8"))
    return {key: entry for key, entry in headline.items() if not key.startswith(("wall_", "peak_"))}


def test_a_run_leaves_every_headline_figure_that_readers_are_promised(finished):
    promised = runpy.run_path(str(ROOT / "tests" / "check_run.py"))["promised"]()
    headline = json.loads((finished[0].path / "headline.json").read_text(encoding="utf-8"))
    assert promised <= headline.keys()
    by_kind = headline["grpo.kind_judge_minus_best_of_2"]
    assert by_kind["value"] is not None and by_kind["seeds"] == 1 and "reason" not in by_kind


CLEAN = "cleaned, funnel = cleaning.clean(raw, dataset_config)\n"
TRAIN = 'build("03_reward", train,'
REWARD = "reward = AnswerReward.from_config(judge, run.profile.grpo)\nitem"
PAIRS, TABLES, RATINGS = (
    'request = {"base_model"',
    'content |= {"metrics"',
    "simulated = is_simulated(ratings)",
)
MY_REWARD = """
class Short(AnswerReward):
    def rate(self, questions, answers):
        return np.array([-len(answer) / 100 for answer in answers])


reward = Short(judge)
item"""
# Notebook, what a student puts beside or in the place of what stands in a cell, the stages that this changes.
EDITS = [
    ("01", CLEAN, CLEAN + "cleaned = list(cleaned)[:-9]\n", {"01_dataset"}),
    ("02", PAIRS, "pairs['coe'] = pairs['coe'][:4]\n" + PAIRS, {"02_sft", "completions/sft"}),
    ("03", TRAIN, "train = [t for t in train if 'copy' not in t['kind']][:9]\n" + TRAIN, {"03_reward"}),
    ("04", REWARD, MY_REWARD, {"04_grpo", "completions/grpo"}),
    (
        "05",
        TABLES,
        "content['references'] = content['references'][:-1]\n" + TABLES,
        {"05_metrics"},
    ),
    (
        "06",
        RATINGS,
        "ratings = ratings[ratings['rater'] != ratings['rater'][0]]\n" + RATINGS,
        {"06_human_eval"},
    ),
]


@pytest.mark.parametrize(("number", "old", "new", "changed"), EDITS, ids=NUMBERS)
def test_an_edited_cell_changes_the_artefact(variant, overrides, number, old, new, changed):
    before = requests(variant)
    kernel = Kernel(variant.path, overrides).run(edited(cells_of(number), old, new))
    after = requests(variant)
    assert {stage for stage in before if after[stage] != before[stage]} >= changed
    assert number != "03" or "trained on 9 triplets" in kernel.names["about"], (
        "a caption says what was trained"
    )


def test_a_reworded_post_reaches_the_training_file_and_what_is_built_on_it(variant, overrides):
    new = CLEAN + "cleaned = list(cleaned)\nfor each in cleaned:\n    each.question += '请帮帮我吧。'\n"
    Kernel(variant.path, overrides).run(edited(cells_of("01"), CLEAN, new))
    items = read_jsonl(variant.stage("01_dataset") / "train.jsonl")
    assert items and all(item.question.endswith("请帮帮我吧。") for item in items)
    before = variant.manifest("02_sft")["identity"]
    Kernel(variant.path, overrides).run(cells_of("02"))
    assert variant.manifest("02_sft")["identity"] != before


def test_the_comparisons_that_have_every_seed_are_tested_over_them(variant, overrides):
    asked = {"grpo.seeds": 2, "grpo.every_seed": ["chain", "no_coe"]}
    Kernel(variant.path, overrides | asked).run(cells_of("04"))
    stages, headline = variant.stages(), figures(variant)
    assert {"04_grpo_chain", "04_grpo_chain_seed2", "04_grpo_seed2", "04_grpo_no_coe_seed2"} <= set(stages)
    assert "04_grpo_more_sft_seed2" not in stages
    for key in ("grpo_chain.kind_judge_minus_sft", "grpo_no_coe.r_answer_minus_best_of_2"):
        assert headline[key]["n"] == 4 and headline[key]["seeds"] == 2
    assert headline["grpo_no_coe.well_formed_minus_grpo"]["value"] is None, "it was asked for no chain"
    assert headline["ablation.copy_rate.grpo_more_sft"]["n"] == 4
    assert variant.manifest("04_grpo_chain_seed2")["config"]["grpo"]["chain_reward"]
    for label in ("cause", "bias", "belief", "L1", "L3"):
        entry = headline[f"coe_accuracy.grpo_chain.{label}"]
        assert 0 <= entry["value"] <= 1 and entry["n"] == 4 and entry["seeds"] == 2
    assert headline["grpo_chain.cause_minus_grpo"]["n"] == 4
    Kernel(variant.path, overrides | {"grpo.comparisons": []}).run(cells_of("04"))
    entry = figures(variant)["coe_accuracy.grpo_chain.cause"]
    assert entry["value"] is None and "not asked for" in entry["reason"]


def test_the_sweep_of_penalties_reads_a_finished_run_and_leaves_it_as_it_was(variant, overrides, capsys):
    sweep = runpy.run_path(str(ROOT / "tests" / "benchmarks" / "sweep_penalty.py"))
    before = requests(variant), figures(variant)
    words = [str(variant.path), "--profile", "smoke", "--posts", "2", "--penalties", "1.0", "1.5"]
    words += [word for key, value in overrides.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    sweep["main"](words)
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["posts"] == 2 and found["chosen"] == 1.0, "equal shares: the least penalty"
    assert set(found["grpo"]) == set(found["sft"]) == {"1.0", "1.5"}
    assert (requests(variant), figures(variant)) == before
    a, b = {1.0: 0.5, 1.2: 0.9, 1.5: 0.91}, {1.0: 0.8, 1.2: 0.8, 1.5: 0.7}
    shares = pd.DataFrame({"a": a, "b": b}).T.stack().rename_axis(["system", "penalty"])
    assert sweep["chosen"](shares.to_frame("well-formed")) == 1.2


@pytest.mark.parametrize("number", NUMBERS)
def test_cells_may_be_run_twice_and_in_another_legal_order(finished, variant, overrides, number, capsys):
    whole, captions = figures(variant), finished[1][number]
    twice = [copy for cell in cells_of(number) for copy in (cell, cell)]
    assert captions_of(Kernel(variant.path, overrides).run(twice)) == captions, "a caption grew"
    assert figures(variant) == whole
    shuffled = legal_shuffle(cells_of(number), seed=1)
    assert captions_of(Kernel(variant.path, overrides).run(shuffled)) == captions
    assert figures(variant) == whole
    said = capsys.readouterr().out
    assert ": reused, as built" in said and ": built in" not in said, "nothing was changed"
