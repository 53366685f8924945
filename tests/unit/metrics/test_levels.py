"""The human level and the answer of the kind."""

import numpy as np

from empathy_lib.core.coe import ChainOfEmpathy
from empathy_lib.core.run import generator
from empathy_lib.core.schema import Answer, Item
from empathy_lib.metrics.levels import answers_of_the_kind, human_level
from empathy_lib.metrics.scoring import Settings, examples_of, per_example

CHAIN = ChainOfEmpathy(L1="不安", L2="冷落", L3="希望得到建议", L4="安慰")


def item(name, topic="", subtopic="", answers=3):
    texts = [Answer(text=f"{name}的回答{k}", coe=CHAIN) for k in range(answers)]
    return Item(id=name, question=f"问题{name}", topic=topic, subtopic=subtopic, answers=texts)


def test_everybody_is_scored_on_the_references_that_the_human_level_is_scored_on():
    items = [item(f"q{k}") for k in range(6)]
    human, scored_on = human_level(items, generator(1, "reference"))
    systems = examples_of(scored_on, ["听你说"] * 6)
    for whole, one, other in zip(items, human, systems, strict=True):
        assert one.references == other.references and len(one.references) == 2 and one.coe_expected
        assert one.answer not in one.references and {one.answer, *one.references} == set(whole.references)
    assert human_level(items, generator(1, "reference")) == (human, scored_on)
    assert len({example.answer[-1] for example in human}) > 1, "not always the first"
    assert all(len(whole.answers) == 3 for whole in items), "the items given stay as they are"


def test_a_single_reference_is_left_to_the_systems():
    human, scored_on = human_level([item("one", answers=1)], generator(1, "reference"))
    assert human[0].references == [] and scored_on[0].references == ["one的回答0"]
    frame = per_example(human, Settings())
    assert np.isnan(frame.loc["one", "rouge_1"]) and frame.loc["one", "copy_rate"] == 0


def test_an_answer_of_the_kind_is_to_another_post_of_the_same_sub_topic():
    pool = [item("a", "职场", "加班"), item("b", "职场", "裁员"), item("c", "家庭", "婆媳"), item("d")]
    asked = [item("x", "职场", "加班"), item("y", "家庭", "父母"), item("z", "校园", "考试"), pool[0]]
    for seed in range(5):
        same, topic, other, own = answers_of_the_kind(asked, pool, generator(seed, "kind"))
        assert same.startswith("a的") and topic.startswith("c的") and other[0] in "abcd"
        assert own.startswith("b的"), "its own post is no other"
