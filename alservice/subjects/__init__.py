"""Subjects: publish, move, retire and reconcile galaxies on Zooniverse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alservice.lazy import lazily

if TYPE_CHECKING:
    from alservice.subjects.publish import PublishReport
    from alservice.subjects.service import SubjectService
    from alservice.subjects.site import Connection, EndpointNotAllowed, Sites
    from alservice.subjects.subject import Subject, SubjectLedger
else:
    __getattr__ = lazily(
        __name__,
        {
            "Connection": "alservice.subjects.site",
            "EndpointNotAllowed": "alservice.subjects.site",
            "PublishReport": "alservice.subjects.publish",
            "Sites": "alservice.subjects.site",
            "Subject": "alservice.subjects.subject",
            "SubjectLedger": "alservice.subjects.subject",
            "SubjectService": "alservice.subjects.service",
        },
    )

__all__ = [
    "Connection",
    "EndpointNotAllowed",
    "PublishReport",
    "Sites",
    "Subject",
    "SubjectLedger",
    "SubjectService",
]
