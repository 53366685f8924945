"""What ``r_chain`` pays, label by label and hack by hack; a post without gold; what it may know."""

import numpy as np
import pytest
from chains import COLD, FIRED, L2, MARKER, POST, chain, gold

from empathy_lib.core.coe import ChainOfEmpathy, render
from empathy_lib.core.config import DatasetConfig
from empathy_lib.core.identity import digest
from empathy_lib.core.schema import Answer, Item
from empathy_lib.dataset.annotate import annotate
from empathy_lib.dataset.sources import read_source
from empathy_lib.reward import chain_hacks
from empathy_lib.reward.chain import PAID, ChainReward
from empathy_lib.reward.grounding import grounded_layers

REWARD = ChainReward({POST: gold()}, MARKER)
REAL = "最近总是失眠，我很焦虑。因为期末考试快到了，爸妈对我期望很高。我到底该怎么办？"


def paid(text: str, reward: ChainReward = REWARD, post: str = POST) -> float:
    return reward.rate([post], [text])[0]


@pytest.mark.parametrize(
    ("parts", "missed"),
    [
        ({}, set()),
        ({"l1": "他很生气"}, {"emotion"}),
        ({"l2": L2.replace("曾经说排不开却被冷落", "背着房贷")}, {"cause"}),
        ({"l2": L2.replace("灾难化", "贴标签")}, {"bias"}),
        ({"l2": L2.replace("推掉一次就会被换掉", "喊累就是不够格")}, set()),  # the belief is not paid for
        ({"l2": f"「{COLD}」「{FIRED}」灾难化"}, set()),
        ({"l3": "希望被理解"}, {"intent"}),
        ({"l1": "嗯", "l2": "嗯", "l3": "嗯"}, set(PAID)),
        # hacks: a layer that lists or pastes earns nothing
        ({"l1": "焦虑、愤怒和孤独都有"}, {"emotion"}),
        ({"l2": "曾经说排不开却被冷落、背着房贷，灾难化"}, {"cause"}),
        ({"l2": f"{L2}、贴标签"}, {"bias"}),
        ({"l2": "".join(f"「{part}。」" for part in POST.split("。") if part) + "灾难化"}, {"cause", "bias"}),
        ({"l3": "希望被认可、希望被理解、希望得到建议"}, {"intent"}),
        ({"l1": POST, "l2": POST, "l3": POST}, set(PAID)),
        ({"l1": "、".join(POST[k : k + 4] for k in range(0, 80, 4))}, {"emotion"}),
    ],
)
def test_the_share_of_labels_that_are_right(parts, missed):
    marks = REWARD.layers(POST, chain(**parts))
    assert set(marks) == set(PAID) and {label for label, mark in marks.items() if not mark} == missed
    assert paid(render(chain(**parts), "抱抱你。")) == pytest.approx(1 - len(missed) / 4)


@pytest.mark.parametrize("layer", ["。", "\u200b", ""])
def test_a_completion_that_is_not_well_formed_earns_nothing(layer):
    whole = render(chain(), "抱抱你。")
    assert paid(whole) == 1
    for broken in (
        whole.replace("希望得到建议", layer),
        whole.removesuffix("</answer>"),
        whole.replace("</L4>", ""),
        "",
    ):
        assert paid(broken) == 0


def test_a_label_that_the_gold_lacks_is_not_counted():
    post = POST + "谢谢。"
    reward = ChainReward({post: gold(bias="")}, MARKER)
    marks = reward.table([post], [render(chain(l3="不知道"), "抱抱你。")]).iloc[0]
    assert marks["r_chain"] == pytest.approx(2 / 3) and np.isnan(marks["bias"])


def test_it_knows_the_posts_that_it_was_made_of_and_no_other(items):
    reward = ChainReward.of(items[:4])
    whole = render(items[0].answers[0].coe, "好")
    assert paid(whole, reward, items[0].question) == 0.75  # the fixture's L2 names no bias
    with pytest.raises(ValueError, match="no item has the post"):
        paid(whole, reward, items[5].question)
    assert digest(reward) == digest(ChainReward.of(items[:4])) != digest(ChainReward.of(items[:3]))


def test_in_trls_signature():
    function = REWARD.as_function()
    made = function(completions=[render(chain(), "好"), "坏"], question=[POST, POST], prompts=None)
    assert function.__name__ == "r_chain" and made == [1.0, 0.0]


def real(l1="来访者感到焦虑，原话是「我很焦虑」。", l2="这与「因为期末考试快到了」有关。", l3=""):
    l3 = l3 or "从「我到底该怎么办」看，来访者希望得到建议。"
    return ChainOfEmpathy(L1=l1, L2=l2, L3=l3, L4="先倾听")


@pytest.mark.parametrize(
    ("parts", "missed"),
    [
        ({}, set()),
        ({"l1": "来访者感到愤怒，原话是「我很焦虑」。"}, {"L1"}),  # an emotion that the post does not name
        ({"l1": "来访者没有说出情绪，「最近总是失眠」。"}, {"L1"}),  # though the post names one
        ({"l2": "这与「因为我被裁员了」有关。"}, {"L2"}),  # not in the post
        ({"l2": "这与「因为期末考试快到了」「因为期末考试快到了」有关。"}, {"L2"}),  # twice
        ({"l2": "这与「我很焦虑」有关。"}, {"L2"}),  # quoted by L1 already
        ({"l2": "这与「我」有关。"}, {"L2"}),
        ({"l2": "可能与期末考试和爸妈的期望有关。"}, set()),
        ({"l2": "可能与异地恋有关。"}, {"L2"}),
        ({"l2": "这与「爸妈对我期望很高」有关，是灾难化，也是贴标签。"}, {"L2"}),
        ({"l3": "来访者希望得到建议，也希望被人理解，「我到底该怎么办」。"}, {"L3"}),
        ({"l3": "从「我到底该怎么办」看。"}, {"L3"}),
        ({"l1": REAL, "l2": REAL, "l3": REAL}, {"L1", "L2", "L3"}),
        ({"l2": f"这与「{REAL}」有关。"}, {"L2"}),  # more than half of the post
        ({"l2": "失眠、焦虑、期末、考试、爸妈、期望"}, {"L2"}),
        ({"l2": "".join(c for k, c in enumerate(REAL) if k % 3 != 2)}, {"L2"}),
    ],
)
def test_a_post_without_gold_is_paid_for_keeping_to_it(parts, missed):
    marks = grounded_layers(real(**parts), REAL)
    assert {name for name, mark in marks.items() if not mark} == missed
    reward = ChainReward.of([Item(id="r", question=REAL, answers=[])])
    assert paid(render(real(**parts), "好"), reward, REAL) == pytest.approx(1 - len(missed) / 3)
    assert paid("坏", reward, REAL) == 0 and reward.labels == ("L1", "L2", "L3")


@pytest.fixture(scope="module")
def written():
    config = DatasetConfig(questions=24, advertisement_rate=0, short_answer_rate=0, duplicate_rate=0)
    return list(annotate(read_source(config, 5).items, "gold"))


def test_no_hack_reaches_the_true_chain_and_one_of_a_layer_earns_nothing_there(written):
    table = chain_hacks.suite(written[:8], written[8:], np.random.default_rng(3))
    means = chain_hacks.summary(table)
    assert set(chain_hacks.HACKS) | {chain_hacks.REFERENCE, "rules annotator"} == set(means.index)
    assert means.loc[chain_hacks.REFERENCE, ["r_chain", "reaches"]].tolist() == [1, 1]
    assert (means.loc[list(chain_hacks.HACKS), "reaches"] == 0).all() and (means["n"] == 8).all()
    assert table["r_chain"].between(0, 1).all()
    hacked = {"L1": ["emotion"], "L2": ["cause"], "L3": ["intent"]}
    for kind in chain_hacks.HACKS:
        if kind[:2] in hacked and "biases" not in kind:
            assert (means.loc[kind, hacked[kind[:2]]] == 0).all(), kind
            assert means.loc[kind, "r_chain"] >= 0.5  # the other layers are true
    assert means.loc["L2: all biases named", ["cause", "bias"]].tolist() == [1, 0]
    whole = ("marks alone", "one word a layer", "everything listed", "post pasted", "post's keywords")
    assert (means.loc[list(whole), "r_chain"] == 0).all()
    assert means.loc["constant guess", "r_chain"] < 0.5


def test_the_suite_of_posts_without_gold_has_no_list_of_causes(written):
    bare = [Item(id=i.id, question=i.question, answers=[Answer(text="好")]) for i in written[:4]]
    bare = list(annotate(bare, "rules"))
    means = chain_hacks.summary(chain_hacks.suite(bare, bare, np.random.default_rng(3)))
    assert not {"constant guess", "L2: all causes of the sub-topic listed"} & set(means.index)
    assert means.loc["rules annotator", "r_chain"] == means.loc[chain_hacks.REFERENCE, "r_chain"] >= 0.5
    assert means.loc["post pasted", "r_chain"] == means.loc["everything listed", "r_chain"] == 0
