"""The nearest candidate by sentence or gist; nothing in common, a tie, an unknown gist identify nothing."""

import math

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
