"""Each label is marked on its own; pasting, listing and length earn nothing."""

import math
from dataclasses import replace

import pytest
from chains import COLD, FIRED, L2, LOAN, MARKER, POST, SITUATION, chain, gold

from empathy_lib.core.coe import render
from empathy_lib.core.schema import Item
from empathy_lib.reward.marking import (
    ALL_MARKS,
    MARKED,
    MAX_LAYER,
    default_marker,
    in_order,
    is_made_of,
    quoted,
)


def wrong(marks: dict[str, float]) -> set[str]:
    assert set(marks) == set(ALL_MARKS) and set(marks.values()) <= {0.0, 1.0}
    return {name for name, mark in marks.items() if not mark}


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({}, set()),
        ({"l1": "他很生气"}, {"L1", "L1_any"}),
        ({"l1": "不安、愤怒和孤独都有"}, {"L1"}),
        ({"l1": "不安里带着生气"}, set()),
        ({"l2": f"「{COLD}」「{FIRED}」灾难化"}, {"gist_recall"}),
        ({"l2": L2.replace("曾经说排不开却被冷落", "背着房贷")}, {"cause", "cause_subtopic", "gist_recall"}),
        ({"l2": L2.replace("灾难化", "贴标签")}, {"bias"}),
        ({"l2": L2.replace("灾难化", "灾难化和贴标签")}, {"bias"}),
        ({"l2": L2.replace("推掉一次就会被换掉", "喊累就是不够格")}, {"belief", "belief_subtopic"}),
        ({"l3": "希望得到建议，也希望被理解"}, {"L3"}),
        ({"l3": "不知道"}, {"L3"}),
    ],
)
def test_each_label_is_marked_on_its_own(parts, expected):
    assert wrong(MARKER.mark_chain(chain(**parts), gold(), POST)) == expected
    assert wrong(MARKER.mark(render(chain(**parts), "抱抱你。"), gold(), POST)) == expected


def test_a_broken_chain_is_wrong_in_every_label_and_no_gold_is_no_mark():
    broken = render(chain(), "抱抱你。").replace("</L4>", "")
    assert wrong(MARKER.mark(broken, gold(), POST)) == set(ALL_MARKS)
    assert all(map(math.isnan, MARKER.mark(broken, None, POST).values()))


L2_MARKS = {"cause", "cause_subtopic", "bias", "belief", "belief_subtopic"}


@pytest.mark.parametrize(
    "paste",
    [
        POST,
        POST[: MAX_LAYER - 10],
        "·".join(POST[i : i + 7] for i in range(0, len(POST), 7)),  # hidden behind marks
        " ".join(POST[20:130]),
        SITUATION + COLD,
    ],
)
def test_pasting_the_post_earns_nothing_where_the_span_is_counted(paste):
    marks = MARKER.mark_chain(chain(l1=paste, l2=paste + "灾难化", l3=paste), gold(), POST)
    assert not any(marks[name] for name in (*MARKED, *L2_MARKS)), marks
    free = replace(MARKER, count_span=False).mark_chain(chain(l2=paste + "灾难化"), gold(), POST)
    assert free["bias"] == 1


def test_a_layer_longer_than_any_honest_one_names_nothing_even_in_its_own_words():
    longer = L2 + "这里写的话与帖子无关。" * (MAX_LAYER // 11)
    assert wrong(MARKER.mark_chain(chain(l2=longer), gold(), POST)) >= L2_MARKS


def test_quoting_cause_and_belief_whole_with_what_leads_to_them_is_honest():
    assert wrong(MARKER.mark_chain(chain(l2=f"{COLD}想来想去，{FIRED}灾难化"), gold(), POST)) == {
        "gist_recall"
    }
    assert quoted(f"「{COLD}」", POST) == 26 and quoted(f"「{COLD}」", POST, [COLD]) == 0
    assert quoted("他不安", POST) == 0


def test_half_of_the_causes_bigrams_are_enough_for_recall_and_less_is_not():
    assert MARKER.recalls_gist("甲乙丙，别的", gold(cause="甲乙丙丁戊"))
    assert not MARKER.recalls_gist("甲乙，别的", gold(cause="甲乙丙丁戊"))


def test_labels_of_a_users_own_are_known_by_name_and_missing_ones_are_not_available():
    own = gold(cause="邻居太吵睡不着", belief="", bias="灾难化")
    marks = MARKER.knowing([own, None]).mark_chain(chain(l2="邻居太吵，灾难化"), own, "")
    assert (marks["cause"], marks["bias"]) == (1, 1)
    assert all(math.isnan(marks[name]) for name in ("belief", "cause_subtopic", "belief_subtopic"))


def test_default_marker_reads_the_datasets_lexicon_and_fragments():
    marker = default_marker()
    assert set(marker.intents) == {"validated", "understood", "advice"}
    for emotion, words in marker.emotions.items():
        assert emotion in marker.named_emotions(f"他感到{words[0]}。")
    for intent, phrases in marker.intents.items():
        for phrase in phrases:
            assert marker.named_intents(f"对方{phrase}。") == {intent}, phrase
    for bias, name in marker.biases.items():
        assert marker.named_biases(f"这是{name}。") == {bias}
    for nearest in (marker.causes, marker.beliefs):
        hits = [nearest.identifies(text, c.gist) for c in nearest.candidates for text in (c.gist, c.sentence)]
        assert len(nearest.candidates) > 300 and sum(map(sum, hits)) >= 0.98 * 2 * len(hits)


def test_letters_in_order_by_hand():
    assert in_order("甲、丙「戊」", "甲乙丙丁戊") == 3 and in_order("戊丙甲", "甲乙丙丁戊") == 1
    assert in_order("", "甲") == in_order("乙", "甲") == 0


@pytest.mark.parametrize(
    ("layer", "made"),
    [
        ("晚上、项目、开会、上个月、白天", True),  # keywords: eleven letters, all the post's
        ("上个月、项目、焦虑", False),  # six of eight
        (SITUATION[:40], False),  # a quotation is no other order
        ("".join(sorted(set(POST))), True),
        ("他因为怕被换掉而不敢开口，属于灾难化的想法", False),
    ],
)
def test_a_layer_of_the_posts_own_letters_in_another_order(layer, made):
    assert is_made_of(layer, POST) == made


@pytest.mark.parametrize(
    "l2",
    [
        "曾经说排不开却被冷落、背着房贷",  # all causes of the sub-topic
        "曾经说排不开、背着房",  # their first parts
        COLD + LOAN,
        "".join(c for k, c in enumerate(POST) if k % 3 != 2),
        "".join(c for k, c in enumerate(POST) if k % 2),
        "排不开、手头、领导、说过、夸别人、扛事、转头、会上、一次、换掉",
        "".join(f"「{part}。」" for part in POST.split("。") if part),
    ],
)
def test_lists_thinned_posts_keywords_and_quoted_sentences_identify_no_cause(l2):
    marks = MARKER.mark_chain(chain(l2=l2), gold(), POST)
    assert marks["cause"] == marks["cause_subtopic"] == 0


def test_marks_of_several_completions_are_averaged_by_item():
    items = [Item(id=name, question=POST, answers=[], gold=gold()) for name in ("b", "a")]
    right, wrong_bias = (render(chain(l2=l2), "抱抱你。") for l2 in (L2, L2.replace("灾难化", "贴标签")))
    table = MARKER.table(items, [right, right, wrong_bias, "坏的"])
    assert list(table.index) == ["b", "a"] and list(table.columns) == list(ALL_MARKS)
    assert table["cause"].tolist() == [1, 0.5] and table["bias"].tolist() == [0.5, 0.5]


def test_marks_in_english_name_what_the_chain_says_and_whether_it_is_right():
    labels = gold()
    item = Item(id="a", question=POST, answers=[], source="synthetic", gold=labels)
    said = MARKER.in_english(item, render(chain(l1="他很生气"), "抱抱你。"))
    first, *others = said.split(" · ")
    assert first.startswith("emotion ") and first.endswith(" ✗")
    assert len(others) == len(MARKED) - 1 and all(part.endswith("✓") for part in others)
    assert "well-formed" in MARKER.in_english(item, "没有格式")
    assert MARKER.in_english(item.model_copy(update={"gold": None}), "没有格式") == ""
