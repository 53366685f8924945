"""Each exercise of notebook 01: the right answer passes, the starter is not tried, a wrong turn has its own
sentence."""

import pytest

from empathy_lib.app.exercises import verdict
from empathy_lib.app.exercises.n01 import _IDS, BAR
from empathy_lib.core.text import jaccard, normalise, shingles
from empathy_lib.dataset.deduplicate import compare_all
from empathy_lib.dataset.deidentify import find


def grams(text, n=5, clean=normalise):
    plain = clean(text)
    return {plain[i : i + n] for i in range(max(1, len(plain) - n + 1))}


def index(n=5, clean=normalise, share=lambda a, b: len(a & b) / len(a | b)):
    return lambda one, other: share(grams(one, n, clean), grams(other, n, clean))


def alone(posts, bar):
    return [[place] for place in range(len(posts))]


def connected(posts, bar, start=alone):
    groups = [set(group) for group in start(posts, bar)]
    for i, j, _ in compare_all(posts, bar):
        one = next(group for group in groups if i in group)
        other = next(group for group in groups if j in group)
        if one is not other:
            one |= other
            groups.remove(other)
    return [sorted(group) for group in groups]


def counted(one, other):
    lists = [[text[i : i + 5] for i in range(len(text) - 4)] for text in map(normalise, (one, other))]
    every = set(lists[0] + lists[1])
    both = [sum(f(each.count(gram) for each in lists) for gram in every) for f in (min, max)]
    return both[0] / both[1]


AD = "需要的朋友可以看我的围脖，名字是心灵小屋，那里有人一直陪着你。"
RIGHT = {
    "01.1": [(lambda a, b: jaccard(shingles(a), shingles(b)),), (index(),)],
    "01.2": [(84,), (84.0,)],
    "01.3": [(AD.replace("围脖", "主页简介"), "主页简介")],
    "01.4": [(r"(?:小红书|抖音)号[是：:\s]*([A-Za-z][\w.\-]{3,})",)],
    "01.5": [(connected,)],
}
STARTERS = {
    "01.1": (lambda a, b: ...,),
    "01.2": (...,),
    "01.3": (..., ...),
    "01.4": (...,),
    "01.5": (lambda posts, bar: ...,),
}
WRONG = [
    ("01.1", index(clean=str), "marks count as letters"),
    ("01.1", index(n=2), "you take 2-grams"),
    ("01.1", index(n=6), "you take 6-grams"),
    ("01.1", counted, "a set holds it once"),
    ("01.1", index(share=lambda a, b: 2 * len(a & b) / (len(a) + len(b))), "Dice"),
    ("01.1", index(share=lambda a, b: len(a & b) / min(len(a), len(b))), "smaller set"),
    ("01.1", index(share=lambda a, b: len(a & b) / max(len(a), len(b))), "larger set"),
    ("01.1", index(share=lambda a, b: len(a & b) / len(a)), "first set"),
    ("01.1", index(share=lambda a, b: len(a & b) / (len(a) + len(b))), "counts the shared ones twice"),
    ("01.1", index(share=lambda a, b: len(a & b)), "the index is a share"),
    ("01.1", index(share=lambda a, b: 1 - len(a & b) / len(a | b)), "that is the distance"),
    ("01.1", lambda a, b: 0.5, "you give 0.500; shared over union is"),
    ("01.1", lambda a, b: "0.5", "return a number"),
    ("01.1", lambda a, b: jaccard(shingles(a), shingles(b)) if len(a) > 4 else 0, "fewer than five"),
    ("01.2", 4.2, "divide it by the error squared"),
    ("01.2", 10, "square both"),
    ("01.2", 100, "the worst is 0.5"),
    ("01.2", 128, "what the library takes"),
    ("01.2", 323, "95 % interval"),
    ("01.2", -3, "at least one entry"),
    ("01.2", 60, "the standard error is 0.0592"),
    ("01.2", "84", "give a number"),
    ("01.3", (AD, "("), "no regular expression"),
    ("01.3", ("加微信吧", "微信"), "at least 15 characters"),
    ("01.3", ("关注公众号领取免费课程，限时优惠，名额不多了。", "公众号"), "the rules find it"),
    ("01.3", ("听你这么说，我也觉得很难过，慢慢来吧。", "慢慢来"), "neither offers anything"),
    ("01.3", (AD.replace("围脖", "主页简介"), "x*"), "finds the empty text"),
    ("01.3", (AD.replace("围脖", "主页简介"), "抖店"), "does not find your own"),
    ("01.3", (AD.replace("围脖", "主页简介"), "可以"), "falls victim"),
    ("01.3", (AD.replace("围脖", "主页简介"), "主页简介，名字是心灵小屋，那里"), "most of one advertisement"),
    ("01.4", 3, "as text"),
    ("01.4", "[", "no regular expression"),
    ("01.4", r"小红书号\w+", "into one group"),
    ("01.4", r"小红书号[：:]?([\w.]+)", "it misses the id in"),
    ("01.4", r"(?:小红书|抖音)号[是：:\s]*([a-z]+)", "and the id is"),
    ("01.4", r"((?:小红书|抖音)号[是：:\s]*[\w.\-]+)", "more than the id"),
    ("01.4", r"(?:小红书|抖音)号?\D*?([A-Za-z0-9][\w.\-]*)", "which names nobody"),
    ("01.5", alone, "you found no near-duplicates"),
    ("01.5", lambda posts, bar: [[i, j] for i, j, _ in compare_all(posts, bar)], "stands in two groups"),
    ("01.5", lambda posts, bar: [[0, 2, 3]], "stands in no group"),
    ("01.5", lambda posts, bar: [[0, 2], [3], [1], [4]], "posts 0 and 3"),
    ("01.5", lambda posts, bar: [[0, 1, 2, 3, 4]], "share no chain of near-duplicates"),
    ("01.5", lambda posts, bar: [[1, 2, 3, 4, 5]], "places start at 0"),
    ("01.5", lambda posts, bar: 3, "return a list of groups"),
]


@pytest.mark.parametrize("exercise", RIGHT)
def test_the_right_answer_passes_and_the_starter_is_not_tried(exercise):
    for answer in RIGHT[exercise]:
        assert verdict(exercise, *answer) is None
    assert verdict(exercise, *STARTERS[exercise]).startswith("not tried yet")


@pytest.mark.parametrize(("exercise", "answer", "sentence"), WRONG)
def test_a_wrong_turn_is_told_what_is_wrong_with_it(exercise, answer, sentence):
    assert sentence in verdict(exercise, *(answer if isinstance(answer, tuple) else (answer,)))


def test_an_answer_of_the_readers_own_source_may_fall_victim_too():
    text = "我的主页简介里写着：失眠三年。"
    assert "falls victim" in verdict("01.3", AD.replace("围脖", "主页简介"), "主页简介", [text])


def test_what_the_exercises_ask_for_is_not_done_by_the_library_already():
    for text, wanted in _IDS:
        assert all(wanted not in text[found.start : found.end] for found in find(text)), text
    assert 0 < BAR < 1
