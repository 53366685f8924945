"""Exercises of notebook 01: 5-grams, MinHash, a rule for advertisements, one for personal data, clusters.

Knows: what is asked, and the wrong turns that are usual. Does not know: how a verdict is said.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

from empathy_lib.app.exercises.slips import UNTRIED, untried
from empathy_lib.core.schema import Answer, Item
from empathy_lib.core.text import jaccard, normalise, shingles, visible_length
from empathy_lib.dataset.cleaning import advertisement_cues, is_advertisement
from empathy_lib.dataset.split import clusters
from empathy_lib.dataset.text_rules import is_chinese

_NEAR = "快考试了，我每天晚上都睡不着，越想越焦虑。"
_PAIRS = (
    (_NEAR, "快要考试了，我每天晚上都睡不着，越想越焦虑！"),
    ("哈哈哈哈哈哈哈哈，我其实很难过", "哈哈哈哈哈，我其实很难过"),
    ("同事总在背后说我，我很委屈，想离职。", "同事总在背后说我，我很委屈。"),
)


def _grams(text: str, n: int = 5) -> list[str]:
    return [text[i : i + n] for i in range(len(text) - n + 1)]


def _by_sets(n: int, clean: Callable[[str], str]) -> Callable[[str, str], float]:
    return lambda a, b: jaccard(frozenset(_grams(clean(a), n)), frozenset(_grams(clean(b), n)))


def _by_parts(share: Callable[[int, int, int], float]) -> Callable[[str, str], float]:
    """A share of what the two sets of 5-grams have in common, given that number and their sizes."""
    return lambda a, b: share(len(shingles(a) & shingles(b)), len(shingles(a)), len(shingles(b)))


def _counted(a: str, b: str) -> float:
    one, other = Counter(_grams(normalise(a))), Counter(_grams(normalise(b)))
    return (one & other).total() / (one | other).total()


_WRONG_INDEX: dict[str, Callable[[str, str], float]] = {
    "marks count as letters: keep letters and digits only, as `normalise` does": _by_sets(5, str),
    "you count a 5-gram as often as it stands there; a set holds it once": _counted,
    "that is twice the shared over the sum of both sizes (Dice); divide the shared by the union": _by_parts(
        lambda shared, a, b: 2 * shared / (a + b)
    ),
    "you divide by the smaller set; divide by the union": _by_parts(lambda shared, a, b: shared / min(a, b)),
    "you divide by the larger set; divide by the union": _by_parts(lambda shared, a, b: shared / max(a, b)),
    "you divide by the first set; divide by the union": _by_parts(lambda shared, a, b: shared / a),
    "you divide by the sum of both sizes, which counts the shared ones twice": _by_parts(
        lambda shared, a, b: shared / (a + b)
    ),
    "that is how many 5-grams are shared; the index is a share": _by_parts(lambda shared, a, b: shared),
    "that is the distance; the index is one minus it": lambda a, b: 1 - jaccard(shingles(a), shingles(b)),
} | {f"you take {n}-grams; the bar is for 5-grams": _by_sets(n, normalise) for n in (1, 2, 3, 4, 6)}


def exercise_1(mine: Callable[[str, str], float]) -> str | None:
    """The Jaccard index of the character 5-grams of two texts."""
    found = [mine(*pair) for pair in _PAIRS]
    if untried(*found):
        return UNTRIED
    if not all(isinstance(value, Real) for value in found):
        return f"your function gives {found[0]!r}; return a number"
    if not _same(found, lambda a, b: jaccard(shingles(a), shingles(b))):
        for sentence, wrong in _WRONG_INDEX.items():
            if _same(found, wrong):
                return sentence
        right = jaccard(shingles(_PAIRS[0][0]), shingles(_PAIRS[0][1]))
        return f"for {' and '.join(_PAIRS[0])} you give {found[0]:.3f}; shared over union is {right:.3f}"
    if abs(mine("你好！", "你好") - 1) > 1e-9:
        return "two equal posts of fewer than five characters must give 1: such a text is its own 5-gram"
    return None


def _same(found: Sequence[float], rule: Callable[[str, str], float]) -> bool:
    return all(abs(value - rule(*pair)) < 1e-9 for value, pair in zip(found, _PAIRS, strict=True))


_WRONG_SIZE = {
    4.2: "you divide the variance by the error; divide it by the error squared",
    5: "you divide the variance by the error; divide it by the error squared",
    9.17: "you divide the standard deviation by the error; square both",
    10: "you divide the standard deviation by the error; square both",
    100: "that suffices for every J (the worst is 0.5); at J = 0.7 fewer do",
    128: "that is what the library takes; how few would do?",
    323: "that makes the 95 % interval ± 0.05; asked is the standard error",
    280: "you leave out 1 − J",
    120: "you leave out J, and keep 1 − J",
    400: "that is 1/k for the variance; the entries agree or not, so it is J (1 − J) / k",
}


def exercise_2(mine: float) -> str | None:
    """How many entries a signature needs for a standard error of 0.05 at J = 0.7."""
    if not isinstance(mine, Real) or isinstance(mine, bool):
        return f"give a number, not {type(mine).__name__}"
    if abs(mine - 84) < 1e-6:
        return None
    for value, sentence in _WRONG_SIZE.items():
        if abs(mine - value) < 0.5 and mine > 0:
            return sentence
    if mine <= 0:
        return "a signature has at least one entry"
    error = (0.7 * 0.3 / mine) ** 0.5
    return f"with {mine:g} entries the standard error is {error:.4f}; the fewest for 0.05 are asked"


_SELLS = re.compile(
    r"[a-zA-Z0-9]{4,}|[信課课价價元费惠买買售卖号號群薇薪店链扣券]|联系|私聊|私我|咨询|预约|报名|加我|找我|主页|头像|福利|名额"
)
HONEST = (
    "听起来你最近真的很累，谢谢你愿意说出来。",
    "可以先和信任的家人或朋友聊一聊，不必一个人扛着。",
    "如果两周后还是睡不好，建议去医院的心理科看看，或者预约学校的心理咨询师。",
    "考试没考好不等于你不行，下次可以早一点开始复习。",
    "你可以试着告诉他：我需要一点时间，过几天再谈。",
    "每天给自己二十分钟，散步、听歌，什么都不想。",
    "情况紧急的时候，请拨打12356，会有人听你说。",
    "我也有过类似的经历，后来慢慢就好了，相信你也可以。",
)


def exercise_3(advertisement: str, cue: str, honest: Sequence[str] = ()) -> str | None:
    """An advertisement that the rules miss, and a cue that finds it and no honest answer."""
    if not isinstance(advertisement, str) or not isinstance(cue, str):
        return "give two texts: an advertisement, and a regular expression that finds it"
    try:
        pattern = re.compile(cue)
    except re.error as error:
        return f"your cue is no regular expression: {error}"
    if visible_length(advertisement) < 15 or not is_chinese(advertisement):
        return "write a Chinese reply of at least 15 characters"
    if is_advertisement(advertisement):
        return f"the rules find it: {'; '.join(advertisement_cues(advertisement))}; disguise that"
    if not _SELLS.search(advertisement):
        return "it neither offers anything nor says how to reach you, so it is no advertisement"
    if pattern.search(""):
        return "your cue finds the empty text, so it would remove every answer"
    if not (found := pattern.search(advertisement)):
        return "your cue does not find your own advertisement"
    if victim := next((text for text in (*HONEST, *honest) if pattern.search(text)), None):
        return f"an honest answer falls victim to your cue: {victim}"
    if len(found.group()) > 12:
        return f"your cue is most of one advertisement ({found.group()}); shorten it, so that it finds others"
    return None


_IDS = (
    ("加我小红书号：sunny_2008，一起聊", "sunny_2008"),
    ("我的抖音号是 mengmeng520", "mengmeng520"),
    ("小红书号xiaoyu.99，想找个人说话", "xiaoyu.99"),
    ("抖音号: Lucky-77 就是我，别笑", "Lucky-77"),
)
_HARMLESS = (
    "我在小红书上看到一篇2023年的文章",
    "每天刷抖音3小时，停不下来",
    "抖音号被封了，我很难过",
    "他的小红书号我早就忘了，2008年的事",
    "考了985，还是不开心",
)


def exercise_4(mine: str) -> str | None:
    """A pattern whose one group is the id of a Xiaohongshu or Douyin account."""
    if not isinstance(mine, str):
        return "give the pattern as text"
    try:
        pattern = re.compile(mine)
    except re.error as error:
        return f"no regular expression: {error}"
    if pattern.groups != 1:
        return f"put the id, and only it, into one group, (…); your pattern has {pattern.groups}"
    for text, wanted in _IDS:
        found = pattern.search(text)
        if found is None:
            return f"it misses the id in: {text}"
        taken = found.group(1) or ""
        if taken != wanted and wanted in taken:
            return f"it takes more than the id {wanted}: {taken}"
        if taken != wanted:
            return f"it takes {taken!r}, and the id is {wanted!r}"
    for text in _HARMLESS:
        if found := pattern.search(text):
            return f"it takes {found.group(1)!r}, which names nobody, from: {text}"
    return None


_CHAIN = (
    "妈妈总拿我和别人比，我做什么都不对，每天回家都不想说话，心里很累很难过。",
    "同事总在背后议论我，我很委屈，也不敢当面去问。",
    "妈妈总拿我和别人比，我做什么都不对，每天回家都不想说话，心里很累很难过，怎么办呢。",
    "其实妈妈总拿我和别人比，我做什么都不对，每天回家都不想说话，心里很累很难过，怎么办呢大家。",
    "分手三个月了，晚上还是会想起他。",
)
BAR = 0.8


def _truth() -> set[frozenset[int]]:
    items = [
        Item(id=str(i), question=post, answers=[Answer(text=f"回复{i}")]) for i, post in enumerate(_CHAIN)
    ]
    return {frozenset(group) for group in clusters(items, BAR)}


def exercise_5(mine: Callable[[Sequence[str], float], Any]) -> str | None:
    """Clusters of posts, as lists of their places: near-duplicates of near-duplicates too."""
    found = mine(list(_CHAIN), BAR)
    if untried(found):
        return UNTRIED
    try:
        groups = [[int(place) for place in group] for group in found]
    except (TypeError, ValueError):
        return "return a list of groups, each a list of places such as [0, 2]"
    places = Counter(place for group in groups for place in group)
    if wrong := [place for place in places if not 0 <= place < len(_CHAIN)]:
        return f"there is no post {wrong[0]}: places start at 0"
    if twice := [place for place, count in places.items() if count > 1]:
        return f"post {twice[0]} stands in two groups: join groups that share a post"
    if lost := sorted(set(range(len(_CHAIN))) - set(places)):
        return f"post {lost[0]} stands in no group: a post without a near-duplicate is a group of its own"
    sets, truth = {frozenset(group) for group in groups}, _truth()
    if sets == truth:
        return None
    if len(sets) == len(_CHAIN):
        return "you found no near-duplicates: compare each post with every other, at or above the bar"
    if any(group > true for group in sets for true in truth):
        return "you put posts together that share no chain of near-duplicates"
    return (
        "posts 0 and 3 are near-duplicates of post 2, not of each other; all three belong together, "
        "or a copy crosses the splits"
    )
