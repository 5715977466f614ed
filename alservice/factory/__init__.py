"""The one place where objects are wired: flows, the command line, pages and tests open it and ask for services."""

from __future__ import annotations

from alservice.factory.context import (
    backup_database,
    open_factory,
    prefect_environment,
    restore_backup,
    upgrade_schema,
)
from alservice.factory.doctor import Finding, diagnose
from alservice.factory.jobs import Factory
from alservice.services.ingest import IngestReport

__all__ = [
    "Factory",
    "Finding",
    "IngestReport",
    "backup_database",
    "diagnose",
    "open_factory",
    "prefect_environment",
    "restore_backup",
    "upgrade_schema",
]
