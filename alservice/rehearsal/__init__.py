"""Rehearsal: simulated volunteers who classify what the loop publishes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alservice.lazy import lazily

if TYPE_CHECKING:
    from alservice.rehearsal.run import ask_volunteers, prepare_rehearsal
    from alservice.rehearsal.sittings import Sittings
    from alservice.rehearsal.volunteers import VolunteerReport, Volunteers
else:
    __getattr__ = lazily(
        __name__,
        {
            "Sittings": "alservice.rehearsal.sittings",
            "VolunteerReport": "alservice.rehearsal.volunteers",
            "Volunteers": "alservice.rehearsal.volunteers",
            "ask_volunteers": "alservice.rehearsal.run",
            "prepare_rehearsal": "alservice.rehearsal.run",
        },
    )

__all__ = [
    "Sittings",
    "VolunteerReport",
    "Volunteers",
    "ask_volunteers",
    "prepare_rehearsal",
]
