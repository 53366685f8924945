"""The rating page as its server sees it: who is let in, what is shown, what is kept. A browser drives it in
test_rating_browser.py."""

import contextlib
import http.client
import json
import multiprocessing
import random
import sqlite3
import time
from urllib.parse import urlencode

import numpy as np
import pytest
from markupsafe import escape
from starlette.testclient import TestClient

from empathy_lib.core import coe
from empathy_lib.core.errors import UserError
from empathy_lib.core.paper import DIMENSIONS
from empathy_lib.human_eval.design import build_study, write_study
from empathy_lib.human_eval.instructions import DIMENSION_TEXTS, WORDS
from empathy_lib.human_eval.run import page
from empathy_lib.human_eval.run.collect import open_collection

SCRIPT = "<script>alert('帖')</script>"
ADDRESS = "http://127.0.0.1:8642"
RATERS, ITEMS, SYSTEMS = ("rater-01", "rater-02"), ("q1", "q2"), ("grpo", "bm25")


@pytest.fixture
def collection(tmp_path):
    """Two raters, two items, two replies; one post and one reply that would run if they were not escaped, a
    chain, an empty reply."""
    sheets = [
        {
            "rater": rater,
            "position": position,
            "item": item,
            "post": f"{rater} reads {item} {SCRIPT}",
            "replies": [
                {"letter": "A", "text": f'"><img src=x onerror=1> {SCRIPT}', "chain": f"L1 {SCRIPT}"},
                {"letter": "B", "text": " "},
            ],
        }
        for rater in RATERS
        for position, item in enumerate(ITEMS, 1)
    ]
    (tmp_path / "study.jsonl").write_text("".join(json.dumps(sheet) + "\n" for sheet in sheets))
    key = {rater: {item: dict(zip("AB", SYSTEMS, strict=True)) for item in ITEMS} for rater in RATERS}
    (tmp_path / "key.json").write_text(json.dumps(key))
    return open_collection(tmp_path)


@pytest.fixture
def client(collection):
    return TestClient(page.create_app(collection, ADDRESS), base_url=ADDRESS, follow_redirects=False)


@pytest.fixture
def queries(collection):
    """rater -> ``rater=…``, for a rater who has consented."""
    for rater in RATERS:
        collection.store.consent(rater)
    return {rater: f"rater={token}" for rater, token in collection.store.tokens().items()}


def whole(ranks=(1, 2), **more):
    return {
        f"{name} {letter}": str(rank) for name in DIMENSIONS for letter, rank in zip("AB", ranks, strict=True)
    } | more


@pytest.mark.parametrize("path", ["/", "/sheet/1", "/sheet/99"])
@pytest.mark.parametrize(
    "query", ["", "?rater=", "?rater=x", "?rater=rater-01", "?rater=%00%ff", "?token={}", "?rater={}x"]
)
def test_without_a_valid_token_there_is_one_refusal_that_tells_nothing(client, collection, path, query):
    token = collection.store.tokens()["rater-01"]
    answers = [
        client.get(path + query.format(token)),
        client.post(path + query.format(token), data=whole(go="consent")),
    ]
    plain = client.get("/")
    for answer in answers:
        assert answer.status_code == 403 and answer.text == plain.text
    assert "链接无效" in plain.text
    assert not [
        word
        for word in (*RATERS, *ITEMS, *SYSTEMS, "sheet", "reads")
        if word in plain.text.split("<body")[1].lower()
    ]
    assert collection.store.counts()["untouched"] == 4 and not collection.store.rater(token).consented


def test_the_notice_comes_first_and_points_to_people(client, collection):
    query = f"rater={collection.store.tokens()['rater-01']}"
    notice = client.get(f"/?{query}")
    assert notice.status_code == 200
    for language in ("zh", "en"):
        told = WORDS[language]
        for words in (told.distress, told.help, told.replies, told.judging, *told.task):
            assert str(escape(words)) in notice.text
        for dimension in DIMENSION_TEXTS[language].values():
            assert all(
                str(escape(words)) in notice.text
                for words in (dimension.name, dimension.question, dimension.definition)
            )
    assert (
        'value="stop"' in notice.text
        and 'href="tel:12356"' in notice.text
        and 'href="https://findahelpline.com"' in notice.text
    )
    assert "reads q1" not in notice.text
    assert client.get(f"/sheet/1?{query}").headers["location"] == f"/?{query}"
    assert client.post(f"/sheet/1?{query}", data=whole()).status_code == 403
    assert collection.store.counts()["untouched"] == 4
    assert client.post(f"/?{query}", data={"go": "consent"}).status_code == 303
    assert client.get(f"/?{query}").headers["location"] == f"/sheet/1?{query}"


def test_stopping_is_on_every_page_and_can_be_taken_back(client, queries):
    query = queries["rater-01"]
    assert 'value="stop"' in client.get(f"/sheet/1?{query}").text
    client.post(f"/?{query}", data={"go": "stop"})
    stopped = client.get(f"/?{query}")
    assert "已停止" in stopped.text and "12356" in stopped.text and "reads q1" not in stopped.text
    assert client.get(f"/sheet/1?{query}").status_code == 303
    client.post(f"/?{query}", data={"go": "resume"})
    assert client.get(f"/?{query}").headers["location"] == f"/sheet/1?{query}"
    assert client.post(f"/?{query}", data={"go": "leave"}).status_code == 400


def test_a_sheet_shows_its_texts_escaped_and_names_no_system_and_no_other_rater(client, queries):
    shown = client.get(f"/sheet/1?{queries['rater-01']}")
    assert "&lt;script&gt;alert(&#39;帖&#39;)&lt;/script&gt;" in shown.text and "&lt;img src=x" in shown.text
    assert "<script>" not in shown.text and "<img" not in shown.text
    assert "rater-01 reads q1" in shown.text and "（空）" in shown.text and "写回复前的推理" in shown.text
    assert not [word for word in (*SYSTEMS, "rater-02", "q2") if word in shown.text]
    assert (
        "script-src 'self'" in shown.headers["content-security-policy"]
        and shown.headers["referrer-policy"] == "no-referrer"
    )
    assert shown.headers["cache-control"] == "no-store"


def test_every_answer_is_kept_from_caches_referrers_and_frames(client, queries):
    query = queries["rater-01"]
    answers = [
        client.get(path)
        for path in (f"/?{query}", f"/sheet/1?{query}", "/", f"/sheet/9?{query}", "/page.css", "/page.js")
    ]
    answers += [client.post(f"/?{query}", data={"go": go}) for go in ("consent", "nothing")]
    answers += [client.post(f"/sheet/1?{query}", data=whole(go=go)) for go in ("", "next")]
    assert {answer.status_code for answer in answers} == {200, 204, 303, 400, 403, 404}
    for answer in answers:
        assert (
            answer.headers["cache-control"] == "no-store"
            and answer.headers["referrer-policy"] == "no-referrer"
        )
        assert (
            answer.headers["x-content-type-options"] == "nosniff"
            and "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        )


FOREIGN = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site", "origin": ADDRESS},
    {"origin": "https://elsewhere.example"},
    {"origin": "http://[broken"},
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_what_a_page_of_another_site_sends_is_refused(client, collection, queries, headers):
    query = queries["rater-01"]
    for path, data in ((f"/sheet/1?{query}", whole()), (f"/?{query}", {"go": "stop"})):
        assert client.post(path, data=data, headers=headers).status_code == 403
    assert collection.store.counts()["untouched"] == 4
    assert not collection.store.rater(collection.store.tokens()["rater-01"]).stopped


@pytest.mark.parametrize(
    "headers",
    [{}, {"origin": "null"}, {"origin": ADDRESS}, {"sec-fetch-site": "same-origin", "origin": "null"}],
)
def test_what_the_page_itself_sends_is_kept(client, queries, headers):
    assert client.post(f"/sheet/1?{queries['rater-01']}", data=whole(), headers=headers).status_code == 204


def test_under_a_name_that_is_not_in_the_links_nothing_is_answered(collection, queries):
    app, path = page.create_app(collection, "https://rating.example.org"), f"/sheet/1?{queries['rater-01']}"
    status = {
        host: TestClient(app, base_url=f"http://{host}").get(path).status_code
        for host in (
            "rating.example.org",
            "127.0.0.1:8642",
            "localhost",
            "[::1]:8642",
            "evil.example",
            "127.0.0.1.evil.example",
        )
    }
    assert list(status.values()) == [200] * 4 + [400] * 2, status
    answer = TestClient(app, base_url="http://evil.example").get(path)
    assert (
        "reads" not in answer.text
        and TestClient(app, base_url="http://localhost").get(path, headers={"host": ""}).status_code == 400
    )


def test_one_raters_link_opens_no_sheet_of_another(client, queries):
    for rater, query in queries.items():
        for number, item in enumerate(ITEMS, 1):
            shown = client.get(f"/sheet/{number}?{query}").text
            assert [other for other in RATERS if f"{other} reads" in shown] == [
                rater
            ] and f"{rater} reads {item}" in shown


@pytest.mark.parametrize("show_chain", [True, False])
def test_the_design_says_whether_raters_see_the_chain(tmp_path, items, show_chain):
    chain = items[0].answers[0].coe
    answers = {"grpo": coe.render(chain, "抱抱你。"), "bm25": "会好的。"}
    write_study(
        build_study(
            {"q1": answers},
            {"q1": "帖"},
            raters=1,
            items=1,
            rng=np.random.default_rng(0),
            show_chain=show_chain,
        ),
        tmp_path,
    )
    made = open_collection(tmp_path)
    made.store.consent("rater-01")
    client = TestClient(page.create_app(made, ADDRESS), base_url=ADDRESS)
    shown = client.get("/sheet/1", params={"rater": made.store.tokens()["rater-01"]}).text
    assert "抱抱你。" in shown and "会好的。" in shown
    assert [shown.count(words) for words in ("写回复前的推理", chain.L1, chain.L4)] == [int(show_chain)] * 3


def test_rate_all_come_back_and_change_one(client, collection, queries):
    query = queries["rater-01"]
    assert client.post(f"/sheet/1?{query}", data=whole(visit="v", step="1", seconds="4.5")).status_code == 204
    assert client.get(f"/?{query}").headers["location"] == f"/sheet/2?{query}"
    assert client.post(f"/sheet/1?{query}", data=whole(go="next")).headers["location"] == f"/sheet/2?{query}"
    assert client.post(f"/sheet/2?{query}", data=whole((1, 1), go="next")).headers["location"] == f"/?{query}"
    done = client.get(f"/?{query}")
    assert "全部完成" in done.text and f'href="/sheet/1?{query}"' in done.text
    assert client.get(f"/sheet/1?{query}").text.count("checked") == 8
    client.post(f"/sheet/1?{query}", data={"Fluency A": "2"})
    assert collection.store.ranks("rater-01", "q1")["A", "Fluency"] == 2
    assert {row[-1] for row in collection.store.complete_ratings() if row[1] == "q1"} == {4.5}
    assert client.get(f"/sheet/1?{queries['rater-02']}").text.count("checked") == 0, (
        "another rater's ranks were shown"
    )


def test_next_keeps_what_was_said_and_stays_until_the_sheet_is_whole(client, collection, queries):
    query = queries["rater-02"]
    answer = client.post(f"/sheet/2?{query}", data={"Comforting B": "1", "go": "next"})
    assert (
        answer.status_code == 422 and "还有回复没有名次" in answer.text and answer.text.count("checked") == 1
    )
    assert collection.store.ranks("rater-02", "q2") == {("B", "Comforting"): 1}
    assert client.get(f"/?{query}").headers["location"] == f"/sheet/1?{query}"


@pytest.mark.parametrize("value", ["0", "3", "-1", "1.5", "", "x", "１", "1e0"])
def test_a_rank_that_the_page_does_not_offer_is_refused(client, collection, queries, value):
    assert (
        client.post(f"/sheet/1?{queries['rater-01']}", data=whole() | {"Fluency A": value}).status_code == 400
    )
    assert collection.store.counts()["untouched"] == 4


@pytest.mark.parametrize("field", ["step", "seconds"])
@pytest.mark.parametrize("value", ["x", "nan", "inf", "-1", "1e99"])
def test_nonsense_in_the_hidden_fields_is_refused(client, queries, field, value):
    assert (
        client.post(f"/sheet/1?{queries['rater-01']}", data=whole(visit="v") | {field: value}).status_code
        == 400
    )


def test_unknown_sheets_and_pages_are_not_found(client, queries):
    for path in (
        "/sheet/0",
        "/sheet/3",
        "/sheet/99999999999999999999",
        "/sheets",
        "/page.html",
        "/page.py",
        "/../page.py",
    ):
        assert client.get(f"{path}?{queries['rater-01']}").status_code == 404


def test_a_save_that_fails_is_never_called_saved(client, collection, queries, capsys):
    with sqlite3.connect(collection.store.path) as db:
        db.execute(
            "CREATE TRIGGER full_disk BEFORE INSERT ON rating BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )
    answer = client.post(f"/sheet/1?{queries['rater-01']}", data=whole(go="next"))
    assert answer.status_code == 503 and "没有保存" in answer.text and "disk full" not in answer.text
    assert "disk full" in capsys.readouterr().err


def rate_over_the_web(port, token, sheets):
    """One rater: a dimension at a time, again and again until the server says that it has it."""
    for number in range(1, sheets + 1):
        for step, name in enumerate(DIMENSIONS, 1):
            said = {
                f"{name} A": 1 + (number + step) % 2,
                f"{name} B": 1,
                "visit": f"v{number}",
                "step": step,
                "seconds": step,
            }
            while True:
                try:
                    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
                    kind = {"Content-Type": "application/x-www-form-urlencoded"}
                    connection.request("POST", f"/sheet/{number}?rater={token}", urlencode(said), kind)
                    if connection.getresponse().status == 204:
                        break
                except (OSError, http.client.HTTPException):
                    time.sleep(0.05)
                finally:
                    connection.close()


def test_twenty_raters_on_a_server_that_is_killed_at_random_lose_nothing_and_double_nothing(tmp_path):
    items, raters = [f"q{n}" for n in range(3)], 20
    completions = {item: {system: f"{system} {item}" for system in SYSTEMS} for item in items}
    write_study(
        build_study(
            completions, dict.fromkeys(items, "帖"), raters=raters, items=3, rng=np.random.default_rng(0)
        ),
        tmp_path,
    )
    made, fork, moment = (
        open_collection(tmp_path),
        multiprocessing.get_context("fork").Process,
        random.Random(2),
    )
    for rater in made.sheets:
        made.store.consent(rater)
    kills, people = 0, []

    def saves():
        with contextlib.closing(sqlite3.connect(made.store.path)) as db:
            return db.execute("SELECT TOTAL(step) FROM visit").fetchone()[0]

    with page.listen("127.0.0.1", 0) as taken:
        for token in made.store.tokens().values():
            people.append(fork(target=rate_over_the_web, args=(taken.getsockname()[1], token, len(items))))
            people[-1].start()
        while any(one.is_alive() for one in people):
            server = fork(target=page.serve, args=(made, taken, page.address(taken)))
            server.start()
            enough = saves() + moment.randint(15, 45)
            while saves() < enough and any(one.is_alive() for one in people):
                time.sleep(0.01)
            server.kill()  # SIGKILL
            server.join()
            kills += 1
    assert kills >= 3 and [one.exitcode for one in people] == [0] * raters
    rows = made.store.complete_ratings()
    assert len(rows) == len({row[:4] for row in rows}) == raters * len(items) * len(DIMENSIONS) * 2
    place = {
        (rater, sheet.item): number
        for rater, own in made.sheets.items()
        for number, sheet in enumerate(own, 1)
    }
    for rater, item, dimension, letter, rank, seconds in rows:
        step = DIMENSIONS.index(dimension) + 1
        assert rank == (1 + (place[rater, item] + step) % 2 if letter == "A" else 1) and seconds == len(
            DIMENSIONS
        )


def test_a_taken_port_is_said_and_localhost_is_not_open_to_others(collection):
    with page.listen("127.0.0.1", 0) as taken:
        host, port = taken.getsockname()
        assert page.address(taken) == f"http://127.0.0.1:{port}" and not page.is_open_to_others(taken)
        assert set(page.links(collection, page.address(taken))) == set(RATERS)
        with pytest.raises(UserError, match=f"--port {port}: cannot listen there"):
            page.listen(host, port)
    with page.listen("127.0.0.1", 0) as taken:
        assert page.address(taken, "https://rating.example.org/") == "https://rating.example.org"
        for url in (
            "rating.example.org",
            "ftp://x.org",
            "https://",
            "https://x.org/study",
            "https://x.org/?a=1",
            "https://x.org#a",
            "http://[x",
        ):
            with pytest.raises(UserError, match=r"--url .*no address of a whole site"):
                page.address(taken, url)
    with pytest.raises(UserError, match=r"no-such-host\.invalid"):
        page.listen("no-such-host.invalid", 0)
    with page.listen("0.0.0.0", 0) as everywhere:
        assert page.is_open_to_others(everywhere) and "0.0.0.0" not in page.address(everywhere)
