"""Where a campaign's volunteers are asked, and how its subjects get there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from alservice.core.checks import STRICT, require


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
        ``standin`` for the local stand-in of a rehearsal, else a URL without a trailing slash.
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
        ok = self.endpoint == "standin" or self.endpoint.startswith(("http://", "https://"))
        require(ok, f"zooniverse.endpoint must be 'standin' or a URL, not {self.endpoint!r}")
        require(not self.endpoint.endswith("/"), "zooniverse.endpoint must not end with a slash")
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
