"""What a process opens once: settings, database, object store, secrets of the work folder."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import psutil

from alservice.app.meters import write_calls
from alservice.app.stores import Stores
from alservice.errors import BadConfig, StorageFull
from alservice.progress import Progress, process_progress, utc_now
from alservice.settings import Settings, load_settings
from alservice.storage.embedded_postgres import EmbeddedPostgres, dump_database, restore_database
from alservice.storage.objects import MeasuredObjects, open_objects
from alservice.storage.postgres import Fence, check_schema, fenced, make_engine, schema_state, upgrade

S = TypeVar("S", bound=Stores)

PREFECT_SERVER = "prefect.server.api.server:create_app"
"""What the command line of a Prefect server names."""

ORPHANED = 1
"""Parent of a process whose own parent is gone."""

PRIVATE = 0o077
"""Rights that a new file does not give: any to the group or to others."""

ENDPOINT = "PANOPTES_ENDPOINT"
"""Where the library's clients go that are told nothing."""

NOWHERE = "http://127.0.0.1:9"
"""Endpoint of a client that was told none: the discard port of this machine, never the real site."""


@contextmanager
def open_as(
    kind: type[S],
    settings: Settings | None = None,
    *,
    progress: Progress | None = None,
    fence: Fence | None = None,
) -> Iterator[S]:
    """Open what the settings name as a factory of some kind, and close it at the end; may be nested in one process.

    The embedded database is started when no URL is set, and given its schema when it is new; another database must
    be at this release's schema already.

    Parameters
    ----------
    fence
        Under what the process works: its writes are refused once that is another's.

    Raises
    ------
    DatabaseUnavailable, SchemaMismatch, StorageFull, BadConfig
        A part cannot be opened; the message says which and what to do.
    """
    settings = settings or load_settings()
    fence_client()
    keep_private()
    folder = make_folder(settings.folder)
    with ExitStack() as stack:
        engine = make_engine(stack.enter_context(database_url(settings)))
        stack.callback(engine.dispose)
        if settings.database_url is None:
            upgrade(engine)  # ends at this release's schema, or raises: nothing is left to check
        else:
            check_schema(engine)
        stack.callback(write_calls, engine)
        yield kind(
            settings=settings,
            engine=engine if fence is None else fenced(engine, fence),
            objects=MeasuredObjects(open_objects(settings.object_store or str(folder / "objects"))),
            clock=utc_now,
            progress=progress or process_progress(),
            secret=lambda name: folder_secret(folder, name),
        )


def keep_private() -> None:
    """Let files that this process makes be its user's alone: they hold secrets, and what volunteers said."""
    os.umask(os.umask(PRIVATE) | PRIVATE)


def fence_client() -> None:
    """Take the Zooniverse client's variables from this process and its children; a client told nothing finds nobody.

    The library would read them, and without an endpoint its silent default, in each new thread, is the public site.
    """
    os.environ[ENDPOINT] = NOWHERE
    for name in list(os.environ):
        if name.startswith("PANOPTES_") and name != ENDPOINT:
            del os.environ[name]


@contextmanager
def database_url(settings: Settings) -> Iterator[str]:
    """Yield the URL of the database: the one that is set, or the embedded one, started for as long as it is used."""
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    with EmbeddedPostgres(make_folder(settings.folder) / "postgres") as url:
        yield url


def upgrade_schema() -> str:
    """Bring the database to the newest schema; return its revision."""
    settings = load_settings()
    with database_url(settings) as url:
        engine = make_engine(url)
        try:
            upgrade(engine)
            return schema_state(engine)[1]
        finally:
            engine.dispose()


def backup_database(path: Path) -> int:
    """Write the database to a file; return its size in bytes."""
    make_folder(path.absolute().parent)
    with database_url(load_settings()) as url:
        return dump_database(url, path)


def restore_backup(path: Path) -> tuple[str | None, str]:
    """Bring a backup into the empty database; return the revision it has, and the one this release needs."""
    with database_url(load_settings()) as url:
        restore_database(url, path)
        engine = make_engine(url)
        try:
            return schema_state(engine)
        finally:
            engine.dispose()


def make_folder(folder: Path) -> Path:
    """Return the folder, made if need be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        kind = StorageFull if error.errno == errno.ENOSPC else BadConfig
        raise kind(f"the work folder {folder} cannot be made: {error.strerror}") from error
    return folder


def folder_secret(folder: Path, name: str) -> str:
    """Return a secret of this work folder, made at first use and readable by its owner only."""
    path = folder / "secrets" / name
    try:
        return path.read_text(encoding="ascii")
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        part.touch(mode=0o600)
        part.write_text(secrets.token_urlsafe(24), encoding="ascii")
        with suppress(FileExistsError):  # another process was first: its secret is the one
            path.hardlink_to(part)
        part.unlink()
        return path.read_text(encoding="ascii")


def prefect_environment() -> Mapping[str, str]:
    """Return the environment of Prefect on one machine: its files in the work folder, no telemetry, no logs.

    A server that a killed run left behind on these files is ended first: nobody else would.
    """
    home = make_folder(load_settings().folder / "prefect")  # Prefect makes the last level only
    end_orphaned_servers(home)
    return {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_LEVEL": "CRITICAL",  # an error is shown once, by the command line
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    }


def end_orphaned_servers(home: Path) -> None:
    """End Prefect's temporary servers on a folder whose process is gone: they do not notice a SIGKILL of it."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if PREFECT_SERVER not in process.cmdline():
                continue
            ours = process.environ().get("PREFECT_HOME") == str(home)
            if ours and process.ppid() == ORPHANED:
                process.terminate()
