"""Prefect tasks: open the factory, call one service, return a small record."""

from __future__ import annotations

from prefect import task
from prefect.runtime import flow_run
from pydantic import BaseModel, ConfigDict

from alservice.campaigns.cycle import Cycle, CycleState
from alservice.rehearsal.run import ask_volunteers as ask_simulated
from flows.leases import open_leased
from flows.policies import RETRIES, RETRY_DELAYS_S, if_retriable


class CycleSummary(BaseModel):
    """Where a cycle stands: what tasks pass to each other."""

    model_config = ConfigDict(frozen=True)

    campaign: str
    cycle_id: int
    number: int
    state: CycleState

    @classmethod
    def of(cls, campaign: str, cycle: Cycle) -> CycleSummary:
        """Make it from the record."""
        return cls(campaign=campaign, cycle_id=cycle.id, number=cycle.number, state=cycle.state)


def actor() -> str:
    """Return who acts, for the audit."""
    run_id = flow_run.get_id()
    return "prefect:local" if run_id is None else actor_of(flow_run.get_flow_name() or "", run_id)


def actor_of(flow: str, run_id: str) -> str:
    """Return a run as who acts: names change and come again, so by flow and the beginning of its id."""
    return f"prefect:{flow} {run_id[:8]}"


@task(
    task_run_name="{campaign}: start or resume",
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_S,
    retry_condition_fn=if_retriable,
)
def start_or_resume(campaign: str) -> CycleSummary:
    """Return the open cycle, brought back to its step if it had stopped; without one, start the next."""
    with open_leased() as factory:
        return CycleSummary.of(campaign, factory.cycle.start_or_resume(campaign, actor=actor()))


@task(
    task_run_name="{campaign}: resume",
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_S,
    retry_condition_fn=if_retriable,
)
def resume_open(campaign: str) -> CycleSummary | None:
    """Return the open cycle, brought back to its step if it had stopped; None without one."""
    with open_leased() as factory:
        cycle = factory.cycle.resume_open(campaign, actor=actor())
        return None if cycle is None else CycleSummary.of(campaign, cycle)


@task(
    task_run_name="{campaign}: find what collects",
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_S,
    retry_condition_fn=if_retriable,
)
def find_collecting(campaign: str) -> CycleSummary | None:
    """Return the open cycle, brought back if it had failed while it collected; None without one."""
    with open_leased() as factory:
        cycle = factory.cycle.find_collecting(campaign, actor=actor())
        return None if cycle is None else CycleSummary.of(campaign, cycle)


@task(
    task_run_name="{campaign}: start retraining",
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_S,
    retry_condition_fn=if_retriable,
)
def start_retraining(campaign: str) -> CycleSummary:
    """Return the open cycle that only trains; without one, start it."""
    with open_leased() as factory:
        return CycleSummary.of(campaign, factory.cycle.start_retraining(campaign, actor=actor()))


@task(
    task_run_name="{cycle.campaign} cycle {cycle.number}: {state.value}",
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_S,
    retry_condition_fn=if_retriable,
)
def run_step(cycle: CycleSummary, state: CycleState) -> CycleSummary:
    """Run one step of a cycle; a cycle that stands elsewhere is left alone."""
    with open_leased() as factory:
        moved = factory.cycle.advance(cycle.cycle_id, only=state, actor=actor())
        return CycleSummary.of(cycle.campaign, moved)


@task(
    task_run_name="{cycle.campaign} cycle {cycle.number}: ask volunteers",
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAYS_S,
    retry_condition_fn=if_retriable,
)
def ask_volunteers(cycle: CycleSummary) -> int:
    """Let a rehearsal's simulated volunteers classify the cycle's subjects; return how many classifications came.

    A live campaign has real ones: then nothing is sent.
    """
    with open_leased() as factory:
        return ask_simulated(factory, cycle.cycle_id)


def fail(cycle: CycleSummary, error: BaseException) -> CycleSummary:
    """Record that the cycle stopped in its step, from which it resumes."""
    with open_leased() as factory:
        return CycleSummary.of(cycle.campaign, factory.cycle.fail(cycle.cycle_id, error, actor=actor()))
