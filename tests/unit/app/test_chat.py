"""`chat`: the gate comes before any generation, a screen before anything is shown, and nothing is kept."""

import contextlib
import io
import json
import os
import re
import shutil
import sys
import threading
import warnings
from pathlib import Path

import pytest
from rich.console import Console
from starlette.testclient import TestClient
from test_never_promised import promised

from empathy_lib.app import cli
from empathy_lib.app.chat import answering, page, policy, terminal, words
from empathy_lib.core import coe
from empathy_lib.core.config import GenerationConfig
from empathy_lib.core.crisis import Screen, fixed_text, screen
from empathy_lib.core.files import write_json
from empathy_lib.core.run import Run
from empathy_lib.models import crisis
from empathy_lib.models.base import base_request, generate, load_policy
from empathy_lib.models.prompts import coe_prompt
from empathy_lib.models.streaming import grow
from empathy_lib.models.training import finish_policy

POST = "同事总在背后议论我，我很委屈。"
DANGER = "我不想活了，遗书写好了。"
REPLY = "听起来你很委屈。可以先和信任的人聊聊，好吗？"
CHAIN = "<empathy_think><L1>感到委屈</L1><L2>源于议论</L2><L3>希望被理解</L3><L4>先共情</L4></empathy_think>"
WHOLE = f"{CHAIN}<answer>{REPLY}</answer>"
MARKUP = "<b onclick=alert(1)>听</b> [bold red]x[/] <script>alert('1')</script> \x1b[31m红\u202e。"


class Speaker:
    """Stands for a policy: a completion that grows by a character, and who asked for how much of it."""

    def __init__(self, text=WHOLE, fault=None):
        self.text, self.fault, self.asked, self.said, self.closed = text, fault, [], 0, 0

    def __call__(self, post):
        self.asked.append(post)
        try:
            for said in range(1, len(self.text) + 1):
                self.said = said
                yield self.text[:said]
            if self.fault:
                raise self.fault
        finally:
            self.closed += 1


def blocks(parts):
    """What stands on a page after all parts: kind and text of each block; all of it goes where help comes."""
    found = {}
    for part in parts:
        if part.kind == "help":
            found.clear()
        if part.kind in ("help", "note"):
            found[len(found), part.kind] = part.text
        else:
            found[part.block, part.kind] = found.get((part.block, part.kind), "") + part.text
    return [(kind, text) for (_, kind), text in found.items()]


def ever_shown(parts):
    return "".join(part.text for part in parts)


@pytest.mark.parametrize("look", [screen, lambda post: Screen(2, rules=("classifier",))])
def test_a_flagged_post_gets_the_fixed_text_and_nothing_is_generated(look):
    speaker = Speaker()
    post = DANGER if look is screen else POST
    (part,) = answering.Chat(speaker, look, "tw").answer(post)
    assert (part.kind, part.text, part.english) == ("help", fixed_text("tw"), fixed_text("tw", "en"))
    assert "1925" in part.text and not speaker.asked


def test_a_gate_that_fails_lets_nothing_through_and_its_warning_has_no_text():
    def broken(post):
        raise RuntimeError(post)

    speaker = Speaker()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        parts = list(answering.Chat(speaker, broken).answer(POST))
    assert blocks(parts) == [("help", fixed_text())] and not speaker.asked
    assert "RuntimeError" in str(told[0].message) and POST not in str(told[0].message)


def test_a_generation_or_a_screen_that_fails_ends_in_the_fixed_text(monkeypatch):
    with pytest.warns(UserWarning, match="no answer: MemoryError"):
        parts = list(answering.Chat(Speaker(fault=MemoryError())).answer(POST))
    assert blocks(parts) == [("help", fixed_text())]
    monkeypatch.setattr(answering, "marked", lambda post, text: {})
    with pytest.warns(UserWarning, match="no answer: KeyError"):
        parts = list(answering.Chat(Speaker()).answer(POST))
    assert [part.kind for part in parts] == ["help"]


@pytest.mark.parametrize(
    ("text", "bad"),
    [
        (WHOLE.replace("好吗？", "我想自杀。再见。"), "自杀"),
        (WHOLE.replace("先共情", "我不想活了"), "不想活"),
        (f"{CHAIN}<answer>听起来你很累。我想自杀", "自杀"),  # cut off: no sentence ends behind it
        (WHOLE.replace("好吗？", "我想自</answer><answer>杀。"), "杀"),
        (WHOLE.replace("好吗？", "头晕的话就先把药停了。"), "药停"),
        (WHOLE.replace("好吗？", "请拨打400-000-0000。"), "400"),
        ("我想自\u200b杀。", "杀"),
    ],
)
def test_a_flagged_answer_is_replaced_and_what_flags_it_is_never_shown(text, bad):
    speaker = Speaker(text + "后面还有很多话。" * 5)
    parts = list(answering.Chat(speaker).answer(POST))
    assert blocks(parts) == [("help", fixed_text())]
    assert bad not in ever_shown(parts[:-1])
    assert speaker.closed == 1 and speaker.said <= len(text) + len("后面还有很多话。")  # and it is ended


def test_a_method_is_not_shown_to_a_post_that_asks_for_one():
    lenient = answering.Chat(
        Speaker(WHOLE.replace("好吗？", "好吗？那种办法最快，也没有痛苦。")), lambda post: Screen(1)
    )
    parts = list(lenient.answer("我朋友说想自杀，他问哪种办法好。"))
    assert blocks(parts) == [("help", fixed_text())] and "最快" not in ever_shown(parts[:-1])


def test_each_piece_ends_where_a_sentence_or_a_layer_does_and_together_they_are_the_completion():
    parts = list(answering.Chat(Speaker()).answer(POST))
    told = coe.parse(WHOLE)
    assert blocks(parts) == [*told.coe.model_dump().items(), ("answer", told.answer)]
    assert [part.text for part in parts][-2:] == ["听起来你很委屈。", "可以先和信任的人聊聊，好吗？"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("只有一句话。又一句", [("stray", "只有一句话。又一句")]),
        (f"先说。{WHOLE}", [("stray", "先说。"), ("L1", "感到委屈"), ("answer", REPLY)]),
        (f"{CHAIN}<answer>说到一半", [("L4", "先共情"), ("answer", "说到一半")]),
        ("<L1>甲</L1><L1>乙</L1><answer>好。</answer>", [("L1", "甲"), ("L1", "乙"), ("answer", "好。")]),
        ("", []),
    ],
)
def test_a_malformed_answer_is_shown_as_it_came_with_its_fault(text, expected):
    found = blocks(answering.Chat(Speaker(text)).answer(POST))
    assert [each for each in found if each in expected] == expected
    fault = coe.main_fault(text)
    assert fault and ("note", words.MALFORMED[0].format(fault)) in found
    assert (("note", words.NO_REPLY[0]) in found) == (not any(kind == "answer" for kind, _ in expected))


def test_a_policy_without_chains_is_not_asked_for_one():
    assert blocks(answering.Chat(Speaker(REPLY), chain=False).answer(POST)) == [("answer", REPLY)]


def test_a_post_that_is_too_long_is_refused_behind_the_gate():
    speaker, long = Speaker(), "很累。" * answering.MOST
    assert [part.kind for part in answering.Chat(speaker).answer(long)] == ["note"]
    assert [part.kind for part in answering.Chat(speaker).answer(long + DANGER)] == ["help"]
    assert not speaker.asked


def test_what_could_steer_a_terminal_is_taken_out():
    assert answering.clean("a\x1b[2Jb\r\n\u202ec\u200b\x9b\ud800") == "a[2Jb\nc?"


def written(chat, post=POST):
    """What the terminal shows, colours and all."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=200, highlight=False)
    terminal.talk(chat, [post], "grpo, laptop", console)
    return out.getvalue()


def test_the_terminal_takes_nothing_of_an_answer_for_markup_and_labels_it():
    out = written(answering.Chat(Speaker(f"{CHAIN}<answer>{MARKUP}</answer>")))
    bare = re.sub(r"\x1b\[[\d;]*m", "", out)  # rich's own colours
    assert answering.clean(MARKUP) in bare and "\x1b" not in bare and "\u202e" not in bare
    for told in (words.LABEL, words.WHAT, words.REPLY):
        assert words.both(told) in bare
    assert "grpo, laptop" in bare and "12356" in bare


def test_the_terminal_says_what_is_withdrawn_and_who_wrote_what_stands_there():
    out = written(answering.Chat(Speaker(WHOLE.replace("好吗？", "我想自杀。"))))
    assert words.WITHDRAWN[0] in out and fixed_text() in out and "我想自杀" not in out
    out = written(answering.Chat(Speaker()), DANGER)
    assert words.HELP[0] in out and words.WITHDRAWN[0] not in out and words.LABEL[0] not in out


def test_posts_are_typed_until_an_empty_line_and_none_knows_of_another():
    typed = io.StringIO("\n第一行\n第二行\n\n\n另一个帖子\n")
    posts = list(terminal.typed_posts(typed, Console(file=io.StringIO())))
    assert posts == ["第一行\n第二行\n", "另一个帖子\n"]


def test_no_word_beside_an_answer_promises_anything():
    said = [text for pair in vars(words).values() if isinstance(pair, tuple) for text in pair]
    html = (
        TestClient(page.create_app(answering.Chat(Speaker()), "grpo"), base_url="http://localhost")
        .get("/")
        .text
    )
    assert (
        len(said) > 10
        and promised("\n\n".join(said)) == []
        and promised(re.sub("<[^>]+>", "\n\n", html)) == []
    )


@pytest.fixture(scope="module")
def exported(base, tmp_path_factory):
    """The tiny model as `export` leaves a policy, as far as it is read here."""
    folder = tmp_path_factory.mktemp("出口 of") / "policy"
    finish_policy(*load_policy(base, dtype="float32"), base, folder.parent)
    config = json.loads((folder / "generation_config.json").read_text())
    write_json(folder / "generation_config.json", config | {"max_new_tokens": 12, "do_sample": False})
    told = {"format": "empathy-r1 export 1", "system": "sft", "stages": {"02_sft": {"seed": 7}}}
    write_json(folder / "provenance.json", told)
    return folder


def test_a_completion_grows_into_the_one_that_generate_gives(base):
    model, tokenizer = load_policy(base, dtype="float32")
    prompt = coe_prompt(tokenizer, POST)
    grown = list(grow(model, tokenizer, prompt, 1, max_new_tokens=20, do_sample=False))
    settings = GenerationConfig(max_new_tokens=20)
    (whole,) = generate(model, tokenizer, [prompt], settings, 1, greedy=True)
    assert len(grown) > 1 and grown[-1] == whole.rstrip("\ufffd")
    drawn = {"max_new_tokens": 20, "do_sample": True, "temperature": 0.8, "top_p": 0.95, "top_k": 0}
    (sampled,) = generate(model, tokenizer, [prompt], settings, 1)
    assert list(grow(model, tokenizer, prompt, 1, **drawn))[-1] == sampled.rstrip("\ufffd")


def test_a_reader_who_leaves_ends_the_generation_and_its_errors_come_up(base):
    model, tokenizer = load_policy(base, dtype="float32")
    before = threading.active_count()
    growing = grow(model, tokenizer, POST, 1, max_new_tokens=400, min_new_tokens=400, do_sample=False)
    next(growing)
    growing.close()
    assert threading.active_count() <= before  # those of an earlier test may end meanwhile
    with pytest.raises(ValueError, match="no_such_setting"):
        list(grow(model, tokenizer, POST, 1, no_such_setting=True))


def call(monkeypatch, capsys, *arguments, stdin=""):
    """Exit status, stdout and stderr of ``chat``, the gate being the rules alone."""
    monkeypatch.setattr(crisis, "gate", lambda: screen)
    monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
    monkeypatch.setattr(sys, "argv", ["empathy_lib", "chat", *map(str, arguments)])
    status = 0
    try:
        cli.main()
    except SystemExit as end:
        status = end.code or 0
    return status, *capsys.readouterr()


def files(*folders):
    return {path: path.stat().st_mtime_ns for folder in folders for path in Path(folder).rglob("*")}


def test_a_post_through_a_pipe_gets_one_labelled_answer_and_nothing_is_written(
    exported, tmp_path, monkeypatch, capsys
):
    for variable in ("HOME", "XDG_CACHE_HOME", "EMPATHY_CACHE", "TMPDIR"):
        (tmp_path / variable).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.chdir(tmp_path)
    before = files(tmp_path, exported)
    status, out, err = call(monkeypatch, capsys, exported, stdin=f"{POST}\n\n第二段。\n")
    assert status == 0 and out.count(words.LABEL[0]) == 1 and "sft, policy" in out and POST not in out + err
    status, again, _ = call(monkeypatch, capsys, exported, "--post", f"{POST}\n\n第二段。")
    assert status == 0 and again == out
    status, out, _ = call(monkeypatch, capsys, exported, "--region", "hk", stdin=DANGER)
    assert status == 0 and "18111" in out and words.LABEL[0] not in out
    assert files(tmp_path, exported) == before


@pytest.fixture
def run(hub_folder, items, tmp_path):
    """A run whose policies are empty folders, with all its records."""
    run = Run.open("smoke", str(tmp_path / "运行 run"), {"base_model.source": str(hub_folder)})
    with run.build("01_dataset", {"data": "synthetic"}) as stage:
        told = {"source": "synthetic", "synthetic": True, "annotator": "gold", "questions": 6, "answers": 12}
        write_json(stage.path / "statistics.json", told)
    request = {"base_model": base_request(run.profile.base_model), "sft": run.profile.sft.model_dump()}
    drawn = {"max_new_tokens": "auto", "temperature": 0.5, "top_p": 0.9}
    for name, config, below in (
        ("02_sft", request, "coe/policy"),
        ("04_grpo", {"grpo": {}, "generation": drawn}, "policy"),
    ):
        inputs = ["01_dataset", "02_sft"][: 1 + (name == "04_grpo")]
        with run.build(name, config, inputs) as stage:
            made = stage.path / below
            shutil.copytree(hub_folder, made)
            (made / "done").touch()
    return run


def test_a_runs_policy_is_found_and_drawn_from_by_its_own_records(run, monkeypatch):
    asked = []
    monkeypatch.setattr(policy, "grow", lambda *given, **how: asked.append((*given[2:], how)))
    for system, place in ((None, "04_grpo/policy"), ("sft", "02_sft/coe/policy")):
        loaded = []
        monkeypatch.setattr(
            policy, "load_policy", lambda folder, to=loaded: to.append(folder) or load_policy(folder)
        )
        chosen = policy.open_policy(str(run.path), system)
        assert loaded == [run.path / place] and chosen.chain and chosen.system == (system or "grpo")
        chosen.speak(POST)
    expected = {"do_sample": True, "temperature": 0.5, "top_p": 0.9, "top_k": 0, "max_new_tokens": 512}
    assert asked[0][1:] == (run.profile.seed, expected) and POST in asked[0][0]
    assert asked[1][2]["temperature"] == run.profile.generation.temperature  # SFT's manifest has none


def test_each_fault_of_a_user_is_one_line_with_its_remedy(exported, run, tmp_path, monkeypatch, capsys):
    broken, odd = tmp_path / "broken", tmp_path / "odd"
    shutil.copytree(exported, broken)
    (broken / "model.safetensors").write_bytes(b"no weights")
    odd.mkdir()
    write_json(odd / "provenance.json", {"format": "?", "system": "evil", "stages": []})
    (run.path / "04_grpo" / "manifest.json").unlink()
    for arguments, message in (
        ([tmp_path / "none"], "neither a run nor an exported policy; give a run's folder"),
        ([tmp_path], "neither a run nor an exported policy"),
        ([run.path], "stage 04 is not finished"),
        ([run.path, "--system", "base"], "--system base: use one of"),
        ([exported, "--system", "grpo"], "is an export of sft; leave --system out"),
        ([broken], "cannot be loaded"),
        ([odd], "not as `export` writes it; export anew"),
        ([exported, "--region", "moon"], "region 'moon': not known"),
        ([exported, "--post", " "], "--post: give a text"),
        ([exported, "--page", "--post", POST], "--post: give a text, without --page"),
    ):
        status, out, err = call(monkeypatch, capsys, *arguments, stdin=POST)
        assert (status, out) == (2, "") and message in err and err.count("\n") == 1, err
    status, _, err = call(monkeypatch, capsys, exported, stdin="\n")
    assert status == 2 and "stdin: no post" in err


def test_code_in_an_exported_folder_never_runs(exported, tmp_path, monkeypatch, capsys):
    evil = tmp_path / "evil"
    shutil.copytree(exported, evil)
    (evil / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: ...\n")
    told = json.loads((evil / "config.json").read_text())
    classes = {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"}
    write_json(evil / "config.json", told | {"auto_map": classes, "model_type": "evil"})
    status, _, err = call(monkeypatch, capsys, evil, stdin=POST)
    assert status == 2 and "cannot be loaded" in err and not (tmp_path / "ran").exists()


def test_a_missing_extra_is_one_line_before_anything_is_loaded(exported, monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "empathy_lib.app.chat.page")
    monkeypatch.delattr("empathy_lib.app.chat.page")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.setattr(policy, "load_policy", lambda folder: pytest.fail("was loaded"))
    status, out, err = call(monkeypatch, capsys, exported, "--page")
    assert (status, out) == (2, "") and "pip install -e '.[chat]'" in err and err.count("\n") == 1


def client(speaker, **more):
    app = page.create_app(answering.Chat(speaker, **more), "grpo, <i>laptop</i>")
    return TestClient(app, base_url="http://127.0.0.1:8643")


def asked(client, post):
    lines = client.post("/answer", content=post.encode()).text.splitlines()
    return [answering.Part(**json.loads(line)) for line in lines]


def test_the_page_streams_the_same_parts_under_the_same_checks():
    speaker = Speaker(f"{CHAIN}<answer>{MARKUP}</answer>")
    served = client(speaker)
    parts = asked(served, POST)
    assert blocks(parts)[-1] == ("answer", answering.clean(MARKUP).strip()) and speaker.closed == 1
    assert blocks(asked(served, DANGER)) == [("help", fixed_text())] and speaker.asked == [POST]


def test_the_page_asks_no_other_host_and_takes_posts_from_itself_alone():
    served = client(Speaker(), region="sg")
    got = {name: served.get(f"/{name}") for name in ("", "page.css", "page.js")}
    for answer in got.values():
        assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert (
            not re.search(r"(https?:)?//[a-z]", answer.text.replace("// ", ""))
            and "@import" not in answer.text
        )
    html = got[""].text
    assert (
        "&lt;i&gt;laptop" in html and "<i>" not in html and 'href="tel:1771"' in html and "<details" in html
    )
    assert not re.search(r"localStorage|sessionStorage|cookie\s*=|innerHTML", got["page.js"].text)
    for headers, status in (
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"host": "evil.example"}, 400),
        ({"sec-fetch-site": "same-origin"}, 200),
    ):
        assert served.post("/answer", content=POST.encode(), headers=headers).status_code == status
    assert served.post("/answer", content=b" ").status_code == 400
    assert served.post("/answer", content=b"x" * 300_000).status_code == 413
    assert served.get("/answer").status_code == 405


def test_the_page_listens_on_this_machine_alone():
    with page.take(0) as taken:
        assert taken.getsockname()[0] == "127.0.0.1"


@pytest.fixture
def address():
    """The page of a policy that writes markup, and danger where it is asked for more."""
    import uvicorn

    speakers = {"更多": Speaker(WHOLE.replace("好吗？", "我想自杀。"))}
    usual = Speaker(f"{CHAIN}<answer>{MARKUP}{'很长的一句话，' * 40}</answer>")
    chat = answering.Chat(lambda post: speakers.get(post, usual)(post))
    server = uvicorn.Server(uvicorn.Config(page.create_app(chat, "grpo"), log_level="warning"))
    with page.take(0) as taken:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]}, daemon=True)
        thread.start()
        yield page.address(taken)
        server.should_exit = True
        thread.join(20)


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(
    CHROMIUM is None and "EMPATHY_NEEDS_BROWSER" not in os.environ, reason="no Chromium found"
)
def test_in_a_browser_text_stays_text_and_an_answer_that_turns_bad_goes(address):
    playwright = pytest.importorskip("playwright.sync_api")
    with contextlib.ExitStack() as opened:
        driver = opened.enter_context(playwright.sync_playwright())
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened.callback(browser.close)
        tab, asked, faults = browser.new_page(viewport={"width": 390, "height": 844}), set(), []
        tab.on("request", lambda request: asked.add(request.url.split("/")[2]))
        tab.on("console", lambda message: faults.append(message.text))
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.goto(address)
        tab.fill("#post", POST)
        tab.click("#go")
        playwright.expect(tab.locator("#reply")).to_have_text(re.compile(".{200}"), timeout=30_000)
        tab.wait_for_selector("#go:enabled")
        assert answering.clean(MARKUP) in tab.locator("#reply").text_content()
        assert (
            tab.locator("#reply :is(b, script)").count() == 0
            and not tab.locator("#chain div").first.is_visible()
        )
        assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        tab.evaluate("window.scrollTo(0, document.body.scrollHeight)")
        box = tab.locator("header .mark").bounding_box()
        assert 0 <= box["y"] < 844, "the AI label is out of sight"
        tab.fill("#post", "更多")
        tab.click("#go")
        tab.wait_for_selector("#help:visible")
        assert fixed_text() in tab.inner_text("#help") and tab.locator("#withdrawn").is_visible()
        assert not tab.locator("#answer").is_visible() and "委屈" not in tab.locator("#answer").text_content()
        assert faults == [] and asked == {address.split("/")[2]}
        assert tab.evaluate("document.cookie + localStorage.length + sessionStorage.length") == "00"
