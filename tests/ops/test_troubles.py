"""What the dashboard says is wrong: each alarm that the database can tell, since when, what it costs, what to do."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from alservice.campaigns.cycle import CycleState
from alservice.cycle.steps import STEPS
from alservice.errors import StorageFull
from alservice.ops.alarms import ALARMS, ALARMS_PAGE, TARGETS, Severity
from alservice.ops.figures import CampaignFigures
from alservice.ops.metrics import (
    FAILED_LONGEST,
    PERSON_LONGEST,
    LeaseRow,
    Measures,
    OpenCycle,
    RecentRow,
    SentRow,
)
from alservice.ops.troubles import STANDSTILL, by_cause, troubles
from alservice.states import SubjectState
from tests.support.worlds import NOON

FIGURES = CampaignFigures(
    cycle=None,
    champion=None,
    pause=None,
    subjects={**dict.fromkeys(SubjectState, 0), SubjectState.LIVE: 1200},
    arrived=9,
    day=3456,
    waiting=0,
    cursors={},
)


def open_cycle(state: CycleState, **changes: Any) -> OpenCycle:
    """Return a cycle that came to a state at noon."""
    made = OpenCycle(
        campaign="gz", number=4, state=state, left_from=None, deadline=None, created_at=NOON, updated_at=NOON
    )
    return replace(made, **changes)


def measured(*cycles: OpenCycle, after: timedelta = timedelta(0), **changes: Any) -> Measures:
    """Return the measures of some cycles, so long after noon."""
    nothing: dict[str, Any] = {n: {} for n in ("done", "disagreement", "takeovers", "taken_back", "calls")}
    return Measures(at=NOON + after, cycles=cycles, **{**nothing, "steps": (), "leases": (), "sent": (), **changes})


def told(measures: Measures) -> list[tuple[str, datetime]]:
    """Return the alarms that ring, each with since when."""
    return [(found.alarm.name, found.since) for found in troubles(measures, {"gz": FIGURES})]


def test_a_quiet_week_has_no_alarm() -> None:
    """A cycle that collects before its deadline, a lease that is alive, one death, and an old end."""
    cycle = open_cycle(CycleState.COLLECTING, deadline=NOON + timedelta(days=6))
    measures = measured(
        cycle,
        after=timedelta(days=5),
        done={"gz": NOON},
        disagreement={"gz": 0.9},
        leases=[LeaseRow(campaign="gz", expires_at=NOON + timedelta(days=6))],
        recent=[RecentRow(campaign="gz", kind="lease.taken_over", step=None, code=None, n=1, first=NOON)],
    )
    assert told(measures) == []


BOUNDS = [
    *((step.state, {}, step.longest) for step in STEPS),
    (CycleState.COLLECTING, {"deadline": NOON + timedelta(days=3)}, timedelta(days=3, hours=2)),
    (CycleState.HELD, {"hold_hours": 48.0}, timedelta(hours=50)),
    (CycleState.FAILED, {"left_from": CycleState.TRAINING}, FAILED_LONGEST),
    (CycleState.CANCELLED, {"left_from": CycleState.TRAINING}, PERSON_LONGEST),
    (CycleState.TRAINING, {"paused_at": NOON + timedelta(hours=9)}, timedelta(hours=9) + PERSON_LONGEST),
    (CycleState.TRAINING, {"resumed_at": NOON + timedelta(hours=9)}, timedelta(hours=57)),
]


@pytest.mark.parametrize(("state", "changes", "bound"), BOUNDS)
def test_a_state_is_stuck_once_it_is_older_than_its_bound(
    state: CycleState, changes: dict[str, Any], bound: timedelta
) -> None:
    """Whoever holds the lease; a wait counts from its end, a pause from its beginning, and its end begins anew."""
    cycle = open_cycle(state, created_at=NOON + timedelta(days=9), **changes)
    assert cycle.stuck_at == NOON + bound
    alive = [LeaseRow(campaign="gz", expires_at=NOON + timedelta(days=90))]
    names = [name for name, _ in told(measured(cycle, after=bound, leases=alive))]
    assert "Stuck" not in names
    late = troubles(measured(cycle, after=bound + timedelta(seconds=1), leases=alive), {"gz": FIGURES})
    (stuck,) = [found for found in late if found.alarm.name == "Stuck"]
    assert stuck.since == cycle.paused_at or stuck.since == NOON
    assert cycle.stands in stuck.what


def test_a_state_of_a_newer_version_gets_stuck_as_well() -> None:
    """Kind: a table lookup that ends the page of alarms."""
    unknown = str.__new__(CycleState, "dreaming")
    unknown._name_, unknown._value_ = "dreaming", "dreaming"
    assert open_cycle(unknown).stuck_at == NOON + PERSON_LONGEST


def test_a_failure_says_what_it_costs_and_what_to_do_about_its_code() -> None:
    """The remedy is the error's own; the cost is in the campaign's figures."""
    cycle = open_cycle(CycleState.FAILED, left_from=CycleState.PUBLISHING, code=StorageFull.code)
    (found,) = troubles(measured(cycle, after=timedelta(hours=1)), {"gz": FIGURES})
    assert (found.alarm.name, found.since, found.page) == ("CycleFailed", NOON, "/campaigns/gz")
    assert found.what == f"Cycle 4 failed in publishing with {StorageFull.code}."
    assert "1,200 subjects" in found.costs
    assert "3,456 classifications" in found.costs
    assert found.do == f"{StorageFull.remedy} Then `alservice cycle resume`."
    bare = troubles(measured(replace(cycle, code=None)), {})[0]
    assert (bare.costs, bare.do) == (bare.alarm.costs, bare.alarm.do)


HOUR = timedelta(hours=1)
RINGING: dict[str, Measures] = {
    "CycleFailed": measured(open_cycle(CycleState.FAILED, left_from=CycleState.TRAINING)),
    "CycleCancelled": measured(open_cycle(CycleState.CANCELLED, left_from=CycleState.TRAINING), after=25 * HOUR),
    "CycleLate": measured(open_cycle(CycleState.TRAINING, updated_at=NOON + 192 * HOUR), after=193 * HOUR),
    "NoCycleFinished": measured(done={"gz": NOON}, after=timedelta(days=16)),
    "Stuck": measured(open_cycle(CycleState.GATED), after=3 * HOUR),
    "CollectingOverdue": measured(open_cycle(CycleState.COLLECTING, deadline=NOON), after=1.5 * HOUR),
    "GateHeld": measured(open_cycle(CycleState.HELD)),
    "LabelsDisagree": measured(disagreement={"gz": 1.5}),
    "LeaseExpired": measured(leases=[LeaseRow(campaign="gz", expires_at=NOON)], after=HOUR),
    "RunsDie": measured(
        recent=[RecentRow(campaign="gz", kind="lease.taken_over", step=None, code=None, n=4, first=NOON)]
    ),
    "StepSilent": measured(sent=[SentRow(campaign="gz", step="training", sent_at=NOON, heard_at=NOON)], after=HOUR),
    "StepNotTaken": measured(sent=[SentRow(campaign="gz", step="training", sent_at=NOON, heard_at=None)], after=HOUR),
    "RunsLost": measured(
        recent=[RecentRow(campaign="gz", kind="step.taken_back", step=None, code=None, n=1, first=NOON)]
    ),
    "StepsFail": measured(
        recent=[RecentRow(campaign="gz", kind="cycle.moved", step="training", code="storage-full", n=3, first=NOON)]
    ),
}


@pytest.mark.parametrize("name", RINGING)
def test_every_alarm_of_the_database_rings_alone(name: str) -> None:
    """And tells the moment at which it began."""
    assert told(RINGING[name]) == [(name, NOON)]


def test_what_no_page_tells_is_told_by_prometheus_alone() -> None:
    """Kind: an alarm that is in the table, and that the overview never shows."""
    assert {a.name for a in ALARMS.values() if a.page in {TARGETS, ALARMS_PAGE}} == set(ALARMS) - set(RINGING)


def test_what_wakes_somebody_comes_first() -> None:
    """Then what is oldest."""
    held = open_cycle(CycleState.HELD)
    failed = open_cycle(CycleState.FAILED, left_from=CycleState.TRAINING, updated_at=NOON + HOUR)
    found = troubles(measured(held, failed, after=HOUR, disagreement={"gz": 2.0}), {})
    assert [each.alarm.severity for each in found] == [Severity.PAGE, Severity.PAGE, Severity.TICKET]
    assert [each.since for each in found] == [*sorted(each.since for each in found[:2]), NOON]


def test_what_follows_from_a_cause_is_folded_into_it() -> None:
    """One standstill is one line, as grave as its gravest alarm; another campaign's, and what repeats, stay apart."""
    cancelled = open_cycle(CycleState.CANCELLED, left_from=CycleState.COLLECTING, deadline=NOON)
    beside = open_cycle(CycleState.HELD, campaign="other")
    rows = [RecentRow(campaign="gz", kind="step.taken_back", step=None, code=None, n=2, first=NOON + HOUR)]
    found = by_cause(troubles(measured(cancelled, beside, after=193 * HOUR, recent=rows), {}))
    assert [(each.campaign, each.alarm.name, [alarm.name for alarm in each.also]) for each in found] == [
        ("gz", "CycleCancelled", ["Stuck", "CollectingOverdue", "CycleLate"]),
        ("other", "GateHeld", ["Stuck", "CycleLate"]),
        ("gz", "RunsLost", []),
    ]
    assert [each.severity for each in found] == [Severity.PAGE, Severity.PAGE, Severity.TICKET]
    assert set(STANDSTILL) <= set(ALARMS)
