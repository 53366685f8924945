"""The ratings of people while they are being given: one SQLite file, one transaction for each save.

Knows: raters, their tokens, which replies they are to rank, what they said. Does not know: posts, systems,
web pages.

What :meth:`RatingStore.save` has returned from is on disk and survives the death of any process. A rating is
a row keyed by (rater, item, dimension, letter): saying it twice changes nothing, saying something else
replaces it, and ``changes`` counts that.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from empathy_lib.core.errors import UserError
from empathy_lib.core.paper import DIMENSIONS

LONGEST_SECONDS = 86_400.0  # of one visit to a sheet: more is no reading time
_VERSION = 1
_WAIT_SECONDS = 20.0  # for another's transaction, which takes milliseconds
_SCHEMA = f"""
CREATE TABLE study (digest TEXT NOT NULL);
CREATE TABLE rater (name TEXT PRIMARY KEY, token TEXT NOT NULL UNIQUE, consented_at TEXT, stopped_at TEXT);
CREATE TABLE reply (rater TEXT NOT NULL REFERENCES rater, item TEXT NOT NULL, letter TEXT NOT NULL, \
PRIMARY KEY (rater, item, letter));
CREATE TABLE rating (
  rater TEXT NOT NULL, item TEXT NOT NULL, letter TEXT NOT NULL, dimension TEXT NOT NULL,
  rank INTEGER NOT NULL CHECK (rank >= 1), changes INTEGER NOT NULL DEFAULT 0, updated_at TEXT NOT NULL,
  PRIMARY KEY (rater, item, letter, dimension), FOREIGN KEY (rater, item, letter) REFERENCES reply
);
CREATE TABLE visit (
  rater TEXT NOT NULL REFERENCES rater, item TEXT NOT NULL, id TEXT NOT NULL, step INTEGER NOT NULL, \
seconds REAL NOT NULL,
  PRIMARY KEY (rater, item, id)
);
CREATE VIEW sheet AS
  SELECT rater, item, COUNT(rank) AS ranks, COUNT(rank) = COUNT(DISTINCT letter) * {len(DIMENSIONS)} AS \
complete
  FROM reply LEFT JOIN rating USING (rater, item, letter) GROUP BY rater, item;
PRAGMA user_version = {_VERSION};
"""


@dataclass(frozen=True)
class Rater:
    """A rater as the database knows them: ``consented`` once and for all, ``stopped`` until they go on."""

    name: str
    consented: bool
    stopped: bool


class RatingStore:
    """The ratings of one study. Any number of threads and processes may use stores on the same file at once.

    Args:
        path: the SQLite file; made if it is not there, readable by its owner only since it holds the raters'
            tokens.
        digest: says which study the ratings are of; a file made for another study is refused.
        replies: ``(rater, item, letter)`` of all that is to be ranked; used when the file is made.

    Raises:
        UserError: the file holds the ratings of another study or is no rating database, or the disk cannot
            keep one.
    """

    def __init__(self, path: Path, digest: str, replies: Iterable[tuple[str, str, str]]) -> None:
        self.path = Path(path)
        try:
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            with contextlib.closing(self._connect()) as connection:
                if connection.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
                    raise UserError(
                        f"{self.path}: this disk allows no write-ahead log; put the study on a local disk"
                    )
                if self._is_empty(connection):  # else only read: opening waits for nobody's save
                    with self._transaction() as db:
                        if self._is_empty(db):  # nobody was quicker
                            self._create(db, digest, list(replies))
                self._check(connection, digest)
        except (sqlite3.Error, OSError) as error:
            raise UserError(
                f"{self.path}: cannot be used as a rating database ({error}); move it away or mend the disk"
            ) from error

    @staticmethod
    def _is_empty(db: sqlite3.Connection) -> bool:
        return db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone() == (0,)

    @staticmethod
    def _create(db: sqlite3.Connection, digest: str, replies: list[tuple[str, str, str]]) -> None:
        for statement in _SCHEMA.split(";"):  # not executescript, which would end the transaction
            db.execute(statement)
        db.execute("INSERT INTO study VALUES (?)", (digest,))
        names = dict.fromkeys(rater for rater, _, _ in replies)
        db.executemany(
            "INSERT INTO rater (name, token) VALUES (?, ?)",
            [(name, secrets.token_urlsafe()) for name in names],
        )
        db.executemany("INSERT INTO reply VALUES (?, ?, ?)", replies)

    def _check(self, db: sqlite3.Connection, digest: str) -> None:
        if db.execute("PRAGMA user_version").fetchone() != (_VERSION,):
            raise UserError(f"{self.path}: no rating database of this version; move it away")
        if db.execute("SELECT digest FROM study").fetchall() != [(digest,)]:
            raise UserError(
                f"{self.path}: holds ratings of another study; put the study.jsonl it was made with back, or "
                f"move it away"
            )

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_WAIT_SECONDS, isolation_level=None)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")  # an acknowledged save survives a power cut as well
        return connection

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """A connection of one's own, as threads cannot share one; what the block did is kept whole or not at
        all."""
        with contextlib.closing(self._connect()) as connection:
            # not at the first write: a reader that turns writer may fail without waiting
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                yield connection

    def _read(self, query: str, *values: str) -> list[tuple]:
        with contextlib.closing(self._connect()) as connection:
            return connection.execute(query, values).fetchall()

    def tokens(self) -> dict[str, str]:
        """Rater -> the secret in their link, in order of name."""
        return dict(self._read("SELECT name, token FROM rater ORDER BY name"))

    def rater(self, token: str) -> Rater | None:
        """Whose token this is; None if nobody's."""
        found = self._read(
            "SELECT name, consented_at IS NOT NULL, stopped_at IS NOT NULL FROM rater WHERE token = ?", token
        )
        return Rater(found[0][0], bool(found[0][1]), bool(found[0][2])) if found else None

    def consent(self, rater: str) -> None:
        """Note that the rater has read the notice and agreed; the first time counts."""
        with self._transaction() as db:
            db.execute(
                "UPDATE rater SET consented_at = coalesce(consented_at, ?) WHERE name = ?", (_now(), rater)
            )

    def stop(self, rater: str) -> None:
        """Note that the rater has stopped; what they said stays."""
        with self._transaction() as db:
            db.execute("UPDATE rater SET stopped_at = ? WHERE name = ?", (_now(), rater))

    def resume(self, rater: str) -> None:
        """Note that the rater who had stopped goes on."""
        with self._transaction() as db:
            db.execute("UPDATE rater SET stopped_at = NULL WHERE name = ?", (rater,))

    def forget(self, rater: str) -> int:
        """Delete all that a rater has given, as they may ask; their link stays valid and begins anew. Returns
        how many ranks there were.

        Raises:
            UserError: no such rater.
        """
        if rater not in self.tokens():
            raise UserError(f"{self.path}: no rater '{rater}'; it knows {', '.join(self.tokens())}")
        with self._transaction() as db:
            db.execute("PRAGMA secure_delete = ON")  # what is deleted is written over in the file
            db.execute("DELETE FROM visit WHERE rater = ?", (rater,))
            db.execute("UPDATE rater SET consented_at = NULL, stopped_at = NULL WHERE name = ?", (rater,))
            return db.execute("DELETE FROM rating WHERE rater = ?", (rater,)).rowcount

    def save(
        self,
        rater: str,
        item: str,
        ranks: Mapping[tuple[str, str], int],
        *,
        visit: str = "",
        step: int = 0,
        seconds: float = 0.0,
    ) -> None:
        """Keep what a rater says of one item, whole or in part, in one transaction.

        Args:
            ranks: (letter, dimension) -> rank, 1 is the best, equal ranks are a tie; what is not there stays
                as it was.
            visit: names one opening of the sheet; its seconds replace those it had, and those of different
                visits add up.
            step: counts the saves of a visit; a save that comes in after a later one of its visit was
                overtaken, and is dropped.
            seconds: how long the sheet has been looked at during this visit.

        Raises:
            UserError: an unknown dimension or a rank below 1.
            sqlite3.Error: an unknown (rater, item, letter), or a file that cannot be written; nothing was
                kept.
        """
        for (_, dimension), rank in ranks.items():
            if dimension not in DIMENSIONS or rank < 1:
                raise UserError(
                    f"{rater}, {item}: rank {rank} on '{dimension}'; give 1 or more on one of "
                    f"{', '.join(DIMENSIONS)}"
                )
        now = _now()
        with self._transaction() as db:
            if visit:
                seen = db.execute(
                    "INSERT INTO visit VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET step = "
                    "excluded.step, seconds = excluded.seconds "
                    "WHERE excluded.step >= step",
                    (rater, item, visit, step, min(max(seconds, 0.0), LONGEST_SECONDS)),
                )
                if not seen.rowcount:
                    return
            db.executemany(
                "INSERT INTO rating (rater, item, letter, dimension, rank, updated_at) VALUES (?, ?, ?, ?, "
                "?, ?) ON CONFLICT DO UPDATE "
                "SET rank = excluded.rank, updated_at = excluded.updated_at, changes = changes + 1 WHERE "
                "rank <> excluded.rank",
                [(rater, item, letter, dimension, rank, now) for (letter, dimension), rank in ranks.items()],
            )

    def ranks(self, rater: str, item: str) -> dict[tuple[str, str], int]:
        """What the rater has said of one item: (letter, dimension) -> rank."""
        rows = self._read(
            "SELECT letter, dimension, rank FROM rating WHERE rater = ? AND item = ?", rater, item
        )
        return {(letter, dimension): rank for letter, dimension, rank in rows}

    def complete_items(self, rater: str) -> set[str]:
        """Items of which this rater has ranked every reply on every dimension."""
        return {item for (item,) in self._read("SELECT item FROM sheet WHERE rater = ? AND complete", rater)}

    def counts(self) -> dict[str, int]:
        """How many sheets are ``complete``, ``begun`` but not complete, and ``untouched``."""
        query = (
            "SELECT COALESCE(SUM(complete), 0), COALESCE(SUM(ranks > 0 AND NOT complete), 0), "
            "COALESCE(SUM(ranks = 0), 0) FROM sheet"
        )
        return dict(zip(("complete", "begun", "untouched"), self._read(query)[0], strict=True))

    def complete_ratings(self) -> list[tuple[str, str, str, str, int, float]]:
        """``(rater, item, dimension, letter, rank, seconds)`` of all complete sheets; ``seconds`` is that of
        the whole sheet."""
        return self._read(
            "SELECT rater, item, dimension, letter, rank, "
            "COALESCE((SELECT SUM(seconds) FROM visit WHERE visit.rater = rating.rater AND visit.item = "
            "rating.item), 0) "
            "FROM rating JOIN sheet USING (rater, item) WHERE complete ORDER BY rater, item, dimension, "
            "letter"
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
