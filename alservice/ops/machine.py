"""The machine's database, brought to the newest schema, backed up and restored; and the environment of Prefect."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from alservice.files import make_folder
from alservice.settings import load_settings
from alservice.storage.embedded_postgres import database_url, dump_database, restore_database
from alservice.storage.postgres import make_engine, schema_state, upgrade

PREFECT_SERVER: Final = "prefect.server.api.server:create_app"
"""What the command line of a Prefect server names."""

ORPHANED: Final = 1
"""Parent of a process whose own parent is gone."""


def upgrade_schema() -> str:
    """Bring the database to the newest schema; return its revision."""
    with database_url(load_settings()) as url:
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
