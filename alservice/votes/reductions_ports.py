"""Caesar's webhook: where it may send, and what was sent last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from alservice.science.training_sets import TallySet
from alservice.votes.caesar import Reduction


@dataclass(frozen=True, kw_only=True, slots=True)
class Webhook:
    """One campaign's door.

    Parameters
    ----------
    workflow_id
        The workflow whose reductions may pass, by the campaign's newest decisions.
    """

    campaign_id: int
    workflow_id: int


class WebhookStore(Protocol):
    """Doors by key; a campaign has at most one."""

    def save(self, campaign_id: int, *, key: str) -> None:
        """Open a campaign's door, in place of its earlier one; raises `Conflict` for another campaign's key."""

    def find(self, key: str) -> Webhook | None:
        """Return a door."""


class ReductionStore(Protocol):
    """The greatest reduction, by rank, of each campaign, workflow, subject and reducer."""

    def save(self, campaign_id: int, reduction: Reduction, *, received_at: datetime) -> bool:
        """Keep a reduction unless one that is as great is there; return whether it was kept."""

    def list(self, campaign_id: int) -> Iterator[tuple[str | None, Reduction]]:
        """Yield galaxy id, None for a subject that is not ours, and reduction, by galaxy; streamed."""


class TallySource(Protocol):
    """Votes per galaxy, from one feed."""

    def tallies(self, campaign_id: int, n_answers: int) -> TallySet:
        """Return the tallies of all galaxies with votes."""

    def counted(self, campaign_id: int, cycle_id: int | None = None) -> int:
        """Return counted classifications, of all cycles or of the subjects of one."""

    def counted_of_galaxies(self, campaign_id: int) -> Mapping[str, int]:
        """Return counted classifications by galaxy id, for galaxies that have any row."""
