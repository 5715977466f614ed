"""What was decided about a subject that may stop before its full number of votes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

from alservice.campaigns.store import Event
from alservice.states import AskingState

PERSON: Final = "person"
"""Reason of a decision that a person made: so many votes are asked, whatever a posterior says."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stop:
    """The last decision about one subject.

    Parameters
    ----------
    cycle_id
        The cycle that asked; once another one asks, the decision says nothing.
    reason
        Code of why asking stopped or goes on.
    votes
        Classifications that were looked at.
    stopped_votes
        Classifications when asking stopped, the last time that it did; None if it never did.
    mark
        Digest of the votes and the rule that were looked at.
    model_id
        The model that was fused with the votes; None where there was none.
    detail
        Evidence: the rule's figure and threshold, and why in plain words.
    """

    subject_id: int
    galaxy_id: str
    cycle_id: int
    state: AskingState
    reason: str
    votes: int
    stopped_votes: int | None
    mark: str
    model_id: int | None
    detail: Mapping[str, Any]
    decided_at: datetime

    @property
    def overshoot(self) -> int:
        """Classifications that came after asking stopped; 0 while it goes on."""
        if self.state is not AskingState.STOPPED or self.stopped_votes is None:
            return 0
        return max(0, self.votes - self.stopped_votes)


@dataclass(frozen=True, kw_only=True, slots=True)
class FusedModel:
    """The model whose posterior is fused with a cycle's votes, and how far it is trusted.

    Parameters
    ----------
    model_id
        None where the cycle has no champion.
    temper
        Factor on the model's concentrations by question; empty where the model may not stop anything.
    why
        Code of why it may not; None where it may.
    n_galaxies, n_votes
        Members of the evaluation stream that the factors were fitted on, and their votes.
    """

    cycle_id: int
    model_id: int | None
    temper: Mapping[str, float] = field(default_factory=dict)
    why: str | None = None
    n_galaxies: int = 0
    n_votes: int = 0


class StoppedSubjects(Protocol):
    """Galaxies of which enough is known."""

    def stopped(self, campaign_id: int, /) -> Mapping[str, Stop]:
        """Return those about which asking has stopped, by galaxy id."""


class StopStore(StoppedSubjects, Protocol):
    """Decisions about subjects, each with its events in one transaction."""

    def of_galaxies(self, campaign_id: int, galaxy_ids: Collection[str], /) -> Mapping[str, Stop]:
        """Return what was last decided in the cycle that asks now, by galaxy id."""

    def of_cycle(self, cycle_id: int, /) -> Sequence[Stop]:
        """Return the decisions of a cycle, by galaxy id."""

    def save(self, stops: Sequence[Stop], events: Sequence[Event]) -> None:
        """Replace decisions, and tell of them, in one transaction."""

    def fused(self, cycle_id: int, /) -> FusedModel | None:
        """Return the model that a cycle's votes are fused with, None before the first decision."""

    def save_fused(self, fused: FusedModel, event: Event) -> None:
        """Record the model of a cycle with its event, in place of another one."""
