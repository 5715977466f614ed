"""Cycles move along the table only, one at a time, and every move leaves its event."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise, product
from threading import Barrier

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from alservice.campaigns.cycle import CYCLES, WORKING, CycleState
from alservice.errors import Conflict, IllegalTransition, NotFound
from alservice.storage.postgres import transaction

TO_COLLECTING = (CycleState.ACQUIRING, CycleState.PUBLISHING, CycleState.COLLECTING)
TO_DONE = (*TO_COLLECTING, CycleState.KEPT, CycleState.DONE)


def test_first_cycle(stores, campaign, catalogue) -> None:
    """Cycle 0 is planned, has no champion, and is the open one."""
    cycle = stores.start(campaign, catalogue)
    assert (cycle.number, cycle.state, cycle.champion_id, cycle.candidate_id) == (0, CycleState.PLANNED, None, None)
    assert (cycle.campaign_version, cycle.catalogue_id) == (campaign.version, catalogue.id)
    assert stores.cycles.get(cycle.id) == cycle
    assert stores.cycles.open(campaign.id) == cycle


def test_second_open_cycle_is_refused(stores, campaign, catalogue, cycle) -> None:
    """A campaign has one open cycle, also while that one has failed; the message names it."""
    with pytest.raises(Conflict, match="cycle 0 of survey is open"):
        stores.start(campaign, catalogue)
    stores.move(cycle, CycleState.FAILED)
    with pytest.raises(Conflict, match="failed"):
        stores.start(campaign, catalogue)
    assert stores.cycles.list(campaign.id) == [stores.cycles.get(cycle.id)]


def test_next_cycle_follows_a_done_one(stores, campaign, catalogue, cycle) -> None:
    """Numbers count up, and cycles are listed by number."""
    stores.move(cycle, *TO_DONE)
    assert stores.cycles.open(campaign.id) is None
    second = stores.start(campaign, catalogue)
    assert second.number == 1
    assert [c.number for c in stores.cycles.list(campaign.id)] == [0, 1]


def test_simultaneous_starts_open_one_cycle(stores, campaign, catalogue) -> None:
    """Of many that start at once one wins, and the others are told of a conflict."""
    barrier = Barrier(6)

    def start(_: int) -> str:
        barrier.wait()
        try:
            return str(stores.start(campaign, catalogue).number)
        except Conflict:
            return "conflict"

    with ThreadPoolExecutor(6) as pool:
        outcomes = sorted(pool.map(start, range(6)))
    assert outcomes == ["0", *["conflict"] * 5]
    assert len(stores.events.list(campaign.id)) == 1


def test_a_move_changes_state_columns_and_audit(stores, campaign, cycle) -> None:
    """State, deadline, time and event change together; the event says from where to where, and why."""
    deadline = datetime(2026, 3, 9, 8, tzinfo=timezone(timedelta(hours=2)))
    moved = stores.move(cycle, *TO_COLLECTING[:2])
    moved = stores.cycles.move(moved, CycleState.COLLECTING, actor="ann", detail={"live": 3}, deadline=deadline)
    assert (moved.state, moved.deadline) == (CycleState.COLLECTING, deadline)
    assert moved.deadline.tzinfo is UTC
    assert moved.created_at == cycle.created_at < moved.updated_at
    assert stores.cycles.get(cycle.id) == moved
    event = stores.events.list(campaign.id)[0]
    assert (event.actor, event.kind, event.cycle_id, event.at) == ("ann", "cycle.moved", cycle.id, moved.updated_at)
    assert event.detail == {"live": 3, "from": "publishing", "to": "collecting"}


def test_a_stopped_cycle_resumes_where_it_stopped(stores, cycle) -> None:
    """Failed, then cancelled, then resumed: the step is kept all the way, and no other step may follow."""
    cycle = stores.move(cycle, *TO_COLLECTING)
    failed = stores.cycles.move(
        cycle, CycleState.FAILED, actor="test", detail={"error": "x"}, left_from=CycleState.COLLECTING
    )
    assert (failed.left_from, failed.step) == (CycleState.COLLECTING, CycleState.COLLECTING)
    cancelled = stores.move(failed, CycleState.CANCELLED)
    assert cancelled.left_from is CycleState.COLLECTING
    with pytest.raises(IllegalTransition, match="resumes there, not in training"):
        stores.move(cancelled, CycleState.TRAINING)
    resumed = stores.cycles.move(cancelled, CycleState.COLLECTING, actor="test", detail={}, left_from=None)
    assert (resumed.state, resumed.left_from) == (CycleState.COLLECTING, None)


@pytest.mark.parametrize("claim", [None, CycleState.PUBLISHING])
def test_a_wrong_step_is_not_believed(stores, cycle, claim) -> None:
    """Who names the step a cycle left from must be right: it decides where the cycle resumes."""
    with pytest.raises(IllegalTransition, match="left from planned"):
        stores.cycles.move(cycle, CycleState.FAILED, actor="test", detail={}, left_from=claim)
    assert stores.cycles.get(cycle.id) == cycle


def test_a_cycle_that_someone_else_moved_is_a_conflict(stores, campaign, cycle) -> None:
    """Repeating a move from an old reading changes nothing and writes no event."""
    moved = stores.move(cycle, CycleState.ACQUIRING)
    before = stores.events.list(campaign.id)
    for to in (CycleState.ACQUIRING, CycleState.FAILED):
        with pytest.raises(Conflict, match="is acquiring by now, not planned"):
            stores.move(cycle, to)
    assert stores.cycles.get(cycle.id) == moved
    assert stores.events.list(campaign.id) == before


def test_simultaneous_moves_are_one_move(stores, campaign, cycle) -> None:
    """Of two processes that advance the same step one wins."""
    barrier = Barrier(4)

    def move(_: int) -> str:
        barrier.wait()
        try:
            return stores.move(cycle, CycleState.ACQUIRING).state
        except Conflict:
            return "conflict"

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(move, range(4))) == ["acquiring", *["conflict"] * 3]
    assert len(stores.events.list(campaign.id)) == 2


def test_only_named_columns_change(stores, cycle) -> None:
    """A move cannot rewrite which catalogue or champion a cycle was started with."""
    with pytest.raises(TypeError, match="catalogue_id"):
        stores.cycles.move(cycle, CycleState.ACQUIRING, actor="test", detail={}, catalogue_id=9)


@pytest.mark.parametrize("to", [CycleState.PROMOTED, CycleState.KEPT, CycleState.HELD])
def test_no_way_around_the_gate(stores, campaign, catalogue, to) -> None:
    """A plain move cannot promote, keep or hold; a cycle that stops at the gate resumes at the gate."""
    cycle = stores.at_gate(campaign, catalogue)
    with pytest.raises(IllegalTransition, match="by the gate's decision alone"):
        stores.move(cycle, to)
    assert stores.move(cycle, CycleState.FAILED, CycleState.GATED).state is CycleState.GATED


def test_absent_cycle_is_named(stores) -> None:
    """An unknown id is not found."""
    with pytest.raises(NotFound, match="77"):
        stores.cycles.get(77)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wishes=st.lists(st.sampled_from(CycleState), max_size=12))
def test_any_wishes_walk_the_table(engine: Engine, stores, campaign, catalogue, wishes) -> None:
    """Whatever is asked for, the history in the audit is a walk through the table and ends in the row."""
    cycle = stores.cycles.open(campaign.id) or stores.start(campaign, catalogue)
    for to in wishes:
        try:
            cycle = stores.move(cycle, to)
        except IllegalTransition:
            assert stores.cycles.get(cycle.id) == cycle
    steps = [e.detail for e in reversed(stores.events.list(campaign.id, limit=10_000)) if e.cycle_id == cycle.id]
    walked = [CycleState.PLANNED, *(CycleState(step["to"]) for step in steps if "to" in step)]
    assert all(CYCLES.can(before, after) for before, after in pairwise(walked))
    assert walked[-1] is cycle.state


def test_every_state_can_be_stored(engine: Engine, stores, cycle) -> None:
    """The check constraints accept each pair of state and step that the guard can produce, and no other."""
    stopped = {CycleState.FAILED, CycleState.CANCELLED}
    legal = {(s, None) for s in CycleState if s not in stopped} | set(product(stopped, WORKING))
    for state, left_from in product(CycleState, (None, *CycleState)):
        try:
            with transaction(engine) as connection:
                connection.execute(
                    text("UPDATE cycles SET state = :state, left_from = :left_from"),
                    {"state": str(state), "left_from": left_from and str(left_from)},
                )
            accepted = True
        except Conflict:
            accepted = False
        assert accepted is ((state, left_from) in legal), (state, left_from)
