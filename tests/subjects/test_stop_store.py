"""Decisions about subjects that may stop early, in Postgres and in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from alservice.campaigns.cycle import Cycle
from alservice.campaigns.store import Event
from alservice.errors import AlserviceError
from alservice.states import AskingState, SubjectState
from alservice.storage.postgres import transaction
from alservice.subjects.stop_store import SqlStopStore
from alservice.subjects.stops import FusedModel, Stop, StopStore
from alservice.subjects.subject import Subject, SubjectLedger
from alservice.testing import MemoryLedger
from alservice.testing.stores import MemoryStops
from tests.support.fake_ledger import a_cycle
from tests.support.stores import make_drafts
from tests.support.worlds import NOON

CAMPAIGN = 1


@dataclass
class World:
    """A ledger with three live subjects, and decisions about them."""

    ledger: SubjectLedger
    stops: StopStore
    cycle: Cycle
    rows: Sequence[Subject]

    def stop(self, n: int, **changes: object) -> Stop:
        """Return a decision about the n-th subject."""
        row = self.rows[n]
        fields: dict[str, object] = {
            "subject_id": row.id,
            "galaxy_id": row.galaxy_id,
            "cycle_id": row.cycle_id,
            "state": AskingState.STOPPED,
            "reason": "known",
            "votes": 7,
            "stopped_votes": 5,
            "mark": "m",
            "model_id": None,
            "detail": {"text": "enough", "figure": 0.97},
            "decided_at": NOON,
        }
        return Stop(**{**fields, **changes})

    def event(self, kind: str) -> Event:
        """Return an event of the cycle."""
        return Event(
            campaign_id=CAMPAIGN, cycle_id=self.cycle.id, at=NOON, actor="test", kind=kind, detail={"model": None}
        )


@pytest.fixture(params=["postgres", "memory"])
def world(request: pytest.FixtureRequest) -> World:
    """Three live subjects."""
    if request.param == "memory":
        ledger: SubjectLedger = MemoryLedger()
        stops: StopStore = MemoryStops(ledger)
        cycle = a_cycle()
    else:
        stores = request.getfixturevalue("stores")
        ledger, cycle = stores.subjects, request.getfixturevalue("cycle")
        stops = SqlStopStore(request.getfixturevalue("engine"), stores.clock)
    rows = ledger.plan(cycle, make_drafts(cycle, 3), n_votes=40)
    rows = ledger.mark(rows, SubjectState.CREATING)
    rows = ledger.mark(rows, SubjectState.CREATED, zooniverse_ids={row.id: 100 + row.id for row in rows})
    rows = ledger.mark(ledger.mark(rows, SubjectState.VERIFIED), SubjectState.LIVE)
    return World(ledger, stops, cycle, rows)


def test_decisions_are_read_as_they_were_written_and_replaced(world: World) -> None:
    """One row a subject; stopped ones are those that retire."""
    first, second = world.stop(0), world.stop(1, state=AskingState.ASKING, stopped_votes=None, reason="not-yet-known")
    world.stops.save([first, second], [world.event("subjects.stopped")])
    assert dict(world.stops.of_galaxies(CAMPAIGN, ["g0", "g1", "g2"])) == {"g0": first, "g1": second}
    assert dict(world.stops.stopped(CAMPAIGN)) == {"g0": first}
    again = replace(first, state=AskingState.AGAIN, votes=9, mark="n")
    world.stops.save([again], [])
    assert dict(world.stops.stopped(CAMPAIGN)) == {}
    assert world.stops.of_cycle(world.cycle.id) == [again, second]
    assert (first.overshoot, again.overshoot, second.overshoot) == (2, 0, 0)


def test_a_subject_that_is_withdrawn_is_not_among_the_stopped(world: World) -> None:
    """Nobody retires what nobody is shown."""
    world.stops.save([world.stop(0), world.stop(1)], [])
    world.ledger.mark([world.rows[0]], SubjectState.WITHDRAWN)
    world.ledger.mark([world.rows[1]], SubjectState.RETIRED)
    assert set(world.stops.stopped(CAMPAIGN)) == {"g1"}


def test_the_model_of_a_cycle_is_replaced_by_another(world: World) -> None:
    """None before the first decision; factors survive as they are."""
    assert world.stops.fused(world.cycle.id) is None
    off = FusedModel(cycle_id=world.cycle.id, model_id=None, why="no-champion")
    world.stops.save_fused(off, world.event("stopping.off"))
    assert world.stops.fused(world.cycle.id) == off
    on = FusedModel(cycle_id=world.cycle.id, model_id=None, temper={"bar": 0.123456789}, n_galaxies=3, n_votes=99)
    world.stops.save_fused(on, world.event("stopping.model"))
    assert world.stops.fused(world.cycle.id) == on


def test_a_row_of_the_ledger_is_found_by_its_galaxy(world: World) -> None:
    """As a page asks for it."""
    assert world.ledger.of_galaxy(CAMPAIGN, "g1") == world.rows[1]
    assert world.ledger.of_galaxy(CAMPAIGN, "g9") is None


def test_decision_and_event_are_one_transaction(request: pytest.FixtureRequest) -> None:
    """Where the decision cannot be written nothing is told, and the other way round."""
    world = request.getfixturevalue("sql_world")
    stores = request.getfixturevalue("stores")
    with pytest.raises(AlserviceError):
        world.stops.save([world.stop(0, subject_id=999)], [world.event("subjects.stopped")])
    assert not [e for e in stores.events.list(CAMPAIGN) if e.kind == "subjects.stopped"]
    with pytest.raises(AlserviceError):
        world.stops.save([world.stop(0, stopped_votes=None)], [world.event("subjects.stopped")])
    assert dict(world.stops.of_galaxies(CAMPAIGN, ["g0"])) == {}


def test_what_an_earlier_cycle_decided_is_not_read(request: pytest.FixtureRequest) -> None:
    """The row stays until the cycle that asks now decides."""
    world = request.getfixturevalue("sql_world")
    world.stops.save([world.stop(0)], [])
    with transaction(request.getfixturevalue("engine")) as connection:
        connection.exec_driver_sql("UPDATE cycles SET state = 'done', left_from = NULL")
    stores = request.getfixturevalue("stores")
    later = stores.start(request.getfixturevalue("campaign"), request.getfixturevalue("catalogue"))
    world.ledger.ask([world.rows[0]], cycle_id=later.id, n_votes=40)
    assert dict(world.stops.stopped(CAMPAIGN)) == {}
    assert dict(world.stops.of_galaxies(CAMPAIGN, ["g0"])) == {}


@pytest.fixture
def sql_world(request: pytest.FixtureRequest) -> World:
    """Three live subjects in Postgres."""
    stores, cycle = request.getfixturevalue("stores"), request.getfixturevalue("cycle")
    rows = stores.subjects.plan(cycle, make_drafts(cycle, 3), n_votes=40)
    rows = stores.subjects.mark(rows, SubjectState.CREATING)
    rows = stores.subjects.mark(rows, SubjectState.CREATED, zooniverse_ids={row.id: 100 + row.id for row in rows})
    rows = stores.subjects.mark(stores.subjects.mark(rows, SubjectState.VERIFIED), SubjectState.LIVE)
    return World(stores.subjects, SqlStopStore(request.getfixturevalue("engine"), stores.clock), cycle, rows)
