"""Twenty raters at once on the real command, which is killed without warning at random moments: what a rater
was told is saved is there at the end, once, and under no other name."""

import http.client
import random
import re
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from urllib.parse import urlencode

import numpy as np
import pytest

from empathy_lib.core.paper import DIMENSIONS
from empathy_lib.core.run import ROOT
from empathy_lib.human_eval.design import build_study, read_key, write_study
from empathy_lib.human_eval.ratings import read_ratings
from empathy_lib.human_eval.run.collect import export_ratings, open_collection

SYSTEMS, ITEMS, RATERS, KILLS = ("base", "grpo", "sft"), ("q1", "q2"), 20, 3
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Server:
    """``python -m empathy_lib rate`` as a process that may be killed and started again on the same port."""

    def __init__(self, folder):
        self.folder, self.port = folder, 0
        self.start()

    def start(self):
        command = [sys.executable, "-m", "empathy_lib", "rate", str(self.folder), "--port", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8", cwd=ROOT)
        for line in self.process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:(\d+)/", line):
                self.port = int(found[1])
            if "Ctrl-C" in line:
                return
        raise AssertionError(f"the page did not start: status {self.process.wait()}")

    def kill(self):
        self.process.kill()  # SIGKILL: no time to tidy up
        self.process.communicate()


class Rater(threading.Thread):
    """One rater, with ranks of their own, who changes their mind pass after pass until ``enough`` is set.

    ``told``: what the server last said it has, by item, dimension and letter; ``lost``: requests that it
    never answered.
    """

    def __init__(self, name, token, sheets, server, enough):
        super().__init__(name=name, daemon=True)
        self.token, self.sheets, self.server, self.enough = token, sheets, server, enough
        self.random, self.told, self.passes, self.lost = random.Random(name), {}, 0, 0

    def run(self):
        while not self.passes or not self.enough.is_set():
            for number, sheet in enumerate(self.sheets, 1):
                for dimension in DIMENSIONS:
                    ranks = {reply.letter: self.random.randint(1, len(SYSTEMS)) for reply in sheet.replies}
                    self.say(number, {f"{dimension} {letter}": rank for letter, rank in ranks.items()})
                    self.told |= {(sheet.item, dimension, letter): rank for letter, rank in ranks.items()}
            self.passes += 1

    def say(self, number, form):
        """Send it again and again, as the page's script does, until the server says that it has it."""
        form |= {
            "visit": f"visit-{number}-{self.passes}",
            "step": list(DIMENSIONS).index(next(iter(form)).split()[0]),
        }
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
            with closing(connection), suppress(OSError, http.client.HTTPException):
                connection.request("POST", f"/sheet/{number}?rater={self.token}", urlencode(form), FORM)
                if connection.getresponse().status == 204:
                    return
            self.lost += 1
            time.sleep(0.1)


@pytest.fixture
def study(tmp_path):
    completions = {item: {system: f"{system} {item}" for system in SYSTEMS} for item in ITEMS}
    drawn = build_study(
        completions, dict.fromkeys(ITEMS, "帖"), raters=RATERS, items=2, rng=np.random.default_rng(4)
    )
    write_study(drawn, tmp_path)
    made = open_collection(tmp_path)
    for rater in made.sheets:
        made.store.consent(rater)
    return made


def test_what_twenty_raters_were_told_is_saved_outlives_every_kill(study, tmp_path):
    moment, enough, server = random.Random(5), threading.Event(), Server(study.folder)
    raters = [
        Rater(name, token, study.sheets[name], server, enough) for name, token in study.store.tokens().items()
    ]
    try:
        for rater in raters:
            rater.start()
        for _ in range(KILLS):
            time.sleep(moment.uniform(0.1, 0.6))
            server.kill()
            server.start()
        enough.set()
        for rater in raters:
            rater.join(timeout=120)
        assert not any(rater.is_alive() for rater in raters)
    finally:
        enough.set()
        server.kill()
    assert all(rater.lost for rater in raters), "a kill went by unseen"

    told = {(rater.name, *key): rank for rater in raters for key, rank in rater.told.items()}
    assert len(told) == RATERS * len(ITEMS) * len(DIMENSIONS) * len(SYSTEMS)
    with closing(sqlite3.connect(study.store.path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = db.execute("SELECT rater, item, dimension, letter, rank FROM rating").fetchall()
    assert len(rows) == len(told) and {row[:4]: row[4] for row in rows} == told

    again = open_collection(study.folder)  # as after any restart
    counts = export_ratings(again, tmp_path / "ratings.csv")
    assert counts == {"complete": RATERS * len(ITEMS), "begun": 0, "untouched": 0}
    key, _ = read_key(study.folder / "key.json")
    named = {(r, i, d, key[r][i][letter]): rank for (r, i, d, letter), rank in told.items()}
    read = read_ratings(tmp_path / "ratings.csv")
    assert {(row.rater, row.item, row.dimension, row.system): row.rank for row in read.itertuples()} == named
    assert len(read) == len(named)
