"""Timelines and arms: what the ops pages derive from events and votes."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest

from alservice.campaigns.cycle import Cycle, CycleState
from alservice.campaigns.store import Event
from alservice.cycle.table import timeline
from alservice.ops.figures import arm_figures

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def cycle(state: CycleState, left_from: CycleState | None = None) -> Cycle:
    """Return a cycle that was opened at noon."""
    return Cycle(
        id=1,
        campaign_id=1,
        campaign_version=1,
        catalogue_id=1,
        number=1,
        state=state,
        left_from=left_from,
        champion_id=1,
        candidate_id=None,
        deadline=None,
        created_at=NOON,
        updated_at=NOON,
    )


def moved(minutes: int, before: str, after: str, **detail: object) -> Event:
    """Return a transition some minutes after noon."""
    at = NOON + timedelta(minutes=minutes)
    detail = {"from": before, "to": after, **detail}
    return Event(campaign_id=1, cycle_id=1, at=at, actor="test", kind="cycle.moved", detail=detail)


def test_a_step_that_failed_twice() -> None:
    """Time in a step counts stops; errors and resumes are told in order; the rest waits."""
    events = [
        moved(2, "planned", "predicting"),
        moved(5, "predicting", "failed", error="OSError", message="first"),
        moved(9, "failed", "predicting", resumed=True),
        moved(12, "predicting", "cancelled", reason="second"),
        moved(20, "cancelled", "predicting", resumed=True),
        moved(32, "predicting", "acquiring", done=7),
    ]
    steps = {s.step: s for s in timeline(cycle(CycleState.ACQUIRING), events, NOON + timedelta(minutes=40))}
    predicting = steps[CycleState.PREDICTING]
    assert (predicting.state, predicting.retries) == ("done", 2)
    assert predicting.errors == ("first", "cancelled: second")
    assert predicting.elapsed == timedelta(minutes=30)
    assert predicting.detail == {"done": 7}
    assert (steps[CycleState.PLANNED].state, steps[CycleState.PLANNED].elapsed) == ("done", timedelta(minutes=2))
    assert (steps[CycleState.ACQUIRING].state, steps[CycleState.ACQUIRING].elapsed) == ("now", timedelta(minutes=8))
    assert steps[CycleState.TRAINING].state == "waiting"
    assert CycleState.HELD not in steps


@pytest.mark.parametrize("stop", [CycleState.FAILED, CycleState.CANCELLED])
def test_a_cycle_that_stopped(stop: CycleState) -> None:
    """The step it stopped in shows how."""
    events = [moved(3, "planned", str(stop), error="OSError", message="gone")]
    steps = timeline(cycle(stop, CycleState.PLANNED), events, NOON + timedelta(minutes=4))
    assert (steps[0].state, steps[0].errors) == (str(stop), ("gone",))


def test_too_few_votes_skip_training() -> None:
    """A closed cycle that kept its champion untrained shows the steps it did not need."""
    events = [
        moved(1, "planned", "acquiring"),
        moved(2, "acquiring", "publishing"),
        moved(3, "publishing", "collecting"),
        moved(4, "collecting", "kept"),
        moved(5, "kept", "done"),
    ]
    steps = {s.step: s.state for s in timeline(cycle(CycleState.DONE), events, NOON)}
    assert steps[CycleState.PREDICTING] == steps[CycleState.TRAINING] == steps[CycleState.GATED] == "skipped"
    assert steps[CycleState.KEPT] == "done"


def test_arms_by_hand() -> None:
    """The split is the mean entropy of votes; galaxies that nobody was asked about do not count."""
    rows = [
        {"cycle": 1, "arm": "informative", "votes": [10, 10]},
        {"cycle": 1, "arm": "informative", "votes": [20, 0]},
        {"cycle": 1, "arm": "informative", "votes": [0, 0]},
        {"cycle": 1, "arm": "random", "votes": [7, 0]},
        {"cycle": 2, "arm": "random", "votes": None},
    ]
    informative, random = arm_figures(rows)
    assert (informative.arm, informative.galaxies, informative.votes) == ("informative", 2, 40)
    assert informative.split_nats == pytest.approx(math.log(2) / 2)
    half = 1.96 * (math.log(2) / math.sqrt(2)) / math.sqrt(2)
    assert informative.high - informative.split_nats == pytest.approx(half)
    assert (random.split_nats, random.low, random.high) == (0, 0, 0)
