import json

import numpy as np
import pytest

from empathy_lib.core.coe import ChainOfEmpathy, render
from empathy_lib.core.config import DatasetConfig
from empathy_lib.core.errors import UserError
from empathy_lib.core.paper import PAPER_FIGURES, SOURCES, paper_table
from empathy_lib.core.schema import Answer, Gold, Item
from empathy_lib.dataset.sources import read_source
from empathy_lib.metrics import scoring as m
from empathy_lib.metrics import tables
from empathy_lib.metrics.registry import METRICS, PER_EXAMPLE, SEGMENTED, registry_table
from empathy_lib.reward.kind import KindJudge
from empathy_lib.reward.marking import NO_GOLD, Marker, default_marker

MARKER = Marker(
    emotions={"焦虑": ["焦虑", "不安"], "愤怒": ["愤怒", "生气"], "孤独": ["孤独"]},
    intents={"validated": ["希望被认可"], "understood": ["希望被理解"], "advice": ["希望得到建议"]},
)
SETTINGS = m.Settings(bootstrap=100, marker=MARKER)


def gold(emotion="焦虑", cause="曾经说排不开却被冷落", intent="advice") -> Gold:
    return Gold(emotion=emotion, situation="s", cause=cause, belief="b", bias="x", intent=intent)


def chain(
    l1="他感到不安", l2="因为曾经说排不开却被冷落了", l3="希望得到建议", answer="先歇一歇，再和领导谈谈。"
) -> str:
    return render(ChainOfEmpathy(L1=l1, L2=l2, L3=l3, L4="先安慰"), answer)


def example(
    key="a", completion=None, references=("先休息一下，再和领导谈谈。", "抱抱你。"), **fields
) -> m.Example:
    fields = {"question": "加班太多了怎么办", "gold": gold()} | fields
    return m.Example(
        id=key,
        completion=chain() if completion is None else completion,
        references=list(references),
        **fields,
    )


def embed(texts: list[str]) -> np.ndarray:
    """Counts of two characters: a stand-in encoder whose cosines can be reckoned by hand."""
    return np.array([[text.count("甲"), text.count("乙")] for text in texts], dtype=float)


def test_best_and_mean_over_references():
    settings = m.Settings(
        segment="char",
        marker=MARKER,
        embed=embed,
        kind_embed=embed,
        tokens=lambda texts: [embed(list(text)) for text in texts],
    )
    row = m.per_example([example(completion="甲甲", references=["甲甲", "乙乙"])], settings).loc["a"]
    for name in ("rouge_1", "embedding", "kind_embedding", "bert_score"):
        assert (row[name], row[f"{name}_mean"]) == (1.0, 0.5)


# --- the answer is what is scored
# ------------------------------------------------------------------------------------


def test_only_the_answer_counts_for_text_metrics():
    frame = m.per_example(
        [example("a", chain(answer="抱抱你。")), example("b", "抱抱你。", coe_expected=False)], SETTINGS
    )
    text_metrics = ["rouge_1", "rouge_2", "rouge_l", "length", "copy_rate"]
    assert (
        frame.loc["a", text_metrics].equals(frame.loc["b", text_metrics].rename("a"))
        or (frame.loc["a", text_metrics].to_numpy() == frame.loc["b", text_metrics].to_numpy()).all()
    )
    assert frame.loc["a", "length"] == 4


def test_the_registry_says_where_each_interval_comes_from():
    shown = registry_table(versions=False)["interval"]
    assert (
        shown["cause"] == "Wilson over posts"
        and shown["rouge_1"] == shown["bleu_4"] == "bootstrap over posts"
    )
    assert shown["distinct_2"] == shown["self_bleu"] == "jackknife over answers"
    for name in ("L1", "cause", "bias", "belief", "L3", "gist_recall"):
        metric = METRICS[name]
        assert (metric.direction, metric.range, metric.aggregation) == ("higher", "0 to 1", "share")


def test_what_cannot_be_had_is_missing_and_not_zero():
    frame = m.per_example(
        [
            example("plain", "抱抱你。", coe_expected=False),
            example("no gold", gold=None),
            example("no reference", references=()),
        ],
        SETTINGS,
    )
    assert frame.loc["plain", ["well_formed", "L1", "cause", "L3"]].isna().all()
    assert (
        frame.loc["no gold", ["L1", "cause", "L3"]].isna().all()
        and frame.loc["no gold", "well_formed"] == 1.0
    )
    assert frame.loc["no reference", ["rouge_1", "rouge_l_mean"]].isna().all()
    assert frame[["embedding", "bert_score", "r_answer"]].isna().all(axis=None)
    assert frame.loc["plain", ["grounding_emotion", "grounding_cause"]].isna().all()
    table = m.score_table({"sft_no_coe": [example("plain", "抱抱你。", coe_expected=False)]}, SETTINGS)
    assert tables.wide_table(table, ["L1"]).loc["sft_no_coe", "L1"] == "not available"
    entry = {"value": None, "interval": None, "n": 0, "unit": "share"}
    assert tables.headline_entry(table, "sft_no_coe", "L1") == entry | {"reason": "no chain was asked for"}
    real = m.score_table({"sft": [example("real", gold=None)]}, SETTINGS)
    assert tables.headline_entry(real, "sft", "L1") == entry | {"reason": NO_GOLD}


def test_reward_sees_question_and_answer():
    seen = []

    def reward(questions, answers):
        seen.extend(zip(questions, answers, strict=True))
        return np.array([0.25])

    frame = m.per_example([example()], m.Settings(marker=MARKER, reward=reward))
    assert seen == [("加班太多了怎么办", "先歇一歇，再和领导谈谈。")]
    assert frame.loc["a", "r_answer"] == 0.25 and np.isnan(frame.loc["a", "kind_judge"])
    frame = m.per_example([example()], m.Settings(marker=MARKER, kind=reward))
    assert seen[1:] == seen[:1] and frame.loc["a", "kind_judge"] == 0.25


def test_a_judge_that_is_not_available_leaves_no_zeros():
    nothing = KindJudge(None, "no wheel")
    settings = m.Settings(marker=MARKER, bootstrap=20, kind=nothing.score, kind_embed=nothing.embed)
    examples = [example("a"), example("b", "", references=["一", "二"])]
    frame = m.per_example(examples, settings)
    for name in ("kind_judge", "kind_embedding", "kind_embedding_mean"):
        assert frame[name].isna().all()
        assert m.score_system(examples, settings, frame, [name])[name].n == 0


def test_an_empty_completion_scores_zero_everywhere():
    settings = m.Settings(
        marker=MARKER,
        embed=embed,
        kind_embed=embed,
        tokens=lambda texts: [embed(list(text)).reshape(-1, 2) for text in texts],
    )
    row = m.per_example([example(completion="")], settings).loc["a"]
    unknown = ["cause_subtopic", "belief_subtopic", "bias"]  # of labels that are in no library
    assert row[["cause_subtopic", "belief_subtopic"]].isna().all()
    assert (row.drop(["r_answer", "cosine", "kind_judge", "fluency", *unknown]) == 0).all()
    scores = m.score_system([example(completion="")], settings)
    assert all(scores[name].value == 0.0 for name in m.SUMMED)


# --- systems, references, tables
# -------------------------------------------------------------------------------------


def items(n=6) -> list[Item]:
    answers = [
        Answer(text=f"回答{k}", coe=ChainOfEmpathy(L1="不安", L2="冷落", L3="希望得到建议", L4="安慰"))
        for k in range(3)
    ]
    return [Item(id=f"q{k}", question=f"问题{k}", answers=answers, gold=gold()) for k in range(n)]


def test_items_and_completions_must_pair_up():
    assert m.examples_of(items(1), ["好"], coe_expected=False)[0].references == ["回答0", "回答1", "回答2"]
    with pytest.raises(UserError, match="2 completions for 1 questions"):
        m.examples_of(items(1), ["好", "好"])


def test_reference_note_warns_of_single_references():
    assert "not comparable" in m.reference_note([example(references=["一"])])
    assert m.reference_note([example(), example(references=["一"])]).startswith(
        "1 to 2 references a question, 1.5"
    )


def test_every_registered_metric_is_scored_and_a_perfect_system_wins():
    good = [example(f"q{k}", chain(answer="先休息一下，再和领导谈谈。")) for k in range(5)]
    bad = [example(f"q{k}", "加班太多了怎么办" * 2) for k in range(5)]
    vectors = lambda texts: list(np.eye(len(texts))[:, None])  # noqa: E731
    settings = m.Settings(
        bootstrap=50,
        marker=MARKER,
        embed=lambda texts: np.eye(len(texts)),
        tokens=vectors,
        reward=lambda q, a: np.ones(len(q)),
    )
    table = m.score_table({"grpo": good, "base": bad}, settings)
    assert table.groupby("system")["metric"].apply(list).map(lambda names: names == list(METRICS)).all()
    values = table.pivot(index="metric", columns="system", values="value")
    better = (
        "rouge_1 rouge_l_mean bleu_1 bleu_4 chrf sacrebleu_zh embedding bert_score well_formed L1 cause L3"
    )
    for name in better.split():
        assert values.loc[name, "grpo"] > values.loc[name, "base"], name
    assert values.loc["rouge_1", "grpo"] == 1.0 and values.loc["bleu_4", "grpo"] == pytest.approx(100)
    assert values.loc["copy_rate", "base"] == pytest.approx(2 / 9) and values.loc["copy_rate", "grpo"] == 0.0
    json.dumps(tables.headline_entry(table, "grpo", "bleu_4"), allow_nan=False)
    assert tables.headline_entry(table, "grpo", "bleu_4")["unit"] == "BLEU"
    with pytest.raises(UserError, match="no score of system 'gpt'"):
        tables.headline_entry(table, "gpt", "bleu_4")


def test_scores_are_the_same_again_and_frames_may_be_passed_in():
    examples = [
        example(f"q{k}", answer) for k, answer in enumerate(["抱抱你。", "和领导谈谈。", "先休息一下"])
    ]
    first = m.score_system(examples, SETTINGS)
    assert tables.wide_table(m.score_table({"sft": examples}, SETTINGS), ["rouge_1"]).equals(
        tables.wide_table(
            m.score_table({"sft": examples}, SETTINGS, {"sft": m.per_example(examples, SETTINGS)}),
            ["rouge_1"],
        )
    )
    assert first["rouge_1"] == m.score_system(examples, SETTINGS)["rouge_1"]


def test_compare_pairs_by_id_and_corrects_over_the_table():
    good = [example(f"q{k}", "先休息一下，再和领导谈谈。") for k in range(8)]
    bad = [example(f"q{k}", "今天天气不错") for k in reversed(range(1, 9))]
    frames = {"grpo": m.per_example(good, SETTINGS), "sft": m.per_example(bad, SETTINGS)}
    table = m.compare(frames, [("grpo", "sft")], ["rouge_1", "copy_rate"], seed=1, resamples=999).set_index(
        "metric"
    )
    assert (table["n"] == 7).all()
    assert table.loc["rouge_1", "difference"] > 0.5 and table.loc["rouge_1", "p"] == pytest.approx(2 / 2**7)
    assert table.loc["rouge_1", "p_holm"] == pytest.approx(2 * table.loc["rouge_1", "p"])
    assert table.loc["copy_rate", "p_holm"] == 1.0


def test_corpus_scores_are_compared_too_and_corrected_together():
    good = [example(f"q{k}", "先休息一下，再和领导谈谈。") for k in range(8)]
    bad = [example(f"q{k}", "先歇一歇，和领导说说。") for k in range(8)]
    systems = {
        "grpo": [*good, example("alone", "好", references=())],
        "sft": [*reversed(bad), example("alone", "好", references=())],
    }
    frames = {name: m.per_example(examples, SETTINGS) for name, examples in systems.items()}
    names = ["rouge_1", *m.SUMMED]
    table = m.compare(frames, [("grpo", "sft")], names, seed=1, resamples=999, systems=systems).set_index(
        "metric"
    )
    scores = {name: m.score_system(examples, SETTINGS) for name, examples in systems.items()}
    for name in m.SUMMED:
        assert table.loc[name, "difference"] == pytest.approx(
            scores["grpo"][name].value - scores["sft"][name].value
        ), name
    for without, name in ((None, "bleu_4"), (systems, "distinct_2")):
        with pytest.raises(UserError, match=f"'{name}' cannot be tested"):
            m.compare(frames, [("grpo", "sft")], [name], seed=1, systems=without)
    assert (table["n"] == 8).all() and (table["p"] < 0.02).all() and (table["p_holm"] >= table["p"]).all()


def test_both_segmentations_stand_side_by_side():
    systems = {
        "sft": [
            example(f"q{k}", answer)
            for k, answer in enumerate(["抱抱你。", "先休息，再和领导谈谈。", "歇一歇"])
        ]
    }
    table = m.score_table(systems, SETTINGS)
    both = m.by_segment(systems, SETTINGS, table).set_index(["segment", "metric"])
    assert set(both.index) == {(unit, name) for unit in ("word", "char") for name in SEGMENTED}
    characters = m.score_system(systems["sft"], m.Settings(segment="char", bootstrap=100, marker=MARKER))
    for name in SEGMENTED:
        assert both.loc[("char", name), "value"] == characters[name].value
        assert both.loc[("word", name), "value"] == table.set_index("metric").loc[name, "value"]
    assert both.loc[("char", "rouge_1"), "value"] != both.loc[("word", "rouge_1"), "value"]
    assert both.loc[("char", "bleu_4"), "value"] == pytest.approx(characters["sacrebleu_zh"].value)


def test_registry_names_a_version_for_every_metric():
    assert registry_table()["version"].str.len().gt(0).all()
    assert set(m.SUMMED) | {"self_bleu", "distinct_1", "distinct_2", "distinct_3"} == set(METRICS) - set(
        PER_EXAMPLE
    )
    assert "version" not in registry_table(versions=False)
    assert list(registry_table().index) == list(METRICS) and set(PER_EXAMPLE) < set(METRICS)


def test_paper_figures_name_their_source():
    assert {figure.source for figure in PAPER_FIGURES} <= set(SOURCES)
    rouge = paper_table("rouge").set_index("system")
    assert rouge.loc["sft_no_coe", "value"] > rouge.loc["sft", "value"]
    assert rouge["source"].str.startswith("S: second-hand").all()
    with pytest.raises(KeyError):
        paper_table("bleu")


def test_gold_chains_of_synthetic_posts_are_marked_right():
    synthetic = read_source(DatasetConfig(questions=60), seed=3).items
    chains = [
        (render(answer.coe, answer.text), item.gold)
        for item in synthetic
        for answer in item.answers
        if answer.coe and item.gold
    ]
    marks = [default_marker().mark(text, label) for text, label in chains]
    assert len(marks) > 60 and all(value == 1.0 for mark in marks for value in mark.values())
