"""State on disk: one SQLite connection, one lock, one transaction per request.

The connection is shared and every use of it holds the lock, so a request sees and leaves committed rows only.
What is committed is in the operating system's hands: ``kill -9`` loses nothing that an answer has promised. Nothing
is forced to the disk, so a power cut may cost the whole state, which a rehearsal can afford.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import itertools
import json
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

from alservice.errors import BadConfig, Conflict, NotFound, SchemaMismatch
from alservice.standin.config import Clock, stamp
from alservice.standin.tables import SCHEMA, SCHEMA_VERSION

Row = sqlite3.Row
NEVER = "9999"


def sql(*parts: str) -> str:
    """Return one statement from its parts: constants and placeholders, never a value from the wire."""
    return " ".join(parts)


class Transaction:
    """The statements of one transaction, and the one moment it happens at."""

    def __init__(
        self,
        database: sqlite3.Connection,
        *,
        now: datetime,
        secret: bytes,
        settle_s: float,
        draws: Iterator[int],
        folder: Path,
    ) -> None:
        self._database = database
        self.folder = folder
        self._draws = draws
        self._secret = secret
        self._settle_s = settle_s
        self.now = now
        self.stamp = stamp(now)
        self.earliest_job = NEVER

    def run(self, statement: str, *values: object) -> sqlite3.Cursor:
        """Run one statement."""
        return self._database.execute(statement, values)

    def run_many(self, statement: str, rows: Iterable[tuple[object, ...]]) -> int:
        """Run one statement per row and return how many rows of the table changed."""
        return self._database.executemany(statement, rows).rowcount

    def all(self, statement: str, *values: object) -> list[Row]:
        """Return every row."""
        return self._database.execute(statement, values).fetchall()

    def one(self, statement: str, *values: object) -> Row | None:
        """Return the first row, or None."""
        row: Row | None = self._database.execute(statement, values).fetchone()
        return row

    def only(self, statement: str, *values: object) -> Row:
        """Return the row that must be there.

        Raises
        ------
        NotFound
            The stand-in has lost track of its own rows.
        """
        row = self.one(statement, *values)
        if row is None:
            raise NotFound(f"the stand-in lost a row: {statement}", values=values)
        return row

    def value(self, statement: str, *values: object) -> Any:
        """Return the first column of the first row, or None."""
        row = self.one(statement, *values)
        return None if row is None else row[0]

    def insert(self, table: str, **columns: object) -> int:
        """Insert one row and return its id."""
        names, places = ", ".join(columns), ", ".join("?" * len(columns))
        statement = sql("INSERT INTO", table, f"({names}) VALUES ({places})")
        row_id = self._database.execute(statement, tuple(columns.values())).lastrowid
        if row_id is None:
            raise Conflict(f"the stand-in inserted a row into {table} and got no id for it")
        return row_id

    def insert_dated(self, table: str, **columns: object) -> int:
        """Insert one row that was created and updated now, and return its id."""
        return self.insert(table, **columns, created_at=self.stamp, updated_at=self.stamp)

    def update(self, table: str, row_id: int, **columns: object) -> None:
        """Set columns of one row, without a trace in its ``updated_at``."""
        changes = ", ".join(f"{name} = ?" for name in columns)
        self._database.execute(sql("UPDATE", table, "SET", changes, "WHERE id = ?"), (*columns.values(), row_id))

    def revise(self, table: str, row_id: int, **columns: object) -> None:
        """Set columns of one row, its ``updated_at`` and its revision, and with them its ETag."""
        changes = ", ".join((*(f"{name} = ?" for name in columns), "updated_at = ?", "revision = revision + 1"))
        self._database.execute(
            sql("UPDATE", table, "SET", changes, "WHERE id = ?"), (*columns.values(), self.stamp, row_id)
        )

    def derive(self, purpose: str, *parts: object) -> str:
        """Return 64 hex digits that follow from the secret, `purpose` and `parts`, and from nothing else."""
        message = "\x1f".join((purpose, *map(str, parts)))
        return hmac.new(self._secret, message.encode(), hashlib.sha256).hexdigest()

    def draw(self, span: int) -> int:
        """Return a number below `span` that differs by call and, given a seed, follows from their order."""
        return int(self.derive("draw", next(self._draws)), 16) % span

    def defer(self, kind: str, *, at_least_s: float = 0.0, **payload: object) -> None:
        """Queue an effect that other calls see after the settling delay, or after `at_least_s` if that is longer."""
        due = stamp(self.now + timedelta(seconds=max(self._settle_s, at_least_s)))
        self.insert("jobs", due_at=due, kind=kind, payload=json.dumps(payload))
        self.earliest_job = min(self.earliest_job, due)


def _guard(folder: Path) -> TextIO:
    """Return the lock file that keeps a second process, whose cached counters would be wrong, out."""
    guard = (folder / "standin.lock").open("w")
    try:
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        guard.close()
        raise Conflict(f"another stand-in is using {folder}", folder=str(folder)) from error
    return guard


def _fresh_secret(seed: int | None) -> str:
    return secrets.token_hex(32) if seed is None else hashlib.sha256(str(seed).encode()).hexdigest()


class State:
    """The stand-in's database, its clock and its secret.

    Parameters
    ----------
    folder
        Where ``standin.db`` and the uploaded files live; created when absent.
    clock
        Returns the present in UTC; the persisted offset is added to it.
    seed
        Fixes the secret of a new state; None draws it from the operating system.
    settle_s
        Seconds until a deferred effect is due.

    Raises
    ------
    BadConfig
        The folder cannot be made or written, or holds something else.
    Conflict
        Another stand-in has this folder open.
    SchemaMismatch
        The folder was written by another release.
    """

    def __init__(self, folder: Path, *, clock: Clock, seed: int | None, settle_s: float) -> None:
        self.folder = folder
        self._clock = clock
        self._settle_s = settle_s
        self._lock = threading.RLock()
        self._draws = itertools.count()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._guard = _guard(folder)
        except OSError as error:
            raise BadConfig(f"the stand-in cannot keep its state in {folder}: {error.strerror}") from error
        self._database = sqlite3.connect(
            folder / "standin.db", check_same_thread=False, isolation_level=None, cached_statements=512
        )
        try:
            self._prepare()
            self._secret = bytes.fromhex(self._fact("secret", _fresh_secret(seed)))
            self._offset = timedelta(seconds=float(self._fact("clock_offset_s", "0")))
            self._next_job = self._earliest_job()
        except sqlite3.DatabaseError as error:
            self.close()
            raise BadConfig(f"{folder / 'standin.db'} cannot be used as the state of a stand-in: {error}") from error
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        self._database.row_factory = Row
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = OFF")
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            self._database.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        elif version != SCHEMA_VERSION:
            raise SchemaMismatch(f"{self.folder} holds stand-in state of version {version}, not {SCHEMA_VERSION}")

    def _fact(self, name: str, default: str) -> str:
        """Return a fact of this state, which becomes `default` when it is asked for the first time."""
        self._database.execute("INSERT OR IGNORE INTO facts (name, value) VALUES (?, ?)", (name, default))
        return str(self._database.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()[0])

    def _earliest_job(self) -> str:
        return str(self._database.execute("SELECT coalesce(min(due_at), ?) FROM jobs", (NEVER,)).fetchone()[0])

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Hold the lock for one transaction: committed when the block ends, rolled back when it raises."""
        with self._lock:
            transaction = Transaction(
                self._database,
                now=self.now(),
                secret=self._secret,
                settle_s=self._settle_s,
                draws=self._draws,
                folder=self.folder,
            )
            self._database.execute("BEGIN")
            try:
                yield transaction
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")
            self._next_job = min(self._next_job, transaction.earliest_job)

    def job_is_due(self) -> bool:
        """Return whether some deferred effect should be visible by now, without touching the disk."""
        return self._next_job <= stamp(self.now())

    def refresh_next_job(self) -> None:
        """Look up when the next deferred effect is due, after some were applied."""
        with self._lock:
            self._next_job = self._earliest_job()

    def now(self) -> datetime:
        """Return the present of the stand-in, in UTC."""
        return self._clock() + self._offset

    def advance(self, seconds: float) -> datetime:
        """Move the stand-in's clock forward for good and return the new present."""
        with self._lock:
            self._offset += timedelta(seconds=seconds)
            self._database.execute(
                "UPDATE facts SET value = ? WHERE name = 'clock_offset_s'",
                (str(self._offset.total_seconds()),),
            )
        return self.now()

    def close(self) -> None:
        """Close the database and give the folder free."""
        with self._lock:
            self._database.close()
            self._guard.close()
