"""Postgres that needs no installation: started for whoever comes first, stopped by whoever leaves last."""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO

from sqlalchemy import text
from sqlalchemy.engine import URL

from alservice.adapters.sql.cluster import PORT, SUPERUSER, Cluster
from alservice.adapters.sql.engine import make_engine, transaction
from alservice.adapters.sql.programs import EmbeddedPostgresFailed
from alservice.constants import APP_NAME
from alservice.errors import StorageFull


class EmbeddedPostgres:
    """A Postgres server on one folder; entering gives the URL of its database.

    Any number of processes, and of users in one process, may share a folder. Each holds a shared lock that
    the kernel drops when the process ends, however it ends; so whoever leaves knows whether others remain. A
    server whose only user was killed keeps running until the next user of the folder leaves.

    The server has a session of its own, so that Ctrl-C in a terminal reaches us alone and it is stopped in
    order. It listens on a Unix socket that only its OS user can reach. As root, that user is ``pgserver``,
    made at need, and the folder's parents become passable for it.

    Raises
    ------
    EmbeddedPostgresFailed
        A program of the wheel failed, or the folder is closed to us.
    StorageFull
        The disk is full.
    DatabaseUnavailable
        A server on this folder is neither ready nor gone after a minute.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._cluster = Cluster(data=self._folder / "data")
        self._held = ExitStack()

    def __enter__(self) -> str:
        with ExitStack() as held:
            with self._typed_errors():
                self._folder.mkdir(parents=True, exist_ok=True)
                users = held.enter_context((self._folder / "users.lock").open("a"))
            held.callback(self._leave, users)
            with self._typed_errors(), self._alone():
                fcntl.flock(users, fcntl.LOCK_SH)
                url = _ensure_database(self._cluster.ensure_running())
            self._held = held.pop_all()
        return url

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    def _leave(self, users: IO[str]) -> None:
        with self._typed_errors(), self._alone():
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            self._cluster.stop()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep all others from starting or stopping the server meanwhile."""
        with (self._folder / "server.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _typed_errors(self) -> Iterator[None]:
        try:
            yield
        except StorageFull:
            raise
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise StorageFull(f"embedded Postgres in {self._folder}: {error.strerror}") from error
            raise EmbeddedPostgresFailed(f"embedded Postgres in {self._folder}: {error}") from error


def _ensure_database(socket_folder: Path) -> str:
    """Return the URL of our database, made at the first start."""
    # The port is named because the environment's PGPORT would win otherwise.
    query = {"host": str(socket_folder), "port": str(PORT)}
    url = URL.create("postgresql+psycopg2", username=SUPERUSER, database=APP_NAME, query=query)
    engine = make_engine(url.set(database=SUPERUSER).render_as_string())
    with transaction(engine.execution_options(isolation_level="AUTOCOMMIT")) as connection:
        known = text("SELECT FROM pg_database WHERE datname = :name")
        if connection.execute(known, {"name": APP_NAME}).first() is None:
            connection.execute(text(f"CREATE DATABASE {APP_NAME}"))
    engine.dispose()
    return url.render_as_string()
