"""The whole factory, opened."""

from __future__ import annotations

from contextlib import AbstractContextManager

from alservice.app.context import open_as
from alservice.app.jobs import Factory
from alservice.progress import Progress
from alservice.settings import Settings
from alservice.storage.postgres import Fence


def open_factory(
    settings: Settings | None = None, *, progress: Progress | None = None, fence: Fence | None = None
) -> AbstractContextManager[Factory]:
    """Open what the settings name, and close it at the end; see `open_as`."""
    return open_as(Factory, settings, progress=progress, fence=fence)
