"""Who is logged in at Zooniverse, and what that account may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

WRITERS: Final = frozenset({"owner", "collaborator"})
"""Roles on a project that may upload, link, retire and read its classifications; no other may."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """The account that is logged in.

    Parameters
    ----------
    uploaded
        Subjects that it ever uploaded, those of deleted ones included; up to an hour old.
    allowance
        Subjects that it may ever upload; None without a bound.
    """

    user_id: int
    login: str
    uploaded: int
    allowance: int | None

    @property
    def left(self) -> int | None:
        """Uploads left; None without a bound."""
        return None if self.allowance is None else max(self.allowance - self.uploaded, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rights:
    """What an account is to a campaign's project, and which project the campaign's workflow belongs to.

    Parameters
    ----------
    roles
        Of the account itself; a group's count as well, since Zooniverse does not tell who is in it.
    """

    project_id: int
    roles: frozenset[str]
    workflow_id: int
    workflow_project_id: int

    def missing(self, login: str) -> Mapping[str, str]:
        """Return what is wrong by what it is wrong with; nothing where the account may do all that a cycle does."""
        found = {}
        if not self.roles & WRITERS:
            roles = ", ".join(sorted(self.roles)) or "nobody"
            found["project"] = f"{login} is {roles} of project {self.project_id} and must be owner or collaborator"
        if self.workflow_project_id != self.project_id:
            found["workflow"] = (
                f"workflow {self.workflow_id} belongs to project {self.workflow_project_id}, not {self.project_id}"
            )
        return found
