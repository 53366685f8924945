"""The rules quote and never invent; gold is taken as it is; each layer reads what it should from a plain
post."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from empathy_lib.core.coe import LAYERS, ChainOfEmpathy, is_well_formed, render
from empathy_lib.core.config import DatasetConfig
from empathy_lib.core.errors import UserError
from empathy_lib.core.schema import Answer, Gold, Item
from empathy_lib.dataset.annotate import (
    annotate,
    chain_origin,
    named_nothing_line,
    resolve_annotator,
    rules_accuracy,
    rules_named_nothing,
)
from empathy_lib.dataset.rules.chain import RulesAnnotator, default_rules
from empathy_lib.dataset.rules.clauses import MAX_QUOTE
from empathy_lib.dataset.sources import read_source

RULES = RulesAnnotator(
    emotions={"焦虑": ["焦虑", "紧张"], "委屈": ["委屈", "憋屈"], "孤独": ["孤独"]},
    biases={
        "overgeneralization": "以偏概全",
        "catastrophizing": "灾难化",
        "mind_reading": "读心术",
        "personalization": "个人化",
        "should_statements": "应该思维",
        "labeling": "贴标签",
    },
    intents={"advice": "希望得到建议", "understood": "希望被人理解", "validated": "希望得到肯定"},
)
CHAIN = ChainOfEmpathy(L1="情绪", L2="原因", L3="意图", L4="策略")
# a folder of real SMILE dialogues, if there is one
SMILE = Path(os.environ.get("EMPATHY_SMILE", "no-such-folder"))


def quotes(chain: ChainOfEmpathy) -> list[str]:
    return [quote for layer in LAYERS for quote in re.findall("「(.*?)」", getattr(chain, layer), re.DOTALL)]


@given(st.text(min_size=1).filter(str.strip))
@example("？？？")
@example("<L1>我<answer>很「焦虑」</answer></L1>")
@example("<>")
@example("因为" + "很" * 300 + "焦虑，怎么办")
@example("焦虑" * 100)
def test_any_post_gives_a_grounded_well_formed_chain(post):
    chain = RULES.chain(post)
    assert is_well_formed(render(chain, "好"))
    for quote in quotes(chain):
        assert quote in post
        assert 0 < len(quote) <= MAX_QUOTE


def test_the_four_layers_of_a_plain_post():
    chain = RULES.chain("我最近很紧张，因为领导总让我加班。晚上睡不着，我完了，我该怎么办？")
    assert "焦虑" in chain.L1 and "最近" in chain.L1
    assert "领导总让来访者加班" in chain.L2
    assert "“灾难化”" in chain.L2 and "自己完了" in chain.L2
    assert "希望得到建议" in chain.L3
    assert "焦虑" in chain.L4 and "“灾难化”" in chain.L4


@pytest.mark.parametrize(
    ("post", "emotion", "intent"),
    [
        ("我不紧张，只是很委屈，没有人理解我。", "委屈", "understood"),
        ("孤独，紧张，还是紧张。是我太矫情了吗？", "焦虑", "validated"),
        ("为什么会这样？我觉得很孤独，该怎么办？", "孤独", "advice"),
        ("今天下雨了，我坐在窗边看了一个下午的书。", "", "understood"),
    ],
)
def test_labels(post, emotion, intent):
    assert RULES.labels(post) == (emotion, intent)


def test_without_cues_the_text_says_so():
    chain = RULES.chain("你好，今天下雨没有停过，我坐着")
    assert "没有直接说出情绪" in chain.L1 and "今天下雨没有停过" in chain.L1
    assert "没有写明起因" in chain.L2 and "没有写明请求" in chain.L3


def item(coe: ChainOfEmpathy | None, origin: str = "gold") -> Item:
    return Item(
        id="1",
        question="我很紧张，怎么办？",
        answers=[Answer(text="慢慢来", coe=coe), Answer(text="广告")],
        coe_origin=origin,
    )


def test_gold_is_kept_and_a_stray_answer_gets_the_items_chain():
    (kept,) = annotate([item(CHAIN)], "gold")
    assert [a.coe for a in kept.answers] == [CHAIN, CHAIN]
    assert kept.coe_origin == "gold"


def test_gold_without_gold_is_a_user_error():
    for lacking in (item(None), item(CHAIN, "")):
        with pytest.raises(UserError, match="annotator=rules"):
            annotate([lacking], "gold")


def test_rules_replace_what_is_there_and_leave_the_input_alone():
    raw = item(CHAIN)
    (made,) = annotate([raw], "rules")
    assert made.coe_origin == "rules"
    assert all(a.coe and a.coe != CHAIN for a in made.answers)
    assert raw.answers[0].coe == CHAIN and raw.coe_origin == "gold"


def test_posts_of_which_the_rules_name_nothing_are_counted():
    plain = item(None).model_copy(update={"question": "窗外下着雨，屋里很安静。"})
    made = annotate([item(None), plain], "rules")
    shares = rules_named_nothing(made)
    assert shares == {"posts": 2, "L1": 0.5, "L2": 1.0, "L3": 0.5}
    assert named_nothing_line(shares) == (
        "the rules named nothing in L1 of 50%, L2 of 100%, L3 of 50% of 2 posts (emotion, cause, request)"
    )
    assert rules_named_nothing(annotate([item(CHAIN)], "gold")) is None and named_nothing_line(None) == ""


def test_resolve_falls_back_and_says_so(capsys):
    assert resolve_annotator([item(CHAIN)], "gold") == "gold"
    assert capsys.readouterr().out == ""
    assert resolve_annotator([item(CHAIN), item(None, "")], "gold") == "rules"
    assert "1 of 2 questions" in capsys.readouterr().out
    assert resolve_annotator([item(CHAIN)], "rules") == "rules"


def test_accuracy_against_gold_labels():
    gold = Gold(emotion="焦虑", situation="s", cause="c", belief="b", bias="labeling", intent="advice")
    right = item(None).model_copy(update={"gold": gold})
    wrong = right.model_copy(update={"question": "我很开心。"})
    assert rules_accuracy([right, wrong]) == {"emotion": 0.5, "intent": 0.5}
    assert rules_accuracy([item(None)]) is None


@pytest.mark.skipif(
    not SMILE.is_dir(), reason="EMPATHY_SMILE names no folder; real dialogues are not part of the repository"
)
def test_real_posts_are_grounded():
    rules = default_rules()
    posts = [i.question for i in read_source(DatasetConfig(data=str(SMILE)), 1).items]
    for post in posts:
        assert all(quote in post and len(quote) <= MAX_QUOTE for quote in quotes(rules.chain(post)))


def test_the_label_of_a_chain_says_who_made_it_and_of_a_real_post_what_that_limits():
    limit = "no chain of a real post is better than its annotator"
    gold = Gold(emotion="焦虑", situation="", cause="", belief="", bias="labeling", intent="advice")
    item = Item(id="1", question="我很焦虑", answers=[Answer(text="好", coe=CHAIN)], coe_origin="rules")
    assert "rule-made" in chain_origin(item) and "annotator: rules" in chain_origin(item)
    assert chain_origin(item).endswith(limit)
    assert chain_origin(item.model_copy(update={"coe_origin": "teacher"})).endswith(limit)
    assert chain_origin(item.model_copy(update={"coe_origin": "gold"})).startswith("given by the source")
    synthetic = item.model_copy(update={"gold": gold})
    assert "rule-made" in chain_origin(synthetic) and limit not in chain_origin(synthetic)
    assert "made from the labels" in chain_origin(synthetic.model_copy(update={"coe_origin": "gold"}))
    assert "of unknown origin" in chain_origin(item.model_copy(update={"coe_origin": ""}))
