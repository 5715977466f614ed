"""One engine per process, transactions whose driver errors are typed, and the schema's version."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Dialect,
    Engine,
    ForeignKey,
    FromClause,
    Identity,
    Integer,
    MetaData,
    Table,
    TableValuedAlias,
    Text,
    TypeDecorator,
    any_,
    column,
    create_engine,
    event,
    func,
    insert,
    literal,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, InterfaceError, OperationalError

from alservice.constants import APP_NAME
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
from alservice.states import named
from alservice.storage.traced import trace_statements
from alservice.tracing import is_tracing

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class UtcDateTime(TypeDecorator[datetime]):
    """A moment, read back in UTC whatever the session's zone; a time without a zone is refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _: Dialect) -> datetime | None:
        """Refuse a naive time, whose zone Postgres would guess."""
        if value is not None and value.tzinfo is None:
            raise ValueError(f"time {value} has no zone")
        return value

    def process_result_value(self, value: datetime | None, _: Dialect) -> datetime | None:
        """Return the moment in UTC."""
        return None if value is None else value.astimezone(UTC)


class EnumText(TypeDecorator[StrEnum]):
    """A member of an enum, stored as its text; `one_of` adds the check that keeps others out.

    A newer version may have stored a name that this one does not know: it is read as `named` reads it.
    """

    impl = Text
    cache_ok = True

    def __init__(self, enum: type[StrEnum]) -> None:
        super().__init__()
        self.enum = enum

    def process_result_value(self, value: str | None, _: Dialect) -> StrEnum | None:
        """Return the member."""
        return None if value is None else named(self.enum, value)


ByteText = Text(collation="C")
"""Text ordered by code point, as Python orders it, on every server: galaxy ids."""


def identity() -> Column[int]:
    """Return the column ``id``, numbered by Postgres."""
    return Column("id", BigInteger, Identity(always=True), primary_key=True)


def references(target: str, *, primary_key: bool = False, unique: bool = False, index: bool = False) -> Column[int]:
    """Return a column such as ``cycle_id`` that names a row of another table."""
    return Column(
        f"{target.removesuffix('s')}_id",
        ForeignKey(f"{target}.id"),
        primary_key=primary_key,
        unique=unique,
        index=index,
        nullable=False,
    )


def quoted(names: Iterable[str]) -> str:
    """Return names as the inside of an SQL list."""
    return ", ".join(f"'{name}'" for name in sorted(names))


def one_of(column: str, names: Iterable[str]) -> CheckConstraint:
    """Return the check that a column holds one of some names, such as the states of an enum."""
    return CheckConstraint(f"{column} IN ({quoted(names)})", name=column)


def counts(*columns: str) -> CheckConstraint:
    """Return the check that columns count something."""
    return CheckConstraint(" AND ".join(f"{column} >= 0" for column in columns), name="counts")


def shard_columns() -> tuple[Column[int] | Column[str] | CheckConstraint, ...]:
    """Return the columns of a table that lists the shards of an object."""
    return (
        Column("index", Integer, primary_key=True),
        Column("key", Text, nullable=False),
        Column("n_galaxies", Integer, nullable=False),
        Column("n_failed", Integer, nullable=False),
        counts("index", "n_galaxies", "n_failed"),
    )


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
    if is_tracing():
        trace_statements(engine)
    return engine


def _bound(connection: DBAPIConnection, _: object) -> None:
    """Bound what a new connection waits for, and how long others wait for it; a pooler passes no start-up options.

    Nor are notices sent: nobody reads them, and the driver drops whatever is raised while it decodes one, so that a
    signal which told the process to stop would be lost.
    """
    cursor = connection.cursor()
    bounds = f"SET idle_in_transaction_session_timeout = '{IDLE_S}s'; SET lock_timeout = '{LOCK_S}s'"
    cursor.execute(f"SET client_min_messages = 'error'; {bounds}")
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


CHUNK_ROWS: Final = 20_000
"""Rows per statement: some MB of JSON, so that memory stays flat however many rows there are."""


def columns_of(table: FromClause, record: type[DataclassInstance]) -> tuple[ColumnElement[Any], ...]:
    """Return the columns that are the fields of a record, so that ``record(**row)`` makes it."""
    return tuple(table.c[field.name] for field in fields(record))


def among(value: ColumnElement[Any], values: Iterable[object]) -> ColumnElement[bool]:
    """Return the condition that a column has one of many values, sent as one array."""
    return value == any_(literal(list(values), ARRAY(value.type)))


def incoming(table: Table, names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> TableValuedAlias:
    """Return rows as a relation that a statement can read, with the names and types of a table's columns.

    They travel as one JSON value: as fast as COPY into a temporary table (measured at 20,000
    classifications), and an upsert reads it directly.

    Parameters
    ----------
    rows
        Values by column name, as JSON types; times as ISO text.
    """
    columns = [column(name, table.c[name].type) for name in names]
    values = func.json_to_recordset(literal(json.dumps(list(rows), allow_nan=False)))
    return values.table_valued(*columns).render_derived(name="incoming", with_types=True)


def insert_rows(connection: Connection, table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert any number of rows that name the same columns."""
    rows = iter(rows)
    while chunk := list(islice(rows, CHUNK_ROWS)):
        names = tuple(chunk[0])
        connection.execute(insert(table).from_select(names, select(incoming(table, names, chunk))))


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fence:
    """What must still be a process's own when its rows are committed: a campaign's lease, or a step sent to it.

    Parameters
    ----------
    kind
        Whose token it is: of a process that holds the lease, or of a run to which such a process sent a step.
    """

    kind: Literal["lease", "sent step"]
    campaign_id: int
    token: str
