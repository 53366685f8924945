import pytest

from empathy_lib.core.errors import UserError
from empathy_lib.core.schema import Answer, Item
from empathy_lib.models.retrieval import Bm25Retriever

POSTS = {
    "work": "最近工作压力很大，老板天天让我加班。",
    "love": "和男朋友分手以后，我每天都在哭。",
    "exam": "考试没有考好，我觉得自己很没用。",
}


def item(key: str, question: str) -> Item:
    return Item(id=key, question=question, answers=[Answer(text=f"第一个回答 {key}"), Answer(text="另一个")])


@pytest.fixture(scope="module")
def retriever():
    return Bm25Retriever([item(key, question) for key, question in POSTS.items()])


@pytest.mark.parametrize(
    ("question", "expected"), [("老板又让我加班", "work"), ("我和他分手了", "love"), ("考试考砸了", "exam")]
)
def test_the_post_on_the_same_matter_is_found(retriever, question, expected):
    hit = retriever.retrieve(question)
    assert hit.item_id == expected
    assert hit.answer == f"第一个回答 {expected}"
    assert hit.score > 0


def test_no_common_word_gives_the_first_with_score_zero(retriever):
    hit = retriever.retrieve("hello")
    assert (hit.item_id, hit.score) == ("work", 0.0)


def test_answers_keep_the_order_of_questions(retriever):
    assert retriever.answers(["分手", "加班"]) == ["第一个回答 love", "第一个回答 work"]


def test_items_without_words_or_answers_are_skipped_and_none_left_is_refused():
    empty = Item(id="x", question="老板加班", answers=[])
    marks = item("marks", "……")
    assert Bm25Retriever([empty, marks, item("work", POSTS["work"])]).retrieve("老板加班").item_id == "work"
    with pytest.raises(UserError, match="no training item"):
        Bm25Retriever([empty, marks])
