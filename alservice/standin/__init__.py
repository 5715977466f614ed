"""Stand-in: a Zooniverse on this machine, over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alservice.lazy import lazily

if TYPE_CHECKING:
    from alservice.standin.application import Application
    from alservice.standin.config import StandinConfig
    from alservice.standin.folder import open_standin, serve_standin
    from alservice.standin.server import Standin
else:
    __getattr__ = lazily(
        __name__,
        {
            "Application": "alservice.standin.application",
            "Standin": "alservice.standin.server",
            "StandinConfig": "alservice.standin.config",
            "open_standin": "alservice.standin.folder",
            "serve_standin": "alservice.standin.folder",
        },
    )

__all__ = [
    "Application",
    "Standin",
    "StandinConfig",
    "open_standin",
    "serve_standin",
]
