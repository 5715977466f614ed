"""What flows decide without a server: when advance is started, who is told, and what a schedule turns into."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
import yaml
from prefect.client.schemas.objects import State, StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger
from prefect.events.schemas.events import ResourceSpecification
from prefect.flow_engine import MINIMUM_HEARTBEAT_INTERVAL
from prefect.states import Completed
from prefect.utilities.callables import parameter_schema

from alservice.campaigns.cycle import CYCLES, CycleState
from alservice.cycle.readiness import Flight
from alservice.cycle.steps import Phase, states_of
from alservice.errors import BadInput, DatabaseUnavailable, LeaseHeld, StorageFull
from flows import cycle as flow
from flows.cycle import Dispatch
from flows.deployments import HEARTBEAT_S, flow_at, read_automations, read_deployments, register_automations
from flows.tasks import CycleSummary, if_retriable
from tests.support.shared import ROOT

DOCUMENTS = yaml.safe_load((ROOT / "deploy" / "prefect.yaml").read_text())["deployments"]


def standing(state: CycleState) -> State[CycleSummary]:
    """Return how a run ends whose cycle stands in a state."""
    return Completed(data=CycleSummary(campaign="survey", cycle_id=1, number=3, state=state))


@dataclass
class Started:
    """Deployments that were started."""

    names: list[str] = field(default_factory=list)

    def __call__(self, name: str, **how: Any) -> None:
        """Note it; nobody waits for it."""
        assert how["timeout"] == 0
        self.names.append(name)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """Where starts are noted."""
    noted = Started()
    monkeypatch.setattr(flow, "run_deployment", noted)
    return noted


@pytest.mark.parametrize("state", CycleState)
def test_advance_is_started_where_it_has_work(state: CycleState, started: Started) -> None:
    """After collecting and in every later step; never for a cycle that waits, has stopped or is done."""
    later = {"training", "evaluating", "gated", "promoted", "kept"}
    flow._advanced(standing(state), Dispatch.DEPLOYMENTS)
    assert started.names == (["advance/advance"] if state in later else [])
    flow._advanced(standing(state), Dispatch.INLINE)
    assert len(started.names) <= 1, "inline leaves it to the caller"


@pytest.mark.parametrize("state", CycleState)
def test_a_tick_starts_again_what_died_in_any_step(state: CycleState, started: Started) -> None:
    """The kind: a campaign that waits for a run whose machine is gone, here until next Thursday.

    The tick had the lease, so nobody is at work: the deployment of the cycle's half is started, once.
    """
    first = {"planned", "predicting", "acquiring", "publishing"}
    second = {"training", "evaluating", "gated", "promoted", "kept"}
    flow._advanced(standing(state), Dispatch.DEPLOYMENTS, after_death=True)
    expected = ["weekly-cycle/weekly-cycle"] if state in first else ["advance/advance"] if state in second else []
    assert started.names == expected
    flow._advanced(standing(state), Dispatch.INLINE, after_death=True)
    assert started.names == expected


def test_a_tick_without_a_cycle_starts_nothing(started: Started) -> None:
    """No cycle is open, or another run is at work."""
    flow._advanced(Completed(name="NothingToDo"), Dispatch.DEPLOYMENTS)
    assert started.names == []


def test_a_scheduled_run_says_who_is_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends well, as skipped, with the other's name."""

    def refuse(*_: object, **__: object) -> State[CycleSummary]:
        raise LeaseHeld("prefect:owl works on this campaign since noon")

    monkeypatch.setattr(flow, "_work", refuse)
    state = flow._scheduled("survey", Flight(name="a run"), lambda _: None, lambda cycle: cycle)
    assert (state.name, state.is_completed()) == ("Skipped", True)
    assert "owl" in str(state.message)


def test_steps_of_the_second_half_are_those_after_collecting() -> None:
    """What advance works on follows from the table of transitions."""
    after, found = [CycleState.COLLECTING], set()
    while after:
        for state in (
            CYCLES.transitions[after.pop()] - found - {CycleState.FAILED, CycleState.CANCELLED, CycleState.DONE}
        ):
            found.add(state)
            after.append(state)
    assert found == set(states_of(Phase.LEARN, Phase.CLOSE))


@pytest.mark.parametrize(
    ("error", "again"), [(DatabaseUnavailable("away"), True), (StorageFull("full"), False), (ValueError("bug"), False)]
)
def test_the_type_of_an_error_says_whether_it_is_tried_again(error: Exception, again: bool) -> None:
    """Only what may succeed later; an unknown error needs a person."""
    failed: State[Any] = Completed(data=error)
    assert if_retriable(None, None, failed) is again


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d["name"])
def test_parameters_of_a_deployment_make_a_form(document: dict[str, Any]) -> None:
    """Each has help, and the file's values are parameters that the flow has; a campaign's name is checked in the form."""
    schema = parameter_schema(flow_at(document["entrypoint"]))
    assert set(document.get("parameters", {})) <= set(schema.properties)
    for name, shown in schema.properties.items():
        assert shown["description"].endswith((".", "empty.")), name
    if "campaign" in schema.properties:
        assert schema.properties["campaign"]["pattern"]
        assert schema.required == ["campaign"], "all else has a default"


def test_one_machine_serves_what_a_pool_would_run() -> None:
    """The same names, entry points, parameters, schedules and limits."""
    served = {deployment.name: deployment for deployment in read_deployments()}
    assert list(served) == [document["name"] for document in DOCUMENTS]
    for document in DOCUMENTS:
        deployment = served[document["name"]]
        assert deployment.parameters == document.get("parameters", {})
        crons = [schedule.schedule.cron for schedule in deployment.schedules or ()]
        assert crons == [schedule["cron"] for schedule in document.get("schedules", [])]
        assert all(schedule.schedule.timezone == "Europe/London" for schedule in deployment.schedules or ())
        assert deployment.concurrency_limit == document.get("concurrency_limit", {}).get("limit")
        assert str(deployment.entrypoint) == document["entrypoint"]


def test_automations_wait_for_events_that_flows_send() -> None:
    """Each names states of a cycle, or events of Prefect's runs; with a block they notify, without one they show."""
    for automation in read_automations():
        trigger = automation.trigger.model_dump(mode="json")
        for event in (*trigger["expect"], *trigger["after"]):
            sent = event.removeprefix("alservice.cycle.") in set(CycleState) or event.startswith("prefect.flow-run.")
            assert sent, event
    quiet = {a.name: [action.type for action in a.actions] for a in read_automations()}
    assert quiet.pop("run died") == ["change-flow-run-state"]
    assert set(map(tuple, quiet.values())) == {("do-nothing",)}
    notified = {a.name: a.actions for a in read_automations(block_id="9e30a881-d374-4035-8e3c-24583e59b91e")}
    (crash,) = notified.pop("run died")
    assert isinstance(crash, ChangeFlowRunState)
    assert crash.state is StateType.CRASHED
    assert {action.type for actions in notified.values() for action in actions} == {"send-notification"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d["name"])
def test_every_run_gives_heartbeats_by_which_a_dead_one_is_found(document: dict[str, Any]) -> None:
    """The kind: a run whose process is gone and that stays running in Prefect, with its place in a limit.

    In a pool and on one machine alike; the automation waits for several, and not for a run that ended or suspended.
    """
    told = document["work_pool"]["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"]
    assert int(told) == HEARTBEAT_S >= MINIMUM_HEARTBEAT_INTERVAL
    (died,) = (a.trigger for a in read_automations() if a.name == "run died")
    assert isinstance(died, EventTrigger)
    assert died.within >= timedelta(seconds=4 * HEARTBEAT_S)
    ends = {"Completed", "Failed", "Crashed", "Cancelled", "Suspended"}
    assert died.expect == {"prefect.flow-run.heartbeat"} | {f"prefect.flow-run.{end}" for end in ends}
    related = {"prefect.resource.id": "prefect.tag.alservice", "prefect.resource.role": "tag"}
    assert died.match_related == ResourceSpecification(related)
    assert "alservice" in document["tags"]


def test_how_long_a_cycle_may_take_is_said_at_registration() -> None:
    """The file's eight days are a weekly survey's; a slower one says so, and no other automation changes."""
    weekly, monthly = read_automations(), read_automations(late_after=timedelta(days=32))
    assert {a.name: b.trigger for a, b in zip(weekly, monthly, strict=True) if a.trigger != b.trigger}.keys() == {
        "cycle late"
    }
    (late,) = (a.trigger for a in monthly if a.name == "cycle late")
    assert isinstance(late, EventTrigger)
    assert late.within == timedelta(days=32)
    with pytest.raises(BadInput, match="within 10 s"):
        register_automations(late_after=timedelta(seconds=9))
