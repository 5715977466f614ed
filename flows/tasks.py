"""Tasks of flows and what flows share: parameters, retries, events, and a person's decision on a held candidate."""

from __future__ import annotations

import logging
from typing import Annotated, Any

from prefect import task
from prefect.client.schemas.objects import State, TaskRun
from prefect.events import emit_event
from prefect.input import RunInput
from prefect.runtime import flow_run
from prefect.tasks import Task
from pydantic import BaseModel, ConfigDict, Field

from alservice.app import open_app
from alservice.campaigns.cycle import Cycle, CycleState
from alservice.cycle.table import check_lines
from alservice.errors import Retriable
from alservice.learning.gate import PersonVerdict
from alservice.rehearsal.run import ask_volunteers as ask_simulated
from flows.leases import open_leased

CampaignName = Annotated[
    str,
    Field(
        title="Campaign",
        description="Name of the campaign, as given to `alservice campaign create`.",
        pattern="^[a-z0-9][a-z0-9-]*$",
        examples=["gz2"],
    ),
]
"""Which survey."""

LeaseToken = Annotated[
    str | None,
    Field(
        title="Lease",
        description="Filled in by the run that sends this step to another pool; leave it empty.",
    ),
]
"""Under whose lease a step runs that another run waits for."""

_log = logging.getLogger(__name__)

RETRIES = 3
RETRY_DELAYS_S: list[float] = [10, 60, 300]
"""Seconds before each retry: a hiccup, a restart, an outage."""


def if_retriable(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Retry what may succeed later, and say so; anything else, unknown errors included, needs a person."""
    error = state.data
    if isinstance(error, Retriable):
        _log.warning("%s; it is tried again in a while", error)
        return True
    return False


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
    """Let a rehearsal's simulated volunteers classify the cycle's subjects; return how many classifications wait.

    A live campaign has real ones: then nothing is sent.
    """
    with open_leased() as factory:
        return ask_simulated(factory, cycle.cycle_id)


def fail(cycle: CycleSummary, error: BaseException) -> CycleSummary:
    """Record that the cycle stopped in its step, from which it resumes."""
    with open_leased() as factory:
        return CycleSummary.of(cycle.campaign, factory.cycle.fail(cycle.cycle_id, error, actor=actor()))


def tell(cycle: CycleSummary) -> None:
    """Emit ``alservice.cycle.<state>`` about the campaign, such as ``alservice.cycle.held``."""
    emit_event(
        event=f"alservice.cycle.{cycle.state}",
        resource={
            "prefect.resource.id": f"alservice.campaign.{cycle.campaign}",
            "prefect.resource.name": cycle.campaign,
            "alservice.cycle.number": str(cycle.number),
        },
        payload=cycle.model_dump(mode="json"),
    )


GRACE_S = 3600
"""How much longer than the deadline a run stays suspended (s): ingest ends the hold, not Prefect's timeout."""


class HeldDecision(RunInput):
    """Whether a candidate that the gate could not tell from the champion goes live."""

    decision: PersonVerdict = Field(
        default="reject", description="approve: the candidate becomes the champion; reject: the champion stays."
    )
    reason: str = Field(min_length=1, description="Why; it is kept in the audit.")
    actor: str = Field(default="", description="Who decides; the run's name when left empty.")


def held_text(cycle: CycleSummary) -> str:
    """Return what a person should know before deciding, as markdown."""
    with open_app() as factory:
        _, decision = factory.learning.newest_decision(cycle.campaign, cycle.number)
    checks = "\n".join(check_lines(decision))
    return (
        f"Cycle {cycle.number} of {cycle.campaign} is held on {decision.n_galaxies:,} galaxies.\n\n```\n{checks}\n```"
    )


def seconds_to_decide(cycle: CycleSummary) -> int:
    """Return how long the cycle waits for a person (s)."""
    with open_app() as factory:
        return factory.learning.seconds_to_decide(cycle.cycle_id)


@task(task_run_name="{cycle.campaign} cycle {cycle.number}: {word} the candidate")
def decide_held(cycle: CycleSummary, word: PersonVerdict, person: str, reason: str) -> CycleSummary:
    """Carry out what a person decided; decided the same way meanwhile, nothing changes."""
    with open_app() as factory:
        by = person.strip() or actor()
        decided = factory.learning.decide_held(cycle.campaign, word, actor=by, reason=reason, number=cycle.number)
        return CycleSummary.of(cycle.campaign, decided)
