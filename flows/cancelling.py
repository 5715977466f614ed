"""A run cancelled in Prefect's UI: its cycle stops where it is, and resumes into its step."""

from __future__ import annotations

from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State

from alservice.app import open_app
from flows.tasks import CycleSummary, actor_of, tell


def cancel_cycle(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Mark the cycle as cancelled, unless the run never worked on it: it waited, or another run has the lease.

    The worker ends the run's process first. What that process had sent to another pool stops at its next sign of
    life, and what it would write is refused: nothing of it is lost or counted twice.
    """
    if flow_run.start_time is None:
        return
    campaign, actor = str(flow_run.parameters["campaign"]), actor_of(flow.name, str(flow_run.id))
    reason = f"{flow.name} run {flow_run.name} was cancelled: {state.message or 'no reason given'}"
    with open_app() as factory:
        if factory.cycle.is_free(campaign, but_for=actor):
            cycle = factory.cycle.cancel_open(campaign, actor=actor, reason=reason)
            if cycle is not None:
                tell(CycleSummary.of(campaign, cycle))
