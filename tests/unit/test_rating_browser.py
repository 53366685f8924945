"""A whole study rated in a real, headless Chromium: by clicks and by keys, with a stop, a killed server and a phone's screen."""

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
from playwright.sync_api import expect, sync_playwright

from empathy_lib.artefacts import ROOT
from empathy_lib.human_eval.collect import open_collection
from empathy_lib.human_eval.design import build_study, write_study
from empathy_lib.human_eval.ratings import DIMENSIONS, read_ratings

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium found: install it (apt install chromium) to test the page in a browser"
)

SYSTEMS = ("grpo", "sft", "base")
RATERS = ("rater-01", "rater-02")
# What everybody thinks of each system, by dimension; base and sft tie on Suggestion.
OPINION = {
    "Fluency": {"grpo": 1, "sft": 2, "base": 3},
    "Identification": {"grpo": 2, "sft": 1, "base": 3},
    "Comforting": {"grpo": 1, "sft": 3, "base": 2},
    "Suggestion": {"grpo": 1, "sft": 2, "base": 2},
}


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
        self.links = dict(re.findall(r"^(rater-\d+)  (http://127\.0\.0\.1:\d+/\?rater=\S+)$", "".join(said), re.MULTILINE))
        self.port = int(self.links["rater-01"].split(":")[2].split("/")[0])

    def end(self, how: signal.Signals) -> str:
        self.process.send_signal(how)
        return self.process.communicate(timeout=20)[0]


@pytest.fixture
def folder(tmp_path):
    posts = {
        "q1": "考试没考好，怕爸妈失望，整夜睡不着。<script>document.title='broken'</script>",
        "q2": "和室友吵架以后，\n我一直觉得委屈。" * 20,
    }
    replies = {"grpo": "听起来你很累。<b>先睡一觉</b>", "sft": "别担心。" * 60, "base": "A" * 300}
    completions = {item: {system: f"{text} {item}" for system, text in replies.items()} for item in posts}
    write_study(build_study(completions, posts, raters=2, items=2, rng=np.random.default_rng(3)), tmp_path)
    return tmp_path


@pytest.fixture
def server(folder):
    server = Server(folder)
    yield server
    if server.process.poll() is None:
        server.end(signal.SIGKILL)


@pytest.fixture
def browser():
    with sync_playwright() as playwright:
        # Chromium's own sandbox needs what root in a container may lack; the page under test is ours
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        yield launched
        launched.close()


def item_and_letters(page, folder, rater):
    """Which item the page shows, and letter -> system; from the key, since the page does not say."""
    shown = page.locator(".post").inner_text()
    item = "q1" if "考试" in shown else "q2"
    return item, json.loads((folder / "key.json").read_text())[rater][item]


def no_sideways_scroll(page):
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def choose(page, dimension, letter, rank):
    page.locator(f'input[name="{dimension} {letter}"][value="{rank}"] + span').click()


def test_two_raters_rate_a_whole_study(server, browser, folder, tmp_path):
    by_clicks(server, browser.new_page(viewport={"width": 1366, "height": 850}), folder)
    by_keys_on_a_phone(server, browser.new_page(viewport={"width": 390, "height": 844}), folder)
    assert "4 sheets complete, 0 begun, 0 not begun" in server.end(signal.SIGINT) and server.process.returncode == 0

    store = open_collection(folder).store
    seconds = {row[:2]: row[-1] for row in store.complete_ratings()}
    assert len(seconds) == 4 and all(0 < value < 120 for value in seconds.values())
    out = tmp_path / "ratings.csv"
    subprocess.run([sys.executable, "-m", "empathy_lib", "rate", str(folder), "--export", str(out)], cwd=ROOT, check=True)
    ratings = read_ratings(out)
    assert len(ratings) == len(RATERS) * 2 * len(DIMENSIONS) * len(SYSTEMS)
    assert all(row.rank == OPINION[row.dimension][row.system] for row in ratings.itertuples())
    subprocess.run(
        [sys.executable, "-m", "empathy_lib", "rank", str(out), "--out", str(tmp_path / "r.json"), "--bootstrap", "10"],
        cwd=ROOT,
        check=True,
    )
    assert json.loads((tmp_path / "r.json").read_text())["Fluency"]["grpo"]["win_at_1"] == 1.0


def by_clicks(server, page, folder):
    """Rater 1, at a desk: consents, is stopped half-way by choice and by the server's death, goes on, changes a rank."""
    faults = []
    page.on("pageerror", lambda error: faults.append(error))
    link = server.links["rater-01"]
    page.goto(link)
    assert "12356" in page.inner_text(".help")
    page.get_by_role("button", name="同意参加").click()
    item, letters = item_and_letters(page, folder, "rater-01")
    assert page.title() != "broken" and "<script>" in page.locator("body").inner_text() if item == "q1" else True
    boxes = [page.locator(".reply").nth(n).bounding_box() for n in range(3)]
    assert boxes[0]["y"] == boxes[1]["y"] and boxes[0]["x"] < boxes[1]["x"], "replies are not side by side"
    for letter, system in letters.items():
        choose(page, "Fluency", letter, OPINION["Fluency"][system])
    expect(page.locator("#status")).to_have_text(re.compile("已保存"))

    page.get_by_role("button", name="停止").click()
    expect(page.locator("h1")).to_contain_text("已停止")
    page.goto(link)
    page.get_by_role("button", name="接着做").click()
    assert item_and_letters(page, folder, "rater-01")[0] == item and page.locator("input:checked").count() == 3

    server.end(signal.SIGKILL)
    choose(page, "Comforting", "A", OPINION["Comforting"][letters["A"]])
    expect(page.locator("#status")).to_have_text(re.compile("未保存"))
    server.start()
    assert server.links["rater-01"] == link
    expect(page.locator("#status")).to_have_text(re.compile("已保存"), timeout=15_000)

    page.get_by_role("button", name="下一份").click()  # the browser keeps the rater here: ranks are missing
    assert page.locator("form#sheet :invalid").count() > 0 and "/sheet/1?" in page.url
    for name in DIMENSIONS[1:]:
        for letter, system in letters.items():
            choose(page, name, letter, OPINION[name][system])
    page.get_by_role("button", name="下一份").click()
    page.wait_for_url("**/sheet/2?*")
    assert page.locator("progress").get_attribute("value") == "1"
    other, letters = item_and_letters(page, folder, "rater-01")
    assert other != item and page.locator("input:checked").count() == 0
    for name in DIMENSIONS:
        for letter, system in letters.items():
            choose(page, name, letter, OPINION[name][system] if name != "Fluency" else 1)
    page.get_by_role("button", name="完成").click()
    expect(page.locator("h1")).to_contain_text("全部完成")
    page.locator(".overview a").nth(1).click()
    for letter, system in letters.items():
        choose(page, "Fluency", letter, OPINION["Fluency"][system])
    expect(page.locator("#status")).to_have_text(re.compile("已保存"))
    page.get_by_role("link", name="上一份").click()
    assert page.locator("input:checked").count() == 12
    assert faults == []
    page.close()


def by_keys_on_a_phone(server, page, folder):
    """Rater 2, on a screen of 390 px, touches Tab, digits, arrows and Enter only; sees nothing of rater 1."""
    page.goto(server.links["rater-02"])
    assert no_sideways_scroll(page)
    tab_to(page, "button[value=consent]")
    page.keyboard.press("Enter")
    for number in (1, 2):
        page.wait_for_url(f"**/sheet/{number}?*")
        assert no_sideways_scroll(page) and page.locator("input:checked").count() == 0
        boxes = [page.locator(".reply").nth(n).bounding_box() for n in range(3)]
        assert boxes[0]["x"] == boxes[1]["x"] and boxes[0]["y"] < boxes[1]["y"], "replies do not stack"
        assert page.locator("button[value=stop]").is_visible()
        _, letters = item_and_letters(page, folder, "rater-02")
        tab_to(page, "input[name='Fluency A']")
        for name in DIMENSIONS:
            for letter, system in letters.items():
                assert page.evaluate("document.activeElement.name") == f"{name} {letter}"
                rank = OPINION[name][system]
                if name == "Comforting":
                    page.keyboard.press("Space")
                    for _ in range(rank - 1):
                        page.keyboard.press("ArrowRight")
                else:
                    page.keyboard.press(str(rank))
                assert page.locator(f'input[name="{name} {letter}"]:checked').get_attribute("value") == str(rank)
                page.keyboard.press("Tab")
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("全部完成")
    assert no_sideways_scroll(page)
    page.close()


def tab_to(page, selector):
    """Press Tab until the element has the focus."""
    for _ in range(60):
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{selector} cannot be reached with Tab")
