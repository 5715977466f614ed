"""What a run writes, it writes under its lease: its own, or the one that was lent with a step.

The kind: a run that lost its lease, does not know it yet, and writes all the same.
"""

from pathlib import Path

import pytest
from sqlalchemy import Engine

from alservice.app import App
from alservice.campaigns.cycle import Cycle, CycleState
from alservice.cycle.lease import SqlLeaseStore
from alservice.cycle.sent_step_store import SqlSentStepStore
from alservice.errors import LeaseLost
from flows.cycle import run_steps
from flows.leases import check_lease, held_lease, open_leased, working_on
from flows.tasks import CycleSummary, fail
from tests.cycle.test_lease_store import holder
from tests.support.worlds import import_rows, make_campaign, make_factory, make_row


@pytest.fixture
def factory(engine: Engine, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    """The factory that tasks open as well."""
    monkeypatch.setenv("ALSERVICE_DATABASE_URL", database_url)
    monkeypatch.setenv("ALSERVICE_WORKDIR", str(tmp_path))
    return make_factory(engine, tmp_path)


@pytest.fixture
def cycle(factory: App) -> Cycle:
    """An open cycle of a campaign."""
    row = import_rows(factory, make_campaign(), [make_row(i) for i in range(3)])
    return factory.cycle.start(row.settings.name, actor="test")


def mark_failed(cycle: Cycle) -> None:
    """Do what a run does in a task: open the factory, and write."""
    fail(CycleSummary.of("test", cycle), ValueError("broken"))


def test_a_task_of_a_run_that_lost_its_lease_writes_nothing(factory: App, cycle: Cycle) -> None:
    """Another has taken the campaign over; not even a failure is recorded, for it would be the other's."""
    with working_on(factory, "test", actor="owl"):
        SqlLeaseStore(factory.engine).take(cycle.campaign_id, holder("crow"), seconds=60, is_gone=lambda _: True)
        with pytest.raises(LeaseLost):
            mark_failed(cycle)
    assert factory.cycles.get(cycle.id) == cycle


def test_a_task_of_a_run_that_was_sent_a_step_writes_until_it_is_taken_back(factory: App, cycle: Cycle) -> None:
    """It reports before it does anything, so that its sender knows it lives."""
    sent = SqlSentStepStore(factory.engine)
    first = sent.send(cycle, "lent", 1)
    with working_on(factory, "test", actor="owl", token="lent"):
        there = sent.get(cycle.campaign_id)
        assert there is not None
        assert (there.worker, there.heard_at is not None) == ("owl", True)
        with open_leased() as mine:
            mine.cycles.move(cycle, CycleState.ACQUIRING, actor="owl", detail={})
        sent.take_back(first, cycle, actor="crow", reason="silent")
        with pytest.raises(LeaseLost):
            mark_failed(cycle)
    assert factory.cycles.get(cycle.id).state is CycleState.ACQUIRING
    with pytest.raises(LeaseLost, match="took it back"), working_on(factory, "test", actor="owl", token="lent"):
        pass


def test_long_work_stops_where_it_says_how_far_it_is(factory: App, cycle: Cycle) -> None:
    """A GPU is not kept by a run that may not write what comes of it; the next step is not begun either."""
    with working_on(factory, "test", actor="owl"), open_leased() as mine:
        mine.progress.start("train", 3)
        mine.progress.advance()
        held_lease().lose()
        with pytest.raises(LeaseLost, match="owl was silent too long"):
            mine.progress.advance()
        with pytest.raises(LeaseLost):
            run_steps(CycleSummary.of("test", cycle), (cycle.state,))
    assert factory.cycles.get(cycle.id) == cycle


def test_without_a_lease_nothing_is_lent() -> None:
    """A step that is sent without one could not be taken back."""
    check_lease()
    with pytest.raises(LeaseLost, match="can lend none"):
        held_lease()
