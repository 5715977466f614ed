"""Where a campaign's volunteers are asked, and how its subjects get there."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal
from urllib.parse import urlsplit

from alservice.checks import STRICT, require

SITES: Final = ("https://www.zooniverse.org", "https://panoptes-staging.zooniverse.org")
"""The real Zooniverse, and the site on which its changes are tried."""

_ENDPOINT: Final = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")


def is_loopback(url: str) -> bool:
    """Return whether a URL's host is this machine, by address or as ``localhost``."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_endpoint(endpoint: str) -> None:
    """Raise `BadConfig` for what is no endpoint: scheme, host and maybe a port, and nothing else.

    A login does not belong into an address, which is stored and shown; the message does not repeat it.
    """
    require("@" not in endpoint, "zooniverse.endpoint must not contain a login: set ALSERVICE_ZOONIVERSE_USERNAME")
    form = "scheme://host or scheme://host:port, http or https, without a slash at its end"
    require(_ENDPOINT.fullmatch(endpoint) is not None, f"zooniverse.endpoint must be 'standin' or {form}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tier:
    """Galaxies that are to have so many votes, in a subject set and workflow of their own.

    Panoptes retires per workflow, by one count: where its rule decides, votes per galaxy need a workflow for each
    number, and a subject set that only this workflow serves.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    votes: int
    subject_set: str
    workflow_id: int

    def __post_init__(self) -> None:
        require(1 <= self.votes <= 1000, f"zooniverse.tiers.votes must be 1 to 1000, not {self.votes}")
        require(self.workflow_id > 0, "zooniverse.tiers.workflow_id must be positive")


@dataclass(frozen=True, kw_only=True, slots=True)
class ZooniverseTarget:
    """Where volunteers are asked.

    Parameters
    ----------
    endpoint
        ``standin`` for the work folder's own stand-in; else one of `SITES`, or of a stand-in on this machine's
        loopback. Any other needs the permission of the setting ``zooniverse_endpoint``.
    subject_set
        Display name of the set that cycles link their subjects to.
    mode
        ``upload`` creates a subject per galaxy; ``move`` links subjects that are there already.
    retirement
        ``panoptes``: the workflow's own rule, one count for all. ``own``: each subject when its counted classifications
        reach its votes asked for; the workflow's rule must then be ``never_retire``.
    tiers
        Workflows by votes per galaxy, in place of `workflow_id` and `subject_set`; only ``upload`` and ``panoptes``.
    pool_subject_set, pool_id_field
        With ``move``: display name of the set that holds those subjects, and the metadata field with their survey id.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    endpoint: str = "standin"
    project_id: int = 1
    workflow_id: int = 10
    subject_set: str = "alservice active"
    mode: Literal["upload", "move"] = "upload"
    retirement: Literal["panoptes", "own"] = "panoptes"
    tiers: tuple[Tier, ...] = ()
    pool_subject_set: str | None = None
    pool_id_field: str = "#survey_id"

    def __post_init__(self) -> None:
        if not self.is_standin:
            check_endpoint(self.endpoint)
        require(self.project_id > 0 and self.workflow_id > 0, "zooniverse ids must be positive")
        has_pool = bool(self.pool_subject_set)
        require(
            has_pool == (self.mode == "move"), "zooniverse.pool_subject_set goes with mode 'move', and only with it"
        )
        sets = [self.subject_set] if not self.tiers else [tier.subject_set for tier in self.tiers]
        require(self.pool_subject_set not in sets, "zooniverse.pool_subject_set must not be the subject_set")
        tiered = self.retirement == "panoptes" and self.mode == "upload"
        require(not self.tiers or tiered, "zooniverse.tiers go with mode 'upload' and retirement 'panoptes'")
        for name in ("votes", "subject_set", "workflow_id"):
            distinct = {getattr(tier, name) for tier in self.tiers}
            require(len(distinct) == len(self.tiers), f"zooniverse.tiers have one {name} twice")

    @property
    def workflow_ids(self) -> frozenset[int]:
        """The workflows whose classifications count."""
        return frozenset(tier.workflow_id for tier in self.tiers) or frozenset({self.workflow_id})

    @property
    def is_standin(self) -> bool:
        """Whether this is a rehearsal on the local stand-in."""
        return self.endpoint == "standin"

    @property
    def needs_permission(self) -> bool:
        """Whether the endpoint is neither Zooniverse's nor on this machine."""
        return not (self.is_standin or self.endpoint in SITES or is_loopback(self.endpoint))
