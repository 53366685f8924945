"""Words and characters."""

from hypothesis import given
from hypothesis import strategies as st

from empathy_lib.core.segment import Segmenter


def test_characters_and_words_by_hand():
    text = "我很难过，Sigh 2次！"
    assert Segmenter("char").tokenize(text) == ["我", "很", "难", "过", "sigh", "2", "次"]
    assert Segmenter("char", punctuation=True).tokenize(text) == [
        "我",
        "很",
        "难",
        "过",
        "，",
        "sigh",
        "2",
        "次",
        "！",
    ]
    assert Segmenter("word").tokenize("我很难过，真的。") == ["我", "很", "难过", "真的"]


@given(st.text(max_size=40))
def test_words_lose_no_letter_that_characters_keep(text):
    words = "".join(Segmenter("word", punctuation=True).tokenize(text))
    assert words == "".join(text.lower().split())
