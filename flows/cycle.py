"""The weekly turn of the loop, cut where it has to wait for volunteers.

``weekly-cycle`` ends in collecting; ``ingest`` notices that collecting is over and starts ``advance``, which trains,
evaluates and gates. Nothing waits inside a process: a waiting cycle is a row.

Docstrings of flows have an ``Args:`` section: it is what Prefect's forms show beside each field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import cast

from prefect import flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.flow_runs import suspend_flow_run
from prefect.states import Completed

from alservice.core.cycles import CycleState
from alservice.errors import Terminal
from alservice.factory import open_factory
from alservice.factory.operations import paused
from alservice.factory.rehearsal import open_zooniverse
from flows.artifacts import cycle_artifact
from flows.held import GRACE_S, HeldDecision, decide_held, held_text, seconds_to_decide
from flows.tasks import CycleSummary, ask_volunteers, fail, resume_open, run_step, start_or_resume


class DeploymentFailed(Terminal):
    """A step that was sent to another work pool did not complete there; its own run says why."""

    code = "deployment-failed"


class Dispatch(StrEnum):
    """Where the heavy steps run: in this process, or as deployments in the work pool ``gpu``."""

    INLINE = "inline"
    DEPLOYMENTS = "deployments"


ASKING = (CycleState.PLANNED, CycleState.PREDICTING, CycleState.ACQUIRING, CycleState.PUBLISHING)
"""Steps of the first half: which galaxies, and their way to volunteers."""

COLLECTING = (CycleState.COLLECTING,)
"""The step between, which ends when enough votes are in or the deadline has passed."""

LEARNING = (
    CycleState.TRAINING,
    CycleState.EVALUATING,
    CycleState.GATED,
    CycleState.HELD,
    CycleState.PROMOTED,
    CycleState.KEPT,
)
"""Steps of the second half: from votes to a champion."""

DECIDED = (CycleState.HELD, CycleState.PROMOTED, CycleState.KEPT)
"""Steps that a tick may take at once: a hold ends by its deadline, and what is decided is closed."""

HEAVY = {CycleState.PREDICTING: "predict/predict", CycleState.TRAINING: "train/train"}
"""Steps that want a GPU, and the deployments that run them there."""


@flow(name="weekly-cycle")
def weekly_cycle(campaign: str, dispatch: Dispatch = Dispatch.INLINE) -> State[CycleSummary]:
    """Start this week's cycle, or go on with the open one, until its galaxies are in front of volunteers.

    Args:
        campaign: Name of the campaign, as given to `alservice campaign create`.
        dispatch: Where prediction runs: `inline` in this run, `deployments` in the work pool gpu.
    """
    return _work(campaign, start_or_resume, lambda cycle: run_steps(cycle, ASKING, dispatch))


@flow(name="ingest")
def ingest(campaign: str, dispatch: Dispatch = Dispatch.INLINE) -> State[CycleSummary]:
    """Read new classifications; when collecting is over, start ``advance``.

    Args:
        campaign: Name of the campaign, as given to `alservice campaign create`.
        dispatch: `deployments` starts the deployment of advance; `inline` leaves that to the caller.
    """

    def work(cycle: CycleSummary) -> CycleSummary:
        after = run_steps(cycle, COLLECTING)
        if after.state is not cycle.state and dispatch is Dispatch.DEPLOYMENTS:
            run_deployment("advance/advance", parameters={"campaign": campaign, "dispatch": dispatch}, timeout=0)
            return after
        return run_steps(after, DECIDED)

    return _work(campaign, resume_open, work)


@flow(name="advance")
def advance(campaign: str, dispatch: Dispatch = Dispatch.INLINE) -> State[CycleSummary]:
    """Train a candidate on the votes, judge it and let the gate decide; a hold suspends the run for a person.

    Args:
        campaign: Name of the campaign, as given to `alservice campaign create`.
        dispatch: Where training runs: `inline` in this run, `deployments` in the work pool gpu.
    """
    state = _work(campaign, resume_open, lambda cycle: run_steps(cycle, LEARNING, dispatch))
    cycle = state.data
    if not isinstance(cycle, CycleSummary) or cycle.state is not CycleState.HELD or dispatch is Dispatch.INLINE:
        return state
    # Outside `_work`: while the run is suspended, no process, database or Zooniverse is kept for it.
    decision = suspend_flow_run(
        wait_for_input=HeldDecision.with_initial_data(description=held_text(cycle)),
        timeout=seconds_to_decide(cycle) + GRACE_S,
        key=f"held-{cycle.cycle_id}",
    )
    decide_held(cycle, decision.decision, decision.actor, decision.reason)
    return _work(campaign, resume_open, lambda cycle: run_steps(cycle, DECIDED))


@flow(name="predict")
def predict(campaign: str) -> State[CycleSummary]:
    """Predict every galaxy with the champion: the step of an open cycle that wants a GPU.

    Args:
        campaign: Name of the campaign, as given to `alservice campaign create`.
    """
    return _work(campaign, resume_open, lambda cycle: run_steps(cycle, (CycleState.PREDICTING,)))


@flow(name="train")
def train(campaign: str) -> State[CycleSummary]:
    """Train the open cycle's candidate: the other step that wants a GPU.

    Args:
        campaign: Name of the campaign, as given to `alservice campaign create`.
    """
    return _work(campaign, resume_open, lambda cycle: run_steps(cycle, (CycleState.TRAINING,)))


@flow(name="start-cycle")
def start_cycle(campaign: str) -> State[CycleSummary]:
    """Start a cycle, or go on with the open one, in this process and as far as it goes without waiting.

    Args:
        campaign: Name of the campaign, as given to `alservice campaign create`.
    """
    return _work(campaign, start_or_resume, turn)


@flow(name="resume-cycle")
def resume_cycle(campaign: str) -> State[CycleSummary]:
    """Go on with the open cycle in this process, as far as it goes without waiting.

    Args:
        campaign: Name of the campaign, as given to `alservice campaign create`.
    """
    return _work(campaign, resume_open, turn)


def turn(cycle: CycleSummary) -> CycleSummary:
    """Take a cycle as far as it goes without waiting: in a rehearsal to its end, else to collecting."""
    cycle = run_steps(cycle, ASKING)
    if cycle.state is CycleState.COLLECTING:
        with _failing(cycle):
            ask_volunteers(cycle)
        cycle = run_steps(cycle, COLLECTING)
    return run_steps(cycle, LEARNING)


def run_steps(cycle: CycleSummary, steps: Sequence[CycleState], dispatch: Dispatch = Dispatch.INLINE) -> CycleSummary:
    """Run the steps that the cycle meets, in order; after an error it is marked failed, and resumes into its step."""
    for state in steps:
        if cycle.state is state:
            with _failing(cycle):
                cycle = _run(cycle, state, dispatch)
    return cycle


def _run(cycle: CycleSummary, state: CycleState, dispatch: Dispatch) -> CycleSummary:
    if dispatch is Dispatch.INLINE or state not in HEAVY:
        return run_step(cycle, state)
    run = cast("FlowRun", run_deployment(HEAVY[state], parameters={"campaign": cycle.campaign}, poll_interval=2))
    if run.state is None or not run.state.is_completed():
        raise DeploymentFailed(f"{HEAVY[state]} did not complete in its run {run.name}", run=run.name)
    return start_or_resume(cycle.campaign)


@contextmanager
def _failing(cycle: CycleSummary) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        fail(cycle, error)
        raise


def _work(
    campaign: str, find: Callable[[str], CycleSummary | None], work: Callable[[CycleSummary], CycleSummary]
) -> State[CycleSummary]:
    """Find the cycle, work on it with Zooniverse at hand, and publish where it stands."""
    with open_factory() as factory, open_zooniverse(factory, campaign):
        pause = paused(factory, factory.campaigns.get(campaign))
        if pause is not None:
            return Completed(message=f"campaign {campaign} is paused by {pause.actor}: {pause.reason}", name="Paused")
        cycle = find(campaign)
        if cycle is None:
            return Completed(message=f"campaign {campaign} has no open cycle", name="NothingToDo")
        cycle = work(cycle)
        cycle_artifact(cycle)
    return Completed(message=f"cycle {cycle.number} of {campaign} is {cycle.state}", data=cycle)
