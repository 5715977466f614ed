"""One engine per process, transactions whose driver errors are typed, and the schema's version."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, func, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, InterfaceError, OperationalError

from alservice.constants import APP_NAME
from alservice.cycle.leases import Fence
from alservice.errors import (
    AlserviceError,
    BadConfig,
    BadInput,
    Conflict,
    DatabaseUnavailable,
    LeaseLost,
    SchemaMismatch,
    StorageFull,
)
from alservice.meters import measured

CONNECT_TIMEOUT_S: Final = 10
"""Seconds to wait for a connection: longer than a failover of Postgres, shorter than a person's patience."""

POOL_CONNECTIONS: Final = 25
"""Connections kept once they were needed: one for each of a publisher's 24 threads, one for their caller."""

IDLE_S: Final = 300
"""Seconds for which a transaction may do nothing: Postgres ends that of a process that stopped or a network that is
cut, so that its locks keep nobody waiting."""

LOCK_S: Final = 600
"""Seconds to wait for a lock before `DatabaseUnavailable` is raised: longer than a dead holder's transaction lives."""

KEEPALIVE: Final = {
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # ms
}
"""A connection whose other end is gone fails within a minute; by the kernel's own values it takes two hours."""

UPGRADE_LOCK: Final = 7_316_501
"""Advisory lock of `upgrade`: any constant, the same in all releases, so that upgrades never interleave."""

_DRIVER: Final = "postgresql+psycopg2"
_DISK_FULL, _TOO_LONG = "53100", "54000"  # SQLSTATE; the second is of texts longer than an index holds
_NUL: Final = "NUL (0x00)"


def make_engine(url: str) -> Engine:
    """Return an engine for a Postgres URL; nothing is connected yet.

    Raises
    ------
    BadConfig
        The URL cannot be read or is not Postgres'. The message leaves the URL out: it may hold a password.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise BadConfig("the database URL cannot be read: use postgresql://USER:PASSWORD@HOST/NAME") from None
    if parsed.drivername not in {"postgresql", _DRIVER}:
        raise BadConfig(f"the database URL must start with postgresql://, not {parsed.drivername}://")
    engine = create_engine(
        parsed.set(drivername=_DRIVER),
        pool_size=POOL_CONNECTIONS,
        pool_pre_ping=True,
        hide_parameters=True,  # values of a failed statement can be a volunteer's
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "application_name": APP_NAME, **KEEPALIVE},
    )
    event.listen(engine, "connect", _bound)
    return engine


def _bound(connection: DBAPIConnection, _: object) -> None:
    """Bound what a new connection waits for, and how long others wait for it; a pooler passes no start-up options."""
    cursor = connection.cursor()
    cursor.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_S}s'; SET lock_timeout = '{LOCK_S}s'")
    cursor.close()
    connection.commit()


def fenced(engine: Engine, fence: Fence) -> Engine:
    """Return the engine as a process has it that works under a lease: what it writes when it lost that is refused."""
    return engine.execution_options(fence=fence)


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """Commit at the end, or roll back and raise.

    Raises
    ------
    DatabaseUnavailable
        Postgres cannot be reached, went away, or gave up on a lock; nothing was written.
    StorageFull
        Postgres has no disk space left.
    Conflict
        A constraint refused the write; the message names it.
    BadInput
        A value does not fit its column.
    LeaseLost
        The engine is fenced, and the lease or the step is another process's by now: nothing was written.
    """
    with measured("sql", "transaction", faults=(DatabaseUnavailable, StorageFull)):
        try:
            with engine.begin() as connection:
                yield connection
                _check_fence(connection)
        except DBAPIError as error:
            typed = _typed(error, engine)
            if typed is None:
                raise
            raise typed from error
        except ValueError as error:
            # The driver refuses these before the database could, and with errors of Python's.
            if isinstance(error, UnicodeEncodeError) or _NUL in str(error):
                raise BadInput("the database cannot store a text with a NUL or half of a character") from error
            raise


_CHECK: Final = """
    SELECT CASE WHEN pg_current_xact_id_if_assigned() IS NULL THEN 1
        ELSE (SELECT 1 FROM {table} WHERE campaign_id = :campaign AND token = :token FOR KEY SHARE) END
"""
"""1 while the token is there, or nothing was written: reading is free. The lock lets renewals pass, and makes whoever
takes the campaign or the step over wait for this commit."""

_FENCES: Final = {"lease": text(_CHECK.format(table="leases")), "sent step": text(_CHECK.format(table="sent_steps"))}


def _check_fence(connection: Connection) -> None:
    """Raise `LeaseLost` where rows were written under a token that is no longer the campaign's."""
    fence: Fence | None = connection.get_execution_options().get("fence")
    if fence is None:
        return
    shown = {"campaign": fence.campaign_id, "token": fence.token}
    if connection.scalar(_FENCES[fence.kind], shown) is None:
        raise LeaseLost(
            f"the {fence.kind} of this process is another's by now: what it was about to write is refused",
            campaign=fence.campaign_id,
        )


def _typed(error: DBAPIError, engine: Engine) -> AlserviceError | None:
    """Return what a driver error means to us; None for a mistake of ours, which should be seen as it is."""
    diagnosis = getattr(error.orig, "diag", None)
    said = getattr(diagnosis, "message_primary", None) or str(error.orig).partition("\n")[0]
    state = getattr(error.orig, "pgcode", None)
    if state == _TOO_LONG:
        return BadInput(f"the database cannot store a value: {said}", sqlstate=state)
    if state == _DISK_FULL:
        return StorageFull(f"Postgres at {_place(engine)} has no disk space left: {said}")
    if isinstance(error, IntegrityError):
        constraint = getattr(diagnosis, "constraint_name", None)
        return Conflict(f"the database refused the write: {said}", constraint=constraint)
    if isinstance(error, DataError):
        return BadInput(f"the database cannot store a value: {said}", sqlstate=state)
    if isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated:
        return DatabaseUnavailable(f"Postgres at {_place(engine)}: {said}", sqlstate=state)
    return None


def _place(engine: Engine) -> str:
    url = engine.url
    return f"{url.host or url.query.get('host', 'localhost')}, database {url.database}"


def schema_state(engine: Engine) -> tuple[str | None, str]:
    """Return the revision of the database, None when it is empty, and the one this release needs."""
    with transaction(engine) as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    if head is None:
        raise SchemaMismatch("this installation has no migrations", folder=str(_MIGRATIONS))
    return current, head


def check_schema(engine: Engine) -> None:
    """Raise `SchemaMismatch` unless the database is at the revision this release needs."""
    current, head = schema_state(engine)
    if current != head:
        found = f"at revision {current}" if current else "empty"
        raise SchemaMismatch(
            f"the database {_place(engine)} is {found}; this release needs revision {head}",
            current=current,
            needed=head,
        )


def upgrade(engine: Engine) -> None:
    """Bring the database to the newest revision, in one transaction; a simultaneous one waits for it.

    Raises
    ------
    SchemaMismatch
        The database was upgraded by a newer release.
    """
    current, head = schema_state(engine)
    known = {script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()}
    if current is not None and current not in known:
        raise SchemaMismatch(
            f"the database {_place(engine)} is at revision {current} of a newer release: install that one",
            current=current,
            needed=head,
        )
    with transaction(engine) as connection:
        connection.execute(select(func.pg_advisory_xact_lock(UPGRADE_LOCK)))
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


_MIGRATIONS: Final = Path(__file__).resolve().parents[2] / "migrations"


def alembic_config() -> Config:
    """Return Alembic's configuration: the migrations lie beside the package, in a clone as when installed."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("file_template", "%%(year)d%%(month).2d%%(day).2d_%%(rev)s_%%(slug)s")
    return config
