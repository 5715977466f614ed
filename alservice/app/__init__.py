"""The one place where objects are wired: flows, the command line, pages and tests open it and ask for services.

Names are loaded when they are first asked for: whoever only reads a file of votes does not load the models as well.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from alservice.app.context import backup_database, prefect_environment, restore_backup, upgrade_schema
    from alservice.app.doctor import diagnose
    from alservice.app.jobs import Factory
    from alservice.app.opening import open_factory
    from alservice.cycle.readiness import Finding
    from alservice.votes.service import IngestReport

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

_HOMES: Final = {
    "Factory": "alservice.app.jobs",
    "Finding": "alservice.cycle.readiness",
    "IngestReport": "alservice.votes.service",
    "backup_database": "alservice.app.context",
    "diagnose": "alservice.app.doctor",
    "open_factory": "alservice.app.opening",
    "prefect_environment": "alservice.app.context",
    "restore_backup": "alservice.app.context",
    "upgrade_schema": "alservice.app.context",
}

if not TYPE_CHECKING:  # a checker sees the imports above, and that there are no others

    def __getattr__(name: str) -> Any:
        """Return a name from the module it lives in."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOMES[name]), name)
