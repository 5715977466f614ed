"""Run the step a cycle stands in and move it on; the one place where steps and states are joined."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from alservice.campaigns.cycle import Cycle, CycleState
from alservice.campaigns.cycle_store import CampaignStore, CycleStore
from alservice.campaigns.records import CampaignRow
from alservice.errors import AlserviceError, IllegalTransition


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """Where a finished step leads.

    Parameters
    ----------
    detail
        What the step did, for the audit: counts and digests.
    changes
        Columns of the cycle that change with the state.
    settled
        The cycle as already moved by the step itself, when state and result had to change in one transaction.
    """

    to: CycleState
    detail: Mapping[str, Any]
    changes: Mapping[str, object] = field(default_factory=dict)
    settled: Cycle | None = None


Step = Callable[[CampaignRow, Cycle], Move | None]
"""Does the work of one state; safe to run again. None means that the cycle waits."""


@dataclass(frozen=True, kw_only=True)
class AdvanceCycle:
    """Move a cycle one step: run it, record what it did, change state."""

    campaigns: CampaignStore
    cycles: CycleStore
    steps: Mapping[CycleState, Callable[[], Step]]  # made on demand: most steps need no login to Zooniverse
    actor: str  # who acts, for the audit

    def run(self, cycle_id: int, *, only: CycleState | None = None) -> Cycle:
        """Run the current step and return the cycle after it; unchanged while it waits.

        Parameters
        ----------
        only
            The step the caller means to run; a cycle that stands elsewhere is returned untouched, so that running
            a finished step again does nothing.

        Raises
        ------
        IllegalTransition
            The cycle is stopped, or stands in a state of a newer version.
        """
        cycle = self.cycles.get(cycle_id)
        if not cycle.is_open or (only is not None and cycle.state is not only):
            return cycle
        campaign = self._campaign(cycle)
        if cycle.state not in self.steps:
            text = f"cycle {cycle.number} is {cycle.state}, in which this version has no step"
            raise IllegalTransition(text, state=str(cycle.state))
        move = self.steps[cycle.state]()(campaign, cycle)
        if move is None:
            return cycle
        if move.settled is not None:
            return move.settled
        return self.cycles.move(cycle, move.to, actor=self.actor, detail=move.detail, **move.changes)

    def fail(self, cycle_id: int, error: BaseException) -> Cycle:
        """Record that the current step failed; the cycle keeps the step and resumes into it."""
        cycle = self.cycles.get(cycle_id)
        if cycle.state in {CycleState.FAILED, CycleState.CANCELLED, CycleState.DONE}:
            return cycle
        detail: dict[str, Any] = {"error": type(error).__name__, "message": str(error)}
        if isinstance(error, AlserviceError):
            detail["code"] = error.code
        return self.cycles.move(cycle, CycleState.FAILED, actor=self.actor, detail=detail, left_from=cycle.state)

    def cancel(self, cycle_id: int, *, reason: str) -> Cycle:
        """Stop a cycle on request, in a state from which it resumes."""
        cycle = self.cycles.get(cycle_id)
        return self.cycles.move(
            cycle, CycleState.CANCELLED, actor=self.actor, detail={"reason": reason}, left_from=cycle.step
        )

    def resume(self, cycle_id: int) -> Cycle:
        """Bring a failed or cancelled cycle back to the step it left from; any other is returned as it is."""
        cycle = self.cycles.get(cycle_id)
        if cycle.left_from is None:
            return cycle
        return self.cycles.move(cycle, cycle.left_from, actor=self.actor, detail={"resumed": True}, left_from=None)

    def _campaign(self, cycle: Cycle) -> CampaignRow:
        campaign = self.campaigns.get_version(cycle.campaign_id, cycle.campaign_version)
        return CampaignRow(id=cycle.campaign_id, version=cycle.campaign_version, campaign=campaign)
