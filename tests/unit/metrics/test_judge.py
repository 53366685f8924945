import json
import sys

import pandas as pd
import pytest
from teacher_server import KEY, body, completion, status

from empathy_lib.app import cli
from empathy_lib.core.coe import ChainOfEmpathy, render
from empathy_lib.core.config import TeacherConfig
from empathy_lib.core.errors import UserError
from empathy_lib.core.paper import DIMENSIONS
from empathy_lib.human_eval.agreement import judge_agreement
from empathy_lib.human_eval.ratings import COLUMNS
from empathy_lib.metrics import judge as j
from empathy_lib.metrics.tables import wide_table

QUESTIONS = {f"q{n}": f"第{n}个帖子，我很焦虑，怎么办？" for n in range(4)}
REPLIES = {
    item: {"good": f"我懂你的难处，好，{item}。", "fair": "慢慢来。", "poor": "差。"} for item in QUESTIONS
}
QUALITY = {"我": 3, "慢": 2, "差": 1}


@pytest.fixture
def config():
    return TeacherConfig(
        model="m", temperature=0, pause_seconds=0, transport_retries=2, timeout_seconds=5, concurrency=1
    )


def says(verdict: str, **others: str) -> str:
    return json.dumps({name: others.get(name, verdict) for name in j.ASPECTS.values()}, ensure_ascii=False)


def asked(request) -> tuple[str, str]:
    data = json.loads(request["messages"][1]["content"])
    return data["回复甲"], data["回复乙"]


def fair_judge(n, request) -> str:
    first, second = (QUALITY[reply[0]] for reply in asked(request))
    return says("甲" if first > second else "乙")


def made(replies=REPLIES, most=10):
    return j.duels(replies, QUESTIONS, most=most, seed=1)


def test_a_fair_judge_is_believed(server, config, tmp_path):
    server.script = fair_judge
    found = j.judge(made(), config, tmp_path, seed=1)
    for aspect in (*DIMENSIONS, "overall"):
        rates = found["win_rate"][aspect]
        assert {system: rate["value"] for system, rate in rates.items()} == {
            "good": 1.0,
            "fair": 0.5,
            "poor": 0.0,
        }
        assert rates["good"]["n"] == 8 and found["swap"][aspect] == {"survived": 1.0, "first_chosen": 0.5}
    assert {"aspect": "overall", "a": "fair", "b": "good", "a_wins": 0, "ties": 0, "b_wins": 4} in found[
        "pairs"
    ]
    assert found["judge"] == {
        "model": "m",
        "temperature": 0,
        "posts": 4,
        "comparisons": 12,
        "without_verdict": 0,
    }
    wide = wide_table(j.win_rate_table(found["win_rate"]), ["overall", "Fluency"])
    assert found["win_rate"]["overall"]["good"]["interval"] is None, "all posts agree: no spread to judge by"
    assert wide.loc["good"].tolist() == ["1.000"] * 2 and wide.index.tolist() == ["fair", "good", "poor"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert len(server.requests) == 2 * 12
    pairs = [asked(request) for request in server.requests]
    assert set(pairs) == {(b, a) for a, b in pairs}, "every pair in both orders"


def test_a_judge_of_places_decides_nothing(server, config, tmp_path):
    server.script = lambda n, request: says("甲", 流畅="平")
    table = j.verdicts(made(), config, tmp_path)
    assert (table["points"] == 0.5).all()
    swap = j.summarise(table, resamples=50, seed=1)["swap"]
    assert swap["overall"] == {"survived": 0.0, "first_chosen": 1.0}
    assert swap["Fluency"] == {"survived": 1.0, "first_chosen": None}, "a tie in both orders is a verdict"


def test_a_verdict_on_one_side_only_is_a_tie(server, config, tmp_path):
    server.script = lambda n, request: says("甲") if asked(request)[0].startswith("我") else says("平")
    table = j.verdicts(made(), config, tmp_path)
    assert (table["points"] == 0.5).all() and (table["forth"] + table["back"] >= 1).all()


@pytest.mark.parametrize(
    "bad", [status(429), status(500), body(completion(None))], ids=["429", "500", "no content"]
)
def test_a_lost_reply_is_asked_for_again(server, config, tmp_path, bad):
    server.script = lambda n, request: bad if n == 0 else fair_judge(n, request)
    assert len(j.verdicts(made(most=1), config, tmp_path)) == 3 * 5
    assert server.requests[0] == server.requests[1] and len(server.requests) == 2 * 3 + 1


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ("两个都好。", "流畅、识别"),
        (says("甲", 建议="丙"), "：建议没有"),
        (says("甲").replace('"总体": "甲"', '"总体": 1'), "：总体没有"),
        ('{"流畅": "甲"', "流畅"),
    ],
)
def test_nonsense_is_sent_back_with_its_fault(server, config, tmp_path, bad, told):
    server.script = lambda n, request: bad if n == 0 else says("平")
    j.verdicts(made(most=1), config, tmp_path)
    assert (
        told in server.requests[1]["messages"][3]["content"]
        and server.requests[1]["messages"][:2] == server.requests[0]["messages"]
    )


def test_a_thinking_model_and_a_code_block_are_read(config):
    task = j.Comparison("帖", "一", "二")
    reply = f"<think>{says('乙')}</think>\n```json\n{says('甲')}\n```"
    assert set(task.check(reply)[0].values()) == {1.0}


def test_what_never_makes_sense_is_left_out_or_stops_the_run(server, config, tmp_path):
    def at_a_loss(n, request):
        hard = "第1个" in request["messages"][1]["content"] and any(
            reply == "差。" for reply in asked(request)
        )
        return "？" if hard else says("平")

    server.script = at_a_loss
    found = j.judge(made(), config, tmp_path, seed=1)
    assert found["judge"]["comparisons"] == 10 and found["judge"]["without_verdict"] == 2
    assert found["win_rate"]["overall"]["poor"]["n"] == 6
    with pytest.raises(UserError, match=r"judge m: 2 of 12 comparisons have no verdict, most often: format"):
        j.verdicts(made(), config.model_copy(update={"max_failed_share": 0.1}), tmp_path)


def test_nothing_is_paid_for_twice_and_the_dry_run_sends_nothing(server, config, tmp_path):
    server.script = fair_judge
    before = j.estimate(made(), config, tmp_path)
    assert (before["comparisons"], before["calls"], before["cached"]) == (12, 24, 0) and not server.requests
    first = j.verdicts(made(), config, tmp_path)
    assert j.verdicts(made(), config, tmp_path).equals(first) and len(server.requests) == 24
    after = j.estimate(made(), config, tmp_path)
    assert (after["calls"], after["cached"], after["input_tokens"]) == (0, 24, 0)
    j.verdicts(made(), config.model_copy(update={"model": "other"}), tmp_path)
    assert len(server.requests) == 48, "another judge is another reply"
    assert KEY not in (tmp_path / j.CACHE).read_text(encoding="utf-8")


def test_no_personal_data_and_no_chain_leaves_the_machine(server, config, tmp_path):
    server.script = lambda n, request: says("平")
    chain = render(
        ChainOfEmpathy(L1="焦虑", L2="考试", L3="希望得到建议", L4="安抚"), "打我电话13812345678。"
    )
    j.verdicts(
        j.duels({"q": {"a": chain, "b": "好。"}}, {"q": "我的电话是13987654321，帮帮我"}, most=9, seed=1),
        config,
        tmp_path,
    )
    sent = json.dumps(server.requests, ensure_ascii=False)
    assert (
        "13812345678" not in sent
        and "13987654321" not in sent
        and "empathy_think" not in sent
        and "打我电话" in sent
    )


def test_posts_are_drawn_with_the_seed_among_those_all_answered():
    replies = {**REPLIES, "q9": {"good": "只有一个"}}
    assert {duel.item for duel in made(replies)} == set(QUESTIONS)
    some = made(most=2)
    assert len({duel.item for duel in some}) == 2 and some == made(most=2) and len(some) == 6
    with pytest.raises(UserError, match="found 1 systems and 1 such posts"):
        j.duels({"q0": {"good": "好"}}, QUESTIONS, most=1, seed=1)


def ratings(order: str, rater: str = "Ann", dimensions=DIMENSIONS) -> pd.DataFrame:
    rows = [
        (rater, "q0", dimension, system, place)
        for dimension in dimensions
        for place, system in enumerate(order.split(), 1)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def test_agreement_with_people_by_hand():
    rates = {"overall": {"good": {"value": 0.9}, "fair": {"value": 0.5}, "poor": {"value": 0.1}}}
    assert judge_agreement(rates, ratings("good fair poor"))["overall"] == {
        "kendall_tau": 1.0,
        "pairs_agree": 1.0,
        "pairs": 3,
        "systems": 3,
    }
    swapped = judge_agreement(rates, ratings("fair good poor"))
    assert swapped["raters"] == "people" and swapped["overall"]["kendall_tau"] == pytest.approx(1 / 3)
    assert swapped["overall"]["pairs_agree"] == pytest.approx(2 / 3)
    assert judge_agreement(rates, ratings("poor fair good", "simulated-01"))["raters"] == "simulated"
    tied = {"overall": {"good": {"value": 0.5}, "fair": {"value": 0.5}}}
    assert judge_agreement(tied, ratings("good fair"))["overall"] == {
        "kendall_tau": None,
        "pairs_agree": None,
        "pairs": 0,
        "systems": 2,
    }
    with pytest.raises(UserError, match="hold 1 of the judge's systems"):
        judge_agreement(rates, ratings("good other"))


def written(path, *records):
    path.write_text(
        "\n".join(json.dumps(record, ensure_ascii=False) for record in records) + "\n", encoding="utf-8"
    )
    return path


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([{"id": "q", "system": "a", "completion": "好"}], "line 1: field 'question': no post for 'q'"),
        (
            [{"id": "q", "system": "a", "completion": "好", "question": "帖"}] * 2,
            "line 2: system 'a' answered 'q' twice",
        ),
        ([{"id": "q", "completion": "好", "question": "帖"}], "line 1: field 'system'"),
    ],
)
def test_a_bad_file_is_named_with_line_and_field(tmp_path, records, message):
    with pytest.raises(UserError, match=message):
        j.read_replies(written(tmp_path / "c.jsonl", *records))
    with pytest.raises(UserError, match="no such file"):
        j.read_replies(tmp_path / "none")


def test_the_command(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("EMPATHY_CACHE", str(tmp_path / "cache"))
    lines = [
        {"id": item, "system": system, "completion": text}
        for item, systems in REPLIES.items()
        for system, text in systems.items()
    ]
    file = written(tmp_path / "completions.jsonl", *lines)
    posts = written(
        tmp_path / "posts.jsonl", *({"id": k, "question": v, "topic": "x"} for k, v in QUESTIONS.items())
    )
    people = tmp_path / "ratings.csv"
    ratings("good fair poor").to_csv(people, index=False)
    server.script = fair_judge
    command = [
        "judge",
        str(file),
        "--out",
        str(tmp_path / "judge.json"),
        "--model",
        "m",
        "--posts",
        str(posts),
        "--ratings",
        str(people),
    ]

    def call(*more: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["empathy_lib", *command, *more])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return caught.value.code or 0, *capsys.readouterr()

    status_, out, _ = call("--dry-run", "--set", "input_price=1")
    assert status_ == 0 and "calls" in out and not server.requests and not (tmp_path / "judge.json").exists()
    status_, out, err = call("--questions", "2")
    assert (status_, err) == (0, "") and "good" in out and "raters (people)" in out
    found = json.loads((tmp_path / "judge.json").read_text(encoding="utf-8"))
    assert found["agreement"]["overall"]["kendall_tau"] == 1.0 and found["judge"]["posts"] == 2
    assert server.requests[0]["temperature"] == 0
    status_, _, err = call("--set", "colour=red")
    assert status_ == 2 and "dataset.teacher.colour: no such field" in err


def test_the_judge_sees_no_tail_and_no_thoughts():
    texts = {"a": "<think>她要安慰</think>慢慢来", "b": "<answer>我在听</answer>以上由模型写成"}
    (duel,) = j.duels({"q0": texts}, QUESTIONS, most=1, seed=1)
    assert (duel.reply_a, duel.reply_b) == ("慢慢来", "我在听")
