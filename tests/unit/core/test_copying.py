import pytest
from hypothesis import given
from hypothesis import strategies as st

from empathy_lib.core.copying import (
    copy_rate,
    has_letters,
    longest_shared_run,
    mask_copied_spans,
    memorisation,
)

# few letters, so that copies happen by chance as well
TEXT = st.text(alphabet="你我很累 。\n", max_size=60)
NGRAM = st.integers(min_value=1, max_value=8)
POST = "最近工作压力特别大，每天晚上都睡不着，我不知道该怎么办。"


@given(TEXT, TEXT, NGRAM)
def test_rate_is_a_share_and_masking_leaves_no_copy(answer, question, n):
    assert 0.0 <= copy_rate(answer, question, n) <= 1.0
    masked = mask_copied_spans(answer, question, n)
    assert copy_rate(masked, question, n) == 0.0
    assert mask_copied_spans(masked, question, n) == masked
    rest = iter(answer)
    assert all(char in rest for char in masked), "masking only takes characters out, in order"
    if copy_rate(answer, question, n) == 0.0:
        assert masked == answer


@given(st.text(alphabet="你我很累好难过", min_size=8, max_size=60))
def test_a_copy_of_the_post_has_rate_one_and_nothing_left(post):
    assert copy_rate(post, post) == 1.0
    assert mask_copied_spans(post, post) == ""


@pytest.mark.parametrize("answer", ["", "   ", "工作压力"])
def test_empty_and_short_answers_have_rate_zero(answer):
    assert copy_rate(answer, POST) == 0.0
    assert mask_copied_spans(answer, POST) == answer


def test_hand_counted_rate():
    # 11 letters, so 4 eight-grams; the first 9 are the post's (the 10th is a comma), which makes 2 copied
    answer = POST[:10] + "抱抱"
    assert copy_rate(answer, POST) == pytest.approx(2 / 4)
    assert mask_copied_spans(answer, POST) == "抱抱"


def test_white_space_does_not_hide_a_copy():
    assert copy_rate("\n ".join(POST), POST) == 1.0
    assert mask_copied_spans("你好。" + "\n".join(POST[:10]), POST) == "你好。"


HIDDEN_BY = {
    "middle dot": "·",
    "punctuation": "，。",
    "dash": "——",
    "zero width": "\u200b",
    "joiner": "\u2060\u200d",
    "byte-order mark": "\ufeff",
    "soft hyphen": "\u00ad",
    "variation selector": "\ufe0f",
    "combining accent": "\u0301",
    "tone mark": "ˊ",
    "Hangul filler": "\u3164",
    "emoji": "😢",
    "emoji of a family": "👨\u200d👩\u200d👧",
    "underscore": "_",
    "full-width space": "\u3000",
}


@pytest.mark.parametrize("mark", HIDDEN_BY.values(), ids=HIDDEN_BY.keys())
@pytest.mark.parametrize("every", [1, 7])
def test_marks_do_not_hide_a_copy(mark, every):
    marked = mark.join(POST[place : place + every] for place in range(0, len(POST), every))
    for answer, post in ((marked, POST), (POST, marked), (mark + marked + mark, POST)):
        assert copy_rate(answer, post) == 1.0
        assert mask_copied_spans(answer, post) == ""
    assert mask_copied_spans("听起来很难，" + marked + "抱抱！", POST) == "听起来很难，抱抱！"


def test_width_and_case_do_not_hide_a_copy():
    post = "我在ABC公司做了123天项目经理"
    assert copy_rate("我在ａｂｃ公司做了１２３天项目经理", post) == 1.0
    assert mask_copied_spans("是说我在Ａbｃ公司做了１２３天的事", post) == "是说的事"


def test_a_character_that_stands_for_two_letters_is_taken_out_whole():
    assert copy_rate("今天走了五十㎞才到家", "今天走了五十km才到家") == 1.0
    assert mask_copied_spans("嗯，今天走了五十㎞才到家吧", "今天走了五十km") == "嗯，才到家吧"


def test_marks_alone_say_nothing():
    assert not any(map(has_letters, ["", "……", "😢\u200b", "\u3164"])) and has_letters("好。")


def test_pieces_around_a_copied_span_do_not_meet_again():
    answer = POST[:4] + POST[10:20] + POST[4:8]  # taken apart at the middle, the ends join to POST[:8]
    assert mask_copied_spans(answer, POST) == ""


def test_honest_answer_keeps_its_text():
    answer = "听起来你承受了很多，先好好休息一下吧。"
    assert mask_copied_spans(answer, POST) == answer


def test_bad_n_is_refused():
    with pytest.raises(ValueError, match="n must be at least 1"):
        copy_rate("a", "b", 0)


def test_longest_shared_run_against_all_runs():
    text, corpus = "今天很难过，我想哭", "我今天很难受\n很难过，我知道"
    every = [text[i:j] for i in range(len(text)) for j in range(i + 1, len(text) + 1)]
    assert (
        longest_shared_run(text, corpus)
        == max((run for run in every if run in corpus), key=len)
        == "很难过，我"
    )
    assert longest_shared_run("甲乙", corpus) == "" == longest_shared_run("", corpus)


def test_memorisation_tells_a_training_answer_from_a_new_one():
    training = ["先照顾好自己，再慢慢想办法。", "你已经很努力了，这不是你的错。"]
    table = memorisation([training[1], "下周我们去爬山吧，山上的风很大。", ""], training)
    assert table["nearest"].tolist() == [1.0, 0.0, 0.0]
    assert table["longest_run"].tolist()[0] == len(training[1]) and table["run_share"].tolist()[0] == 1.0
    assert table["longest_run"].tolist()[2] == 0
