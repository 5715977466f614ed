"""A run cancelled in Prefect's UI: its cycle stops where it is, and resumes into its step."""

from __future__ import annotations

from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State

from alservice.app.leases import is_free
from alservice.app.opening import open_factory
from alservice.app.unattended import cancel_open
from flows.signals import tell
from flows.tasks import CycleSummary, actor_of


def cancel_cycle(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Mark the cycle as cancelled, unless the run never worked on it: it waited, or another run has the lease.

    The worker ends the run's process first. What that process had sent to another pool stops at its next sign of
    life, and what it would write is refused: nothing of it is lost or counted twice.
    """
    if flow_run.start_time is None:
        return
    campaign, actor = str(flow_run.parameters["campaign"]), actor_of(flow.name, str(flow_run.id))
    reason = f"{flow.name} run {flow_run.name} was cancelled: {state.message or 'no reason given'}"
    with open_factory() as factory:
        if is_free(factory, campaign, but_for=actor):
            cycle = cancel_open(factory, campaign, actor=actor, reason=reason)
            if cycle is not None:
                tell(CycleSummary.of(campaign, cycle))
