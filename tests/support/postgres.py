"""Real Postgres for tests: one server per session, one database per test, copied from a migrated template."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url

from alservice.storage.embedded_postgres import SUPERUSER, EmbeddedPostgres
from alservice.storage.postgres import make_engine, transaction, upgrade

TEMPLATE = f"alservice_template_{os.getpid()}"
GIVEN = os.environ.get("ALSERVICE_TEST_DATABASE_URL")
FAST_COPY = "" if GIVEN else "STRATEGY file_copy"  # twice as fast where nothing is synced; Postgres 14 lacks the word
ROOM_BYTES = 2**30
_NUMBERS = count()


def _at(url: str, database: str) -> str:
    return make_url(url).set(database=database).render_as_string(hide_password=False)


def run_sql(url: str, *statements: str) -> None:
    """Run statements that stand outside a transaction, such as CREATE DATABASE."""
    engine = make_engine(url)
    with transaction(engine.execution_options(isolation_level="AUTOCOMMIT")) as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder for a server, in memory where there is room: making one on disk waits for every byte.

    Not in pytest's folder: as root the server runs as another user, whom the next pytest process locks out of it.
    """
    memory = Path("/dev/shm")
    has_room = memory.is_dir() and shutil.disk_usage(memory).free > ROOM_BYTES
    parent = memory if has_room and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="alservice-tests-", dir=parent) as folder:
        yield Path(folder)


@contextmanager
def scratch_server() -> Iterator[str]:
    """Serve an embedded Postgres that forgets: nothing is synced, and its folder is removed at the end."""
    with scratch_folder() as folder, EmbeddedPostgres(folder) as url:
        # Nor vacuumed: a worker of the superuser at work in a database keeps its owner from dropping it.
        settings = ("fsync", "synchronous_commit", "full_page_writes", "autovacuum")
        role = make_url(url).username
        run_sql(
            make_url(url).set(username=SUPERUSER, database=SUPERUSER).render_as_string(),
            *(f"ALTER SYSTEM SET {name} = off" for name in settings),
            "SELECT pg_reload_conf()",
            f"ALTER ROLE {role} CREATEDB",
            f"GRANT SET ON PARAMETER session_replication_role TO {role}",  # one test of migrations has no other rows
        )
        yield url


@contextmanager
def migrated_database() -> Iterator[str]:
    """Serve a scratch database at the newest schema, for programs that are no tests."""
    with scratch_server() as url:
        engine = make_engine(url)
        upgrade(engine)
        engine.dispose()
        yield url


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """URL of a server on which databases may be made: ALSERVICE_TEST_DATABASE_URL, or an embedded one of ours."""
    if GIVEN:
        yield GIVEN
        return
    with scratch_server() as url:
        yield url


@pytest.fixture(scope="session")
def postgres_template(postgres_url: str) -> Iterator[str]:
    """Name of a database at the newest schema, for copies."""
    run_sql(postgres_url, f"CREATE DATABASE {TEMPLATE}")
    engine = make_engine(_at(postgres_url, TEMPLATE))
    upgrade(engine)
    engine.dispose()
    yield TEMPLATE
    run_sql(postgres_url, f"DROP DATABASE {TEMPLATE}")


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """URL of a database of this test's own, without tables."""
    yield from scratch_database(postgres_url, "template0")


@pytest.fixture
def database_url(postgres_url: str, postgres_template: str) -> Iterator[str]:
    """URL of a database of this test's own, at the newest schema and empty."""
    yield from scratch_database(postgres_url, postgres_template)


def scratch_database(postgres_url: str, template: str) -> Iterator[str]:
    """Copy a template into a database of its own; yield its URL, and drop it at the end."""
    name = f"alservice_test_{os.getpid()}_{next(_NUMBERS)}"
    run_sql(postgres_url, f"CREATE DATABASE {name} TEMPLATE {template} {FAST_COPY}")
    yield _at(postgres_url, name)
    run_sql(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Engine on a database of this test's own."""
    engine = make_engine(database_url)
    yield engine
    engine.dispose()
