"""Postgres that needs no installation: started for whoever comes first, stopped by whoever leaves last."""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Final

from sqlalchemy import text
from sqlalchemy.engine import URL

from alservice.constants import APP_NAME
from alservice.errors import StorageFull
from alservice.storage.embedded_postgres import PORT, SUPERUSER, Cluster
from alservice.storage.postgres import make_engine, transaction
from alservice.storage.programs import EmbeddedPostgresFailed

_OWNED: Final = """
    SELECT format('ALTER %s %s OWNER TO %I', kind, name, CAST(:role AS text)) FROM (
        SELECT 'TABLE', oid::regclass::text FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
        UNION ALL SELECT 'SEQUENCE', oid::regclass::text FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind = 'S' AND NOT EXISTS (
                SELECT FROM pg_depend
                WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype IN ('a', 'i')
            )
        UNION ALL SELECT 'ROUTINE', oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION ALL SELECT 'TYPE', oid::regtype::text FROM pg_type
            WHERE typnamespace = 'public'::regnamespace AND typtype IN ('d', 'e')
    ) AS owned (kind, name)
"""
"""Statements that give away what a schema has; a table's indices and its columns' sequences follow it."""


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
    """Return the URL of our database, made at the first start; it is an ordinary role's, and so are we in it.

    What is in a database, a restored dump above all, runs with the rights of whoever uses it: a superuser's reach
    the server's files and programs.
    """
    # The port is named because the environment's PGPORT would win otherwise.
    query = {"host": str(socket_folder), "port": str(PORT)}
    url = URL.create("postgresql+psycopg2", username=APP_NAME, database=APP_NAME, query=query)
    engine = make_engine(url.set(username=SUPERUSER, database=SUPERUSER).render_as_string())
    with transaction(engine.execution_options(isolation_level="AUTOCOMMIT")) as connection:
        role = text("SELECT FROM pg_roles WHERE rolname = :name")
        if connection.execute(role, {"name": APP_NAME}).first() is None:
            connection.execute(text(f"CREATE ROLE {APP_NAME} LOGIN"))
        known = text("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = :name")
        owner = connection.scalar(known, {"name": APP_NAME})
        if owner is None:
            connection.execute(text(f"CREATE DATABASE {APP_NAME} OWNER {APP_NAME}"))
    engine.dispose()
    if owner == SUPERUSER:
        _hand_over(url)
    return url.render_as_string()


def _hand_over(url: URL) -> None:
    """Give a database that the superuser owns, as an earlier version made it, to the ordinary role."""
    engine = make_engine(url.set(username=SUPERUSER).render_as_string())
    with transaction(engine) as connection:
        for statement in connection.scalars(text(_OWNED), {"role": APP_NAME}).all():
            connection.execute(text(statement))
        connection.execute(text(f"ALTER DATABASE {APP_NAME} OWNER TO {APP_NAME}"))
    engine.dispose()
