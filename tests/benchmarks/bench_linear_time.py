"""No text takes more than its share of time: eight times the length takes about eight times as long, in every
compiled pattern and every public function of cleaning, text rules, de-identification and the rules annotator.

By hand: ``pytest tests/benchmarks/bench_linear_time.py`` (minutes). No time is asserted, only a ratio: 64
would be quadratic, 24 is between; what is too quick to tell passes.
"""

import re
import time

import pytest

from empathy_lib.dataset import cleaning, deidentify, organisations, people, text_rules, turns, words
from empathy_lib.dataset.rules import beliefs, clauses, feelings, requests, safety
from empathy_lib.dataset.rules.chain import default_rules

SHORT, FACTOR, BOUND, TELLING = 1_000, 8, 24, 0.03
MODULES = (
    *(cleaning, text_rules, deidentify, organisations, people, turns, words),
    *(beliefs, clauses, feelings, requests, safety),
)
UNITS = (
    *("1", "0123456789abcdef", "a", "a.", "a-", "a@", "-", "我", "市", " ", "\n", "。", "，！？", "."),
    *(
        "微信",
        "加",
        "qq",
        "加微信",
        "微信 5",
        "vx ",
        "q1",
        "<",
        "<a ",
        "<b>",
        "<br ",
        "<think>",
        "<!--",
        "&amp;",
    ),
    *(
        "1号",
        "市路1号",
        "区路",
        "路",
        "大学",
        "深圳大学",
        "公司",
        "在腾讯",
        "叫我王",
        "室友小",
        "王老师",
        "一",
        "1年1月",
    ),
    *("http://", "www.", "+86", "只要1", "支持者：", "如果", "请勿", "<a b=", "本文由", "A1 加微信qq叫李"),
)
TAILS = (
    "微信{} ",
    "我{}死",
    "因为{}，",
    "<br{} ",
    "<a{} ",
    "qq{} ",
    "加{}1",
    "<script>{}a",
    "<!--{}a",
    "&#{}1",
)  # one cue, then a run


def texts(size: int) -> list[str]:
    whole = [(unit * size)[:size] for unit in UNITS]
    tails = [head + run * (size - len(head)) for head, run in (tail.split("{}") for tail in TAILS)]
    mixed = "".join(UNITS[(7 * i * i + i) % len(UNITS)] for i in range(size))[:size]
    return [*whole, *tails, mixed]


def patterns() -> list[re.Pattern[str]]:
    found = []
    for module in MODULES:
        for value in vars(module).values():
            values = value.values() if isinstance(value, dict) else [value]
            for one in values:
                found += [p for p in (one if isinstance(one, list) else [one]) if isinstance(p, re.Pattern)]
    return list(dict.fromkeys(found))


FUNCTIONS = {
    **text_rules.TEXT_RULES,
    "is_chinese": text_rules.is_chinese,
    "advertisement_cues": cleaning.advertisement_cues,
    "find": deidentify.find,
    "to_html": deidentify.to_html,
    "rules": lambda text: default_rules().chain(text),
    "cut": lambda text: turns.cut(("client", text, "0")),
}


def best(work, text: str) -> float:
    taken = []
    while len(taken) < 3 and sum(taken) < 1:
        start = time.process_time()
        work(text)
        taken.append(time.process_time() - start)
        if taken[0] < TELLING / FACTOR:
            break
    return min(taken)


def check(name: str, work) -> None:
    work("我叫李明，在深圳大学读书。")  # what is loaded once
    for short, long in zip(texts(SHORT), texts(SHORT * FACTOR), strict=True):
        if (much := best(work, long)) > TELLING:
            assert much / max(best(work, short), 1e-4) < BOUND, (name, long[:20])


@pytest.mark.parametrize(
    "pattern", patterns(), ids=lambda pattern: pattern.pattern[:24].encode("unicode_escape").decode()
)
def test_patterns(pattern):
    check(pattern.pattern[:60], lambda text: sum(1 for _ in pattern.finditer(text)))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    check(name, FUNCTIONS[name])


def test_every_pattern_is_here():
    assert len(patterns()) >= 40


def test_the_check_sees_a_quadratic_pattern():
    with pytest.raises(AssertionError):
        check("quadratic", lambda text: sum(1 for _ in re.finditer(r"\d+x", text)))
