"""A whole study rated in a real, headless Chromium: by clicks and by keys, with a stop, a killed server and a
phone's screen."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from empathy_lib.core.completions import CHECK_PREFIX
from empathy_lib.core.paper import DIMENSIONS
from empathy_lib.core.run import ROOT
from empathy_lib.human_eval.design import build_study, write_study
from empathy_lib.human_eval.ratings import read_ratings
from empathy_lib.human_eval.run.collect import open_collection

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install -r requirements.txt"
)
expect = playwright.expect
expect.set_options(timeout=30_000)  # a busy machine
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None and "EMPATHY_NEEDS_BROWSER" not in os.environ,
    reason="no Chromium found: install it (apt install chromium) to test the page in a browser",
)


def test_there_is_a_browser():
    assert CHROMIUM, "EMPATHY_NEEDS_BROWSER is set and there is no Chromium: apt install chromium"


SYSTEMS = ("grpo", "sft", "base")
RATERS = ("rater-01", "rater-02")
# What everybody thinks of each system, by dimension; base and sft tie on Suggestion.
OPINION = {
    "Fluency": {"grpo": 1, "sft": 2, "base": 3},
    "Identification": {"grpo": 2, "sft": 1, "base": 3},
    "Comforting": {"grpo": 1, "sft": 3, "base": 2},
    "Suggestion": {"grpo": 1, "sft": 2, "base": 2},
}
POSTS = {
    "q1": "考试没考好，怕爸妈失望，整夜睡不着。<script>document.title='broken'</script>",
    "q2": "和室友吵架以后，\n我一直觉得委屈。" * 20,
    "q3": "面试又没通过，觉得自己什么都做不好。",
}


def opinion(dimension, name):
    """The rank of a reply that the key calls ``name``; on an attention check, what the reply asks for."""
    return OPINION[dimension][name] if name in SYSTEMS else 1 if name == f"{CHECK_PREFIX}first" else 2


class Server:
    """``python -m empathy_lib rate`` as a process, on a port of its own that it keeps over restarts."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, 0
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "empathy_lib", "rate", str(self.folder), "--port", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8", cwd=ROOT)
        said = []
        for line in self.process.stdout:
            said.append(line)
            if "Ctrl-C" in line:
                break
        self.links = dict(
            re.findall(r"^(rater-\d+)  (http://127\.0\.0\.1:\d+/\?rater=\S+)$", "".join(said), re.MULTILINE)
        )
        self.port = int(self.links["rater-01"].split(":")[2].split("/")[0])

    def end(self, how: signal.Signals) -> str:
        self.process.send_signal(how)
        return self.process.communicate(timeout=20)[0]


@pytest.fixture
def folder(tmp_path):
    """Two raters; two items and an attention check each; texts that would run, break the layout or are
    long."""
    replies = {
        "grpo": "听起来你很累。<b>先睡一觉</b><img src=x onerror=\"document.title='broken'\">",
        "sft": "别担心。" * 60,
        "base": "A" * 300,
    }
    completions = {item: {system: f"{text} {item}" for system, text in replies.items()} for item in POSTS}
    write_study(
        build_study(completions, POSTS, raters=2, items=2, attention_checks=1, rng=np.random.default_rng(3)),
        tmp_path,
    )
    return tmp_path


@pytest.fixture
def server(folder):
    server = Server(folder)
    yield server
    if server.process.poll() is None:
        server.end(signal.SIGKILL)


@pytest.fixture
def browser():
    with playwright.sync_playwright() as started:
        # Chromium's own sandbox needs what root in a container may lack; the page under test is ours
        launched = started.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"] if os.geteuid() == 0 else []
        )
        yield launched
        launched.close()


def new_page(browser, width, height):
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(60_000)
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(error))
    page.on(
        "console",
        lambda said: page.faults.append(said.text) if "Content Security Policy" in said.text else None,
    )
    return page


def item_and_letters(page, folder, rater):
    """Which item the page shows, and letter -> name; from the key, since the page does not say. Looks that
    text is shown as text."""
    page.wait_for_load_state()  # until the style sheet is there, line breaks are not
    shown = page.locator(".post .text").inner_text()
    item = next(item for item, post in POSTS.items() if post[:8] == shown[:8])
    assert (
        shown == POSTS[item]
        and "broken" not in page.title()
        and page.locator(".reading :is(b, img, script)").count() == 0
    )
    names = json.loads((folder / "key.json").read_text())[rater][item]
    assert CHECK_PREFIX not in page.content() and not set(SYSTEMS) & set(re.findall(r"\w+", page.content()))
    return item, names


def no_sideways_scroll(page):
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def choose(page, dimension, letter, rank):
    page.locator(f'input[name="{dimension} {letter}"][value="{rank}"]').check()


def saved(page):
    expect(page.locator("#status")).to_have_text(re.compile("已保存"))


def cli(*arguments):
    command = [sys.executable, "-m", "empathy_lib", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, encoding="utf-8").stdout


def test_two_raters_rate_a_whole_study(server, browser, folder, tmp_path):
    by_clicks(server, new_page(browser, 1366, 850), folder)
    by_keys_on_a_phone(server, new_page(browser, 390, 844), folder)
    assert (
        "6 sheets complete, 0 begun, 0 not begun" in server.end(signal.SIGINT)
        and server.process.returncode == 0
    )

    seconds = {row[:2]: row[-1] for row in open_collection(folder).store.complete_ratings()}
    assert len(seconds) == 6 and all(0 < value < 600 for value in seconds.values())
    out, ranking = tmp_path / "ratings.csv", tmp_path / "ranking.json"
    assert "6 sheets; left out: 0 incomplete, 0 not begun" in cli("rate", folder, "--export", out)
    ratings = read_ratings(out)
    assert len(ratings) == len(RATERS) * 3 * len(DIMENSIONS) * len(SYSTEMS)
    assert all(row.rank == opinion(row.dimension, row.system) for row in ratings.itertuples())
    assert "attention checks passed: 2 of 2" in cli("rank", out, "--out", ranking)
    assert json.loads(ranking.read_text())["Fluency"]["grpo"]["win_at_1"] == 1.0


def by_clicks(server, page, folder):
    """Rater 1, at a desk: consents, stops and goes on, outlives the server's death, changes a rank."""
    link = server.links["rater-01"]
    page.goto(link)
    assert "12356" in page.inner_text(".warning >> nth=0") and page.locator("button[value=stop]").is_visible()
    page.get_by_role("button", name="同意参加").click()
    item, letters = item_and_letters(page, folder, "rater-01")
    boxes = [page.locator(".reply").nth(n).bounding_box() for n in range(3)]
    assert boxes[0]["y"] == boxes[1]["y"] and boxes[0]["x"] < boxes[1]["x"], "replies are not side by side"
    for letter, name in letters.items():
        choose(page, "Fluency", letter, opinion("Fluency", name))
    saved(page)

    page.get_by_role("button", name="停止").click()
    expect(page.locator("h1")).to_contain_text("已停止")
    assert "12356" in page.inner_text(".help")
    page.goto(link)
    page.get_by_role("button", name="接着做").click()
    assert (
        item_and_letters(page, folder, "rater-01")[0] == item and page.locator("input:checked").count() == 3
    )

    page.get_by_role("button", name="下一份").click()  # the browser keeps the rater here: ranks are missing
    assert page.locator("form#sheet input:invalid").count() > 0 and "/sheet/1?" in page.url
    for dimension in DIMENSIONS[1:]:
        for letter, name in letters.items():
            if (dimension, letter) == ("Suggestion", "C"):
                saved(page)
                server.end(signal.SIGKILL)
            choose(page, dimension, letter, opinion(dimension, name))
    expect(page.locator("#status")).to_have_text(re.compile("未保存"))
    # the page does not leave with a rank that nobody has kept
    page.get_by_role("button", name="下一份").click()
    server.start()
    assert server.links["rater-01"] == link, "the link changed"
    saved(page)
    assert "/sheet/1?" in page.url and page.locator("input:checked").count() == 12
    page.get_by_role("button", name="下一份").click()

    for number in (2, 3):
        page.wait_for_url(f"**/sheet/{number}?*")
        assert (
            page.locator("progress").get_attribute("value") == str(number - 1)
            and page.locator("input:checked").count() == 0
        )
        _, letters = item_and_letters(page, folder, "rater-01")
        for dimension in DIMENSIONS:
            for letter, name in letters.items():
                choose(
                    page,
                    dimension,
                    letter,
                    opinion(dimension, name) if (number, dimension) != (3, "Fluency") else 1,
                )
        page.locator("button[value=next]").click()
    expect(page.locator("h1")).to_contain_text("全部完成")
    page.locator(".overview a").nth(2).click()
    for letter, name in letters.items():  # three replies that were tied get other ranks
        choose(page, "Fluency", letter, opinion("Fluency", name))
    saved(page)
    page.get_by_role("link", name="上一份").click()
    page.wait_for_url("**/sheet/2?*")
    assert page.locator("input:checked").count() == 12
    assert page.faults == []

    answer = page.goto(link[:-1])  # one character short
    assert answer.status == 403 and "考试" not in page.content() and "rater-0" not in page.inner_text("body")
    page.close()


def by_keys_on_a_phone(server, page, folder):
    """Rater 2, on a screen of 390 px, uses Tab, digits, arrows and Enter only; sees nothing of rater 1."""
    page.goto(server.links["rater-02"])
    assert no_sideways_scroll(page)
    tab_to(page, "button[value=consent]")
    page.keyboard.press("Enter")
    for number in (1, 2, 3):
        page.wait_for_url(f"**/sheet/{number}?*")
        assert no_sideways_scroll(page) and page.locator("input:checked").count() == 0
        boxes = [page.locator(".reply").nth(n).bounding_box() for n in range(3)]
        assert boxes[0]["x"] == boxes[1]["x"] and boxes[0]["y"] < boxes[1]["y"], "replies do not stack"
        sizes = page.locator(".ranks label, button:visible").evaluate_all(
            "all => all.map(one => one.getBoundingClientRect().height)"
        )
        assert min(sizes) >= 44, "something is too small to touch"
        _, letters = item_and_letters(page, folder, "rater-02")
        tab_to(page, "input[name='Fluency A']")
        for dimension in DIMENSIONS:
            for letter, name in letters.items():
                assert page.evaluate("document.activeElement.name") == f"{dimension} {letter}"
                outline = "getComputedStyle(document.activeElement.nextElementSibling).outlineStyle"
                assert page.evaluate(outline) == "solid", "the focus cannot be seen"
                rank = opinion(dimension, name)
                if dimension == "Comforting":
                    page.keyboard.press("Space")
                    for _ in range(rank - 1):
                        page.keyboard.press("ArrowRight")
                else:
                    page.keyboard.press(str(rank))
                assert page.locator(f'input[name="{dimension} {letter}"]:checked').get_attribute(
                    "value"
                ) == str(rank)
                page.keyboard.press("Tab")
        page.locator("a.letter").nth(1).click()  # a touch: the reply comes up over the ranks
        assert page.locator("#peek .text").inner_text() == page.locator(".reply .text").nth(1).inner_text()
        page.keyboard.press("Escape")
        page.locator("input:checked").last.focus()
        page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("全部完成")
    assert no_sideways_scroll(page) and page.faults == []
    page.close()


def tab_to(page, selector):
    """Press Tab until the element has the focus."""
    for _ in range(60):
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{selector} cannot be reached with Tab")
