"""A cancelled run stops its own cycle, and no other run's."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelling
from sqlalchemy import Engine

from alservice.app import App
from alservice.campaigns.cycle import Cycle, CycleState
from alservice.cycle.lease import Holder, SqlLeaseStore
from alservice.cycle.sent_step_store import SqlSentStepStore
from alservice.errors import LeaseLost
from flows import cancelling
from flows.cycle import advance
from tests.support.worlds import import_rows, make_campaign, make_factory, make_row

RUN = UUID("0190aaaa-0000-7000-8000-000000000001")

OWL = "prefect:advance 0190aaaa"
"""Who the run called owl acts as: its name may change while it works."""


@pytest.fixture
def factory(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    """A factory that the hook opens; nobody is told anything."""
    made = make_factory(engine, tmp_path)

    @contextmanager
    def opened() -> Iterator[App]:
        yield made

    monkeypatch.setattr(cancelling, "open_app", opened)
    monkeypatch.setattr(cancelling, "tell", lambda _: None)
    return made


@pytest.fixture
def cycle(factory: App) -> Cycle:
    """An open cycle of a campaign."""
    row = import_rows(factory, make_campaign(), [make_row(i) for i in range(3)])
    return factory.cycle.start(row.settings.name, actor="test")


def cancel(*, started: bool = True) -> None:
    """Cancel the run that is called owl."""
    run = FlowRun(
        id=RUN,
        flow_id=uuid4(),
        name="owl",
        parameters={"campaign": "test"},
        start_time=datetime(2026, 1, 1, tzinfo=UTC) if started else None,
    )
    cancelling.cancel_cycle(advance, run, Cancelling(message="wrong parameters"))


def lease(factory: App, cycle: Cycle, actor: str) -> None:
    """Give the campaign's lease to a run of another machine."""
    holder = Holder(token=actor, actor=actor, place="elsewhere", pid=1, started_s=0.0)
    SqlLeaseStore(factory.engine).take(cycle.campaign_id, holder, seconds=3600, is_gone=lambda _: False)


@pytest.mark.parametrize("actor", [None, OWL])
def test_the_cycle_of_a_cancelled_run_stops_with_the_reason(factory: App, cycle: Cycle, actor: str | None) -> None:
    """Whether its lease was given back already or not; the cycle keeps its step, the audit says who and why."""
    if actor is not None:
        lease(factory, cycle, actor)
    cancel()
    stopped = factory.cycles.get(cycle.id)
    assert (stopped.state, stopped.left_from) == (CycleState.CANCELLED, CycleState.PLANNED)
    event = factory.events.list(cycle.campaign_id)[0]
    assert event.actor == OWL
    assert "advance run owl was cancelled: wrong parameters" in event.detail["reason"]
    cancel()
    assert factory.cycles.get(cycle.id) == stopped, "a second call changes nothing"


def test_what_a_cancelled_run_had_sent_elsewhere_can_write_no_more(factory: App, cycle: Cycle) -> None:
    """The kind: a late child. Its parent's process is gone, and nobody else has taken the lease over yet."""
    sent = SqlSentStepStore(factory.engine)
    sent.send(cycle, "lent", 1)
    cancel()
    with pytest.raises(LeaseLost):
        sent.report(cycle.campaign_id, "lent", worker="owl", place="there")


def test_a_run_that_waited_or_was_not_at_work_stops_nothing(factory: App, cycle: Cycle) -> None:
    """It never began, or another run has the lease."""
    cancel(started=False)
    assert factory.cycles.get(cycle.id) == cycle
    lease(factory, cycle, "prefect:crow")
    cancel()
    assert factory.cycles.get(cycle.id) == cycle
