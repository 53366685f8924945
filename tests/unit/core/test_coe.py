import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from empathy_lib.core import coe
from empathy_lib.core.coe import (
    LAYERS,
    TAGS,
    ChainOfEmpathy,
    Fault,
    answer_of,
    is_well_formed,
    parse,
    render,
    to_html,
    validate,
)

GOOD = "<empathy_think><L1>a</L1><L2>b</L2><L3>c</L3><L4>d</L4></empathy_think><answer>e</answer>"
TAG_TEXTS = [f"<{slash}{name}>" for name in TAGS for slash in ("", "/")]
# words, white space of all kinds, broken tags, html: whatever a model may write between the grammar's tags
PIECES = st.sampled_from(
    [
        "我很累",
        "a",
        " ",
        "\n",
        "\u3000",
        "\x1c",
        "",
        "<",
        ">",
        "</",
        "<L5>",
        "<l1>",
        "<L1 >",
        "&amp;",
        "<b>",
        "'\"",
    ]
)
PROSE = st.lists(PIECES, max_size=6).map("".join) | st.text(max_size=20)
WORDS = PROSE.filter(
    lambda text: (
        any("0" <= c <= "z" or "\u4e00" <= c <= "\u9fff" for c in text if c.isalnum())
        and not re.search("|".join(TAG_TEXTS), text)
    )
)
NOISE = st.lists(PIECES | st.sampled_from(TAG_TEXTS), max_size=30).map("".join) | st.text(max_size=60)


@st.composite
def nearly_good(draw):
    """A well-formed completion with a few tags or words deleted, doubled, swapped or put in."""
    parts = re.findall(r"<[^>]+>|[^<]+", GOOD)
    for _ in range(draw(st.integers(0, 3))):
        here = draw(st.integers(0, len(parts) - 1))
        match draw(st.integers(0, 3)):
            case 0:
                parts[here] = ""
            case 1:
                parts.insert(here, draw(st.sampled_from(parts)))
            case 2:
                parts[here - 1], parts[here] = parts[here], parts[here - 1]
            case 3:
                parts.insert(here, draw(PIECES))
    return "".join(parts)


@given(*[WORDS] * 5)
def test_parse_gives_back_what_render_wrote(one, two, three, four, answer):
    chain = ChainOfEmpathy(L1=one, L2=two, L3=three, L4=four)
    found = parse(render(chain, answer))
    assert found is not None
    assert found.coe == chain and found.answer == answer.strip()
    assert render(found.coe, found.answer) == render(chain, answer)


@given(NOISE | nearly_good())
@example(GOOD)
@example("")
@example("<answer>" * 3)
def test_no_text_crashes_and_no_faults_means_well_formed(text):
    found = parse(text)
    assert (validate(text) == []) == (found is not None) == is_well_formed(text)
    assert isinstance(answer_of(text), str)
    shown = to_html(text, label=text)
    assert not re.search("|".join(TAG_TEXTS), shown), "the model's tags are escaped"
    if found is not None:
        assert parse(render(found.coe, found.answer)) == found


@given(NOISE)
def test_white_space_between_tags_is_free(space):
    blank = "".join(char for char in space if char.isspace())
    spaced = re.sub(r"(</[^>]+>|<empathy_think>)", lambda match: blank + match.group(0) + blank, GOOD)
    assert parse(spaced) == parse(GOOD)


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        (GOOD, []),
        (GOOD.replace("</L2>", ""), [Fault("missing", "</L2>")]),
        (GOOD.replace("<L3>c</L3>", ""), [Fault("missing", "<L3>"), Fault("missing", "</L3>")]),
        # cut off by the length limit: its words are no stray text
        (GOOD.removesuffix("</answer>"), [Fault("missing", "</answer>")]),
        (GOOD.replace("<L4>d</L4></empathy_think><answer>e</answer>", "<L4>d"), "missing"),
        (GOOD.replace("<L2>", "<L2><L2>"), [Fault("doubled", "<L2>")]),
        (GOOD.replace("<L1>a</L1>", "<L1>a</L1>" * 2), [Fault("doubled", "<L1>"), Fault("doubled", "</L1>")]),
        (GOOD.replace("<L3>c</L3>", "<L3> \n</L3>"), [Fault("empty", "<L3>")]),
        (GOOD.replace("e</answer>", "</answer>"), [Fault("empty", "<answer>")]),
        (GOOD.replace("<L3>c", "<L3>\u200b\ufeff"), [Fault("only invisible characters", "<L3>")]),
        (GOOD.replace("<L3>c", "<L3>\u3164 \u2800"), [Fault("only invisible characters", "<L3>")]),
        (GOOD.replace("<L3>c", "<L3>。"), [Fault("only marks", "<L3>")]),
        (GOOD.replace("e</answer>", "\u200b……</answer>"), [Fault("only marks", "<answer>")]),
        (GOOD.replace("<L1>a</L1><L2>b</L2>", "<L2>b</L2><L1>a</L1>"), "out of order"),
        ("<answer>e</answer>" + GOOD.removesuffix("<answer>e</answer>"), "out of order"),
        (GOOD.replace("<L2>b</L2>", "").replace("<L1>a</L1>", "<L1>a<L2>b</L2></L1>"), "out of order"),
        ("好的。" + GOOD, [Fault("stray text", "text")]),
        (GOOD + "希望对你有帮助", [Fault("stray text", "text")]),
        (GOOD.replace("</L1><L2>", "</L1>and<L2>"), [Fault("stray text", "text")]),
        (GOOD.replace("<empathy_think>", "<empathy_think>think:"), [Fault("stray text", "text")]),
    ],
)
def test_each_fault_is_named(text, faults):
    found = validate(text)
    if isinstance(faults, str):
        assert {fault.kind for fault in found} == {faults}
    else:
        assert found == faults


def test_plain_text_misses_every_tag_and_is_stray():
    assert [str(fault) for fault in validate("抱抱你")] == [
        f"missing: {tag}" for tag in re.findall("<[^>]+>", GOOD)
    ] + ["stray text: text"]


def test_a_chain_that_repeats_itself_is_refused_at_once():
    looping = "<empathy_think>" + "<L1>a</L1><L2>b</L2><L3>c</L3><L4>d</L4>" * 2000
    assert parse(looping) is None and validate(looping) and answer_of(looping)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (GOOD, "e"),
        (GOOD.replace("<L2>b</L2>", "").replace("e</", " e </"), "e"),
        ("<L1>a</L1><answer>first</answer><answer>second", "second"),
        ("  只有文字 ", "只有文字"),
        (GOOD + "以上仅供参考 L1", "e"),
        (GOOD.replace("<L2>b</L2>", "") + "尾巴", "e"),
        ("<answer>先写的</answer>尾巴<answer>。", "先写的"),
        ("没有开头</answer>尾巴", "没有开头"),
        ("<think>她很难过</think>抱抱你", "抱抱你"),
        ("<think>没有写完", ""),
        ("<empathy_think><L1>a</L1>", "a"),
        ("", ""),
    ],
)
def test_answer_of(text, answer):
    assert answer_of(text) == answer


def test_html_escapes_what_the_model_wrote_in_both_shapes():
    attack = "<script>alert('1')</script>"
    for text in (
        GOOD.replace("<L1>a", f"<L1>{attack}").replace("e</answer>", f"{attack}</answer>"),
        attack + GOOD,
    ):
        shown = to_html(text, label=attack)
        assert (
            "<script" not in shown and shown.count("&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt;") >= 2
        )
    assert "not well-formed (stray text: text)" in to_html(attack + GOOD)
    assert all(title in to_html(GOOD) for title in map(coe.html.escape, coe.LAYER_TITLES.values()))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (GOOD, GOOD),
        (f"<think>想\n一想</think>\n{GOOD}", GOOD),
        (f"<Thinking>a <L1> b</Thinking><reasoning>c</reasoning>{GOOD}", GOOD),
        (f"模板已开头</think>{GOOD}", GOOD),
        (f"<think>没有结尾{GOOD}", GOOD),
        (GOOD.replace("e</", "e<think>没有结尾</"), GOOD),
        ("<think>甲<think>乙</think>丙</think>丁", "丁"),
    ],
)
def test_reasoning_is_cut(text, left):
    assert coe.cut_reasoning(text) == left


def test_many_open_blocks_take_no_quadratic_time():
    assert coe.cut_reasoning("<think>想<L1>" * 20_000)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (GOOD, "e"),
        ("只有文字", None),
        ("<answer></answer>", None),
        ("<answer>\u200b</answer>", None),
        ("<answer>没写完", "没写完"),
    ],
)
def test_an_answer_stands_in_its_tag(text, answer):
    assert coe.written_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (GOOD, ""),
        ("抱抱你", "no tag of the grammar"),
        ("", "no tag of the grammar"),
        (GOOD.removesuffix("</answer>"), "stops after <answer>"),
        (GOOD[: GOOD.index("</L2>")], "stops after <L2>"),
        (GOOD.replace("<L2>b</L2>", ""), "missing: <L2>"),
        (GOOD.replace("<L3>c", "<L3>。"), "only marks: <L3>"),
        (GOOD + "尾巴", "stray text: text"),
    ],
)
def test_each_completion_has_one_main_fault(text, reason):
    assert coe.main_fault(text) == reason


@pytest.mark.parametrize("bad", ["", "  \n", "a<L2>b", "</answer>", "\u200b", "。", "\u3164"])
def test_a_chain_or_answer_with_empty_text_or_tags_is_refused(bad):
    with pytest.raises(ValidationError, match=r"every part|remove it"):
        ChainOfEmpathy(**dict.fromkeys(LAYERS, "x") | {"L3": bad})
    with pytest.raises(ValueError, match=r"every part|remove it"):
        render(ChainOfEmpathy(**dict.fromkeys(LAYERS, "x")), bad)


def test_the_gloss_stands_escaped_beneath_the_post_and_takes_no_room_where_there_is_none():
    for page in (
        coe.side_by_side("求助", {"a": GOOD}, "work stress · <b>lost</b>"),
        coe.stepper("求助", {"a": GOOD}, "post 1", "work stress · <b>lost</b>"),
    ):
        assert "求助<div style='color:#555;font-size:85%'>work stress · &lt;b&gt;lost&lt;/b&gt;</div>" in page
    assert "求助</div>" in coe.side_by_side("求助", {})


def test_the_stepper_escapes_everything_and_opens_the_last_step():
    evil = "<script>alert(1)</script>"
    frames = {f"step {evil}": evil, "last": GOOD.replace("e</answer>", f"{evil}</answer>")}
    page = coe.stepper(evil, frames, "post' 1")
    assert "<script" not in page and page.count("<details name='post&#x27; 1'") == 2
    assert page.count("' open>") == 1
    assert page.index("' open><summary>last</summary>") > page.index("<summary>step &lt;script")


def test_the_stepper_needs_no_style_sheet_no_script_and_no_form():
    page = coe.stepper("求助", {"SFT": GOOD, "step 4": GOOD, "step 8": "x"}, "post 1")
    assert {tag for tag in re.findall(r"<([a-z]+)", page)} <= {"div", "b", "br", "details", "summary"}
    assert "<summary>step 4 · unchanged</summary>" in page and "<summary>step 8</summary>" in page


def test_a_note_stands_beside_the_completion_it_is_about_and_is_escaped():
    notes = {"a": "r_answer 1 <b>"}
    for page in (
        coe.side_by_side("求助", {"a": GOOD, "b": GOOD}, notes=notes),
        coe.stepper("求助", {"a": GOOD, "b": "x"}, "post 1", notes=notes),
    ):
        assert page.count("r_answer 1 &lt;b&gt;") == 1
