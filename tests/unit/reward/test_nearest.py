"""The nearest candidate by sentence or gist; nothing in common, a tie, an unknown gist identify nothing."""

import math

import pytest

from empathy_lib.reward import nearest
from empathy_lib.reward.nearest import Candidate, Nearest

CAUSES = Nearest(
    [
        Candidate("被当众批评过", "上周开会他当着所有人的面说我不行。", "工作"),
        Candidate("背着房贷", "每个月的工资一到手就全交给银行了。", "工作"),
        Candidate("父母常年争吵", "小时候爸妈几乎天天在客厅里吵。", "家庭"),
    ]
)


def test_the_gist_the_sentence_and_parts_of_either_identify():
    for text in ("因为背着房贷。", "每个月的工资一到手就全交给银行了。", "他说「工资一到手就全交给银行」"):
        assert CAUSES.identifies(text, "背着房贷") == (1, 1), text
        assert CAUSES.identifies(text, "父母常年争吵")[0] == 0


def test_the_nearest_of_the_subtopic_need_not_be_the_nearest_of_all():
    text = "爸妈天天在客厅里吵，还有房贷"
    assert CAUSES.identifies(text, "背着房贷") == (0, 1)


def test_nothing_in_common_and_a_tie_identify_nothing():
    assert CAUSES.identifies("", "背着房贷") == CAUSES.identifies("乙丙丁戊", "背着房贷") == (0, 0)
    twins = Nearest([Candidate("甲乙", subtopic="x"), Candidate("丙丁", subtopic="x")])
    assert twins.identifies("甲乙丙丁", "甲乙") == (0, 0)


def test_a_label_of_a_users_own_joins_the_candidates():
    assert all(map(math.isnan, CAUSES.identifies("邻居太吵", "邻居太吵睡不着")))
    more = CAUSES.knowing(["邻居太吵睡不着", "背着房贷", ""])
    assert len(more.candidates) == 4 and more.knowing(["背着房贷"]) is more
    assert more.identifies("邻居太吵", "邻居太吵睡不着")[0] == 1
    assert math.isnan(more.identifies("邻居太吵", "邻居太吵睡不着")[1])
    assert more.identifies("邻居太吵", "背着房贷") == (0, 0)


def test_chance_counts_the_candidates():
    assert CAUSES.chance("背着房贷") == (1 / 3, 1 / 2) and CAUSES.chance("父母常年争吵") == (1 / 3, 1)
    assert all(map(math.isnan, CAUSES.chance("没有")))


def test_a_text_that_names_two_of_a_subtopic_or_is_as_near_to_the_rest_identifies_nothing():
    both = "被当众批评过，也背着房贷"
    assert CAUSES.lists(both, "背着房贷") and not CAUSES.lists("背着房贷，父母常年争吵", "背着房贷")
    assert CAUSES.identifies("背着房贷", "背着房贷", "") == (1, 1)
    assert CAUSES.identifies(both, "背着房贷", "") == CAUSES.identifies(both, "被当众批评过", "") == (0, 0)
    rest = "他说每个月的房贷，爸妈在客厅里争吵。"
    assert CAUSES.identifies("房贷，客厅里争吵", "父母常年争吵", rest)[0] == 0
    assert CAUSES.likeness("背着房贷", "背着房贷") == pytest.approx(1)


def test_what_is_remembered_of_texts_is_bounded(monkeypatch):
    monkeypatch.setattr(nearest, "_KEPT", 3)
    few = nearest.Nearest(CAUSES.candidates)
    for number in range(10):
        few.cosines(f"第{number}次被批评")
    assert len(few._rows) <= 3 and len(few._known) <= 3
