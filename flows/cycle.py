"""The weekly turn of the loop, cut where it has to wait for volunteers.

``weekly-cycle`` ends in collecting; ``ingest`` notices that collecting is over and starts ``advance``, which trains,
evaluates and gates. Nothing waits inside a process: a waiting cycle is a row. Each run works under the campaign's
lease; one that is killed leaves its cycle in the step, and the next tick of ``ingest`` starts its deployment again.

Docstrings of flows have an ``Args:`` section: it is what Prefect's forms show beside each field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import partial

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.deployments import run_deployment
from prefect.flow_runs import suspend_flow_run
from prefect.runtime import flow_run
from prefect.states import Completed

from alservice.campaigns.cycle import CycleKind, CycleState
from alservice.cycle.readiness import Flight
from alservice.cycle.steps import BY_STATE, STEPS, Phase, path_of, states_of
from alservice.errors import LeaseHeld, LeaseLost
from flows.artifacts import cycle_artifact
from flows.cancelling import cancel_cycle
from flows.elsewhere import send_step
from flows.leases import PATIENCE, check_lease, working_on
from flows.naming import first_name, labelled, run_name, tags_of, working_for
from flows.ready import check_work, opened
from flows.tasks import (
    GRACE_S,
    CampaignName,
    CycleSummary,
    HeldDecision,
    LeaseToken,
    actor,
    ask_volunteers,
    decide_held,
    fail,
    find_collecting,
    held_text,
    resume_open,
    run_step,
    seconds_to_decide,
    start_or_resume,
    start_retraining,
    tell,
)


class Dispatch(StrEnum):
    """Where the heavy steps run: in this process, or as deployments in the work pool ``gpu``."""

    INLINE = "inline"
    DEPLOYMENTS = "deployments"


HOUR_S = 3600


@flow(name="weekly-cycle", flow_run_name=first_name, timeout_seconds=48 * HOUR_S, on_cancellation=[cancel_cycle])
def weekly_cycle(campaign: CampaignName, dispatch: Dispatch = Dispatch.INLINE) -> State[CycleSummary]:
    """Start this week's cycle, or go on with the open one, until its galaxies are in front of volunteers.

    Args:
        campaign: Name of the campaign, as given to `alservice campaign create`.
        dispatch: Where prediction runs: `inline` in this run, `deployments` in the work pool gpu.
    """
    flight = _flight(states_of(Phase.ASK), starts=CycleKind.FULL, dispatch=dispatch)
    work = partial(run_steps, steps=states_of(Phase.ASK), dispatch=dispatch)
    state = _scheduled(campaign, flight, start_or_resume, work, patience=PATIENCE)
    return _advanced(state, dispatch)


@flow(name="ingest", flow_run_name=first_name, timeout_seconds=6 * HOUR_S)
def ingest(campaign: CampaignName, dispatch: Dispatch = Dispatch.INLINE) -> State[CycleSummary]:
    """Read new classifications; when collecting is over, start ``advance``.

    A cycle whose run was killed goes on as well, by the deployment that its step is in; one that failed elsewhere, or
    was cancelled, is left alone.

    Args:
        campaign: Name of the campaign, as given to `alservice campaign create`.
        dispatch: `deployments` starts the deployment of advance; `inline` leaves that to the caller.
    """

    def work(cycle: CycleSummary) -> CycleSummary:
        after = run_steps(cycle, states_of(Phase.COLLECT))
        return after if after.state is not cycle.state else run_steps(after, states_of(Phase.CLOSE))

    state = _scheduled(campaign, _flight(states_of(Phase.COLLECT), states_of(Phase.CLOSE)), find_collecting, work)
    return _advanced(state, dispatch, after_death=True)


@flow(name="advance", flow_run_name=first_name, timeout_seconds=48 * HOUR_S, on_cancellation=[cancel_cycle])
def advance(campaign: CampaignName, dispatch: Dispatch = Dispatch.INLINE) -> State[CycleSummary]:
    """Train a candidate on the votes, judge it and let the gate decide; a hold suspends the run for a person.

    Args:
        campaign: Name of the campaign, as given to `alservice campaign create`.
        dispatch: Where training runs: `inline` in this run, `deployments` in the work pool gpu.
    """
    steps = states_of(Phase.LEARN, Phase.CLOSE)
    work = partial(run_steps, steps=steps, dispatch=dispatch)
    state = _scheduled(campaign, _flight(steps, dispatch=dispatch), resume_open, work, patience=PATIENCE)
    return _decided(state, dispatch)


@flow(name="retrain-only", flow_run_name=first_name, timeout_seconds=48 * HOUR_S, on_cancellation=[cancel_cycle])
def retrain_only(campaign: CampaignName, dispatch: Dispatch = Dispatch.INLINE) -> State[CycleSummary]:
    """Train a candidate on the votes there are, judge it and let the gate decide: a cycle that asks nobody.

    Refused while another cycle is open, whose own training will use the votes.

    Args:
        campaign: Name of the campaign, as given to `alservice campaign create`.
        dispatch: Where training runs: `inline` in this run, `deployments` in the work pool gpu.
    """
    steps = path_of(CycleKind.RETRAIN)
    flight = _flight(steps, starts=CycleKind.RETRAIN, dispatch=dispatch)
    work = partial(run_steps, steps=steps, dispatch=dispatch)
    state = _work(campaign, flight, start_retraining, work, patience=PATIENCE)
    return _decided(state, dispatch)


@flow(name="predict", flow_run_name=first_name, timeout_seconds=48 * HOUR_S)
def predict(campaign: CampaignName, lease: LeaseToken = None) -> State[CycleSummary]:
    """Predict every galaxy with the champion: the step of an open cycle that wants a GPU.

    Args:
        campaign: Name of the campaign, as given to `alservice campaign create`.
        lease: Filled in by the run that sends this step to another pool; leave it empty.
    """
    steps = (CycleState.PREDICTING,)
    return _work(campaign, _flight(steps), resume_open, partial(run_steps, steps=steps), token=lease)


@flow(name="train", flow_run_name=first_name, timeout_seconds=48 * HOUR_S)
def train(campaign: CampaignName, lease: LeaseToken = None) -> State[CycleSummary]:
    """Train the open cycle's candidate: the other step that wants a GPU.

    Args:
        campaign: Name of the campaign, as given to `alservice campaign create`.
        lease: Filled in by the run that sends this step to another pool; leave it empty.
    """
    steps = (CycleState.TRAINING,)
    return _work(campaign, _flight(steps), resume_open, partial(run_steps, steps=steps), token=lease)


@flow(name="start-cycle", flow_run_name=first_name)
def start_cycle(campaign: CampaignName) -> State[CycleSummary]:
    """Start a cycle, or go on with the open one, in this process and as far as it goes without waiting.

    Args:
        campaign: Name of the campaign, as given to `alservice campaign create`.
    """
    return _work(campaign, _flight(states_of(), starts=CycleKind.FULL), start_or_resume, turn)


@flow(name="resume-cycle", flow_run_name=first_name)
def resume_cycle(campaign: CampaignName) -> State[CycleSummary]:
    """Go on with the open cycle in this process, as far as it goes without waiting.

    Args:
        campaign: Name of the campaign, as given to `alservice campaign create`.
    """
    return _work(campaign, _flight(states_of()), resume_open, turn)


def turn(cycle: CycleSummary) -> CycleSummary:
    """Take a cycle as far as it goes without waiting: in a rehearsal to its end, else to collecting."""
    cycle = run_steps(cycle, states_of(Phase.ASK))
    some = True
    while some and cycle.state is CycleState.COLLECTING:
        with _failing(cycle):
            some = ask_volunteers(cycle) > 0
        cycle = run_steps(cycle, states_of(Phase.COLLECT))
    return run_steps(cycle, states_of(Phase.LEARN, Phase.CLOSE))


def run_steps(cycle: CycleSummary, steps: Sequence[CycleState], dispatch: Dispatch = Dispatch.INLINE) -> CycleSummary:
    """Run the steps that the cycle meets, in order; after an error it is marked failed, and resumes into its step."""
    for state in steps:
        if cycle.state is state:
            check_lease()
            with _failing(cycle):
                cycle = _run(cycle, state, dispatch)
            if cycle.state is not state:
                tell(cycle)
    return cycle


def _run(cycle: CycleSummary, state: CycleState, dispatch: Dispatch) -> CycleSummary:
    if dispatch is Dispatch.INLINE or not BY_STATE[state].needs_gpu:
        return run_step(cycle, state)
    send_step(cycle)
    return start_or_resume(cycle.campaign)


@contextmanager
def _failing(cycle: CycleSummary) -> Iterator[None]:
    try:
        yield
    except LeaseLost:  # the step is another's, and so is what becomes of the cycle
        raise
    except Exception as error:
        tell(fail(cycle, error))
        raise


Find = Callable[[str], CycleSummary | None]
Work = Callable[[CycleSummary], CycleSummary]


def _flight(
    *legs: tuple[CycleState, ...], starts: CycleKind | None = None, dispatch: Dispatch = Dispatch.INLINE
) -> Flight:
    """Return what the running flow is about to do, for the checks before it."""
    sent = dispatch is Dispatch.DEPLOYMENTS
    elsewhere = frozenset(step.state for step in STEPS if sent and step.needs_gpu)
    return Flight(name=flow_run.get_flow_name() or "a run", legs=legs, starts=starts, elsewhere=elsewhere)


def _scheduled(campaign: str, flight: Flight, find: Find, work: Work, *, patience: int = 0) -> State[CycleSummary]:
    """Work on the cycle, or record that another run does: a tick that finds one at work has nothing to add."""
    try:
        return _work(campaign, flight, find, work, patience=patience)
    except LeaseHeld as error:
        return Completed(message=f"skipped: {error.message}", name="Skipped")


def _decided(state: State[CycleSummary], dispatch: Dispatch) -> State[CycleSummary]:
    """Wait suspended for a person's decision on a held cycle, and carry it out; any other is left as it is."""
    cycle = state.data
    if not isinstance(cycle, CycleSummary) or cycle.state is not CycleState.HELD or dispatch is Dispatch.INLINE:
        return state
    # Outside `_work`: while the run is suspended, no process, database, lease or Zooniverse is kept for it.
    decision = suspend_flow_run(
        wait_for_input=HeldDecision.with_initial_data(description=held_text(cycle)),
        timeout=seconds_to_decide(cycle) + GRACE_S,
        key=f"held-{cycle.cycle_id}",
    )
    decide_held(cycle, decision.decision, decision.actor, decision.reason)
    steps = states_of(Phase.CLOSE)
    work = partial(run_steps, steps=steps)
    return _scheduled(cycle.campaign, _flight(steps), resume_open, work, patience=PATIENCE)


def _work(
    campaign: str, flight: Flight, find: Find, work: Work, *, token: str | None = None, patience: int = 0
) -> State[CycleSummary]:
    """Check what the run needs, find the cycle, work on it alone with Zooniverse at hand, publish where it stands."""
    with (
        labelled(campaign),
        opened() as factory,
        factory.sites.opened(campaign),
        working_on(factory, campaign, actor=actor(), token=token, patience=patience),
    ):
        pause = factory.ops.paused(factory.campaigns.get(campaign))
        if pause is not None:
            return Completed(message=f"campaign {campaign} is paused by {pause.actor}: {pause.reason}", name="Paused")
        check_work(factory, campaign, flight)
        cycle = find(campaign)
        if cycle is None:
            return Completed(message=f"campaign {campaign} has no open cycle", name="NothingToDo")
        if cycle.state is CycleState.PLANNED:
            tell(cycle)
        run = flow_run.get_flow_name() or "a run"
        with working_for(cycle), factory.cycle.traced(cycle.cycle_id, f"flow {run}", actor=actor()):
            cycle = work(cycle)
            cycle_artifact(cycle)
    return Completed(message=f"cycle {cycle.number} of {campaign} is {cycle.state}", data=cycle)


def _advanced(state: State[CycleSummary], dispatch: Dispatch, *, after_death: bool = False) -> State[CycleSummary]:
    """Start ``advance`` for a cycle that has come so far; the lease is free again, so that it can take it.

    A tick had the lease, so that nobody works on the cycle: in the first half its week's run is dead, and another one
    starts, which the next Thursday's would do else.
    """
    cycle = state.data
    if dispatch is not Dispatch.DEPLOYMENTS or not isinstance(cycle, CycleSummary):
        return state
    is_learning = cycle.state in states_of(Phase.LEARN, Phase.CLOSE) and cycle.state is not CycleState.HELD
    if is_learning or (after_death and cycle.state in states_of(Phase.ASK)):
        name = "advance" if is_learning else "weekly-cycle"
        run_deployment(
            f"{name}/{name}",
            parameters={"campaign": cycle.campaign, "dispatch": dispatch},
            flow_run_name=run_name(cycle.campaign, cycle.number, name),
            tags=tags_of(cycle.campaign, cycle.number),
            timeout=0,
        )
    return state
