"""The database to a file and back, by Postgres' own programs from the wheel: no client has to be installed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, inspect, text
from sqlalchemy.engine import URL, make_url

from alservice.errors import BadInput, Conflict, StorageFull, Terminal
from alservice.storage.postgres import KEEPALIVE, LOCK_S, make_engine, transaction
from alservice.storage.programs import newest

_TAIL_CHARS: Final = 500

_FROM_URL: Final = {
    "host": "PGHOST",
    "port": "PGPORT",
    "username": "PGUSER",
    "password": "PGPASSWORD",
    "database": "PGDATABASE",
}
"""Parts of a database URL and the variables libpq reads them from: arguments would show a password to everyone."""


_NOTICING: Final = " ".join(f"{name}={value}" for name, value in KEEPALIVE.items())
"""Connection options for which libpq has no variables: a server that is gone is noticed within a minute."""


class BackupFailed(Terminal):
    """Postgres' programs could not write or read a backup; the evidence is what they said."""

    code = "backup-failed"
    remedy = "Correct what the message names. The wheel's programs serve Postgres 14 to 18."


class SuperuserRefused(Terminal):
    """A backup was to be restored by a superuser: what it says is carried out, with the rights of whoever restores."""

    code = "superuser-refused"
    remedy = "Name an ordinary role in ALSERVICE_DATABASE_URL, one that owns the empty database."


def dump_database(url: str, path: Path) -> int:
    """Write everything to a file, in one snapshot of the database; return its size in bytes.

    The file appears under its name once it is complete and its table of contents could be read back. It is its
    owner's alone: it holds token hashes and what volunteers said.

    Raises
    ------
    BackupFailed, StorageFull
        Nothing is left under the name.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        options = ("--format=custom", "--no-owner", "--no-privileges", f"--lock-wait-timeout={LOCK_S}s")
        _run("pg_dump", *options, "--dbname", _NOTICING, "--file", str(part), url=url)
        _run("pg_restore", "--list", str(part))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path.stat().st_size


def restore_database(url: str, path: Path) -> None:
    """Bring a backup into an empty database, in one transaction.

    A backup is a program: it makes functions and triggers, which run whenever the database is used. As an ordinary
    role they reach this database, and neither the server's files nor its other databases.

    Raises
    ------
    SuperuserRefused
        The URL names a superuser.
    Conflict
        The database has tables: a backup never goes over data.
    BadInput
        The file is not a backup.
    BackupFailed, StorageFull
        The database is as empty as before.
    """
    _require_ordinary_and_empty(url)
    try:
        _run("pg_restore", "--list", str(path))
    except BackupFailed as error:
        raise BadInput(f"{path}: not a backup of `alservice db backup`: {error.message}", path=str(path)) from error
    options = ("--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges")
    _run("pg_restore", *options, "--dbname", _NOTICING, str(path), url=url)


def _require_ordinary_and_empty(url: str) -> None:
    engine = make_engine(url)
    try:
        tables, superuser = _tables(engine), _superuser(engine)
    finally:
        engine.dispose()
    if superuser is not None:
        raise SuperuserRefused(f"{superuser} is a superuser: a backup is not restored with such rights", role=superuser)
    if tables:
        raise Conflict(f"the database has tables ({tables[0]} and {len(tables) - 1} more): restore into an empty one")


def _tables(engine: Engine) -> list[str]:
    with transaction(engine) as connection:
        return sorted(inspect(connection).get_table_names())


def _superuser(engine: Engine) -> str | None:
    """Return the role that we are, if it is a superuser."""
    with transaction(engine) as connection:
        found = connection.execute(text("SELECT rolname FROM pg_roles WHERE rolname = current_user AND rolsuper"))
        return found.scalar()


def _run(program: str, *arguments: str, url: str | None = None) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    done = subprocess.run(
        [newest().folder / program, *arguments],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        umask=0o077,
        env={**environment, **({} if url is None else _libpq(make_url(url))), "LC_ALL": "C"},
    )
    if done.returncode == 0:
        return
    said = done.stderr.strip()[-_TAIL_CHARS:]
    reason = said.splitlines()[-1] if said else "it said nothing"
    if "No space left on device" in said:
        raise StorageFull(f"{program}: no space left on device")
    raise BackupFailed(f"{program}: {reason}", output=said)


def _libpq(url: URL) -> Mapping[str, str]:
    """Return a URL as libpq's variables; options such as ``sslmode`` become ``PGSSLMODE``."""
    parts = {variable: getattr(url, part) for part, variable in _FROM_URL.items()}
    options = {f"PG{name.upper()}": value for name, value in url.query.items() if isinstance(value, str)}
    return {name: str(value) for name, value in {**parts, **options}.items() if value is not None}
