"""Release: a campaign's catalogue as files for researchers, model and votes side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alservice.lazy import lazily

if TYPE_CHECKING:
    from alservice.release.columns import Column, release_columns
    from alservice.release.formats import FORMATS
    from alservice.release.rows import Evidence, release_rows
    from alservice.release.service import Release, ReleaseService
else:
    __getattr__ = lazily(
        __name__,
        {
            "Column": "alservice.release.columns",
            "Evidence": "alservice.release.rows",
            "FORMATS": "alservice.release.formats",
            "Release": "alservice.release.service",
            "ReleaseService": "alservice.release.service",
            "release_columns": "alservice.release.columns",
            "release_rows": "alservice.release.rows",
        },
    )

__all__ = [
    "FORMATS",
    "Column",
    "Evidence",
    "Release",
    "ReleaseService",
    "release_columns",
    "release_rows",
]
