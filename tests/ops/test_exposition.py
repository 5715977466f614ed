"""Metrics of the database as Prometheus reads them."""

from datetime import datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine, text

from alservice.campaigns.cycle import CycleState
from alservice.campaigns.store import CampaignRow, SqlOperations
from alservice.catalogue.galaxies import Catalogue
from alservice.cycle.lease import Holder, SqlLeaseStore
from alservice.cycle.sent_step_store import SqlSentStepStore
from alservice.meters import CallCount, CallKey
from alservice.ops.metrics import FAMILIES, SqlMeasures, expose
from alservice.storage.postgres import transaction
from tests.support.stores import Stores, campaign, catalogue, stores

__all__ = ["campaign", "catalogue", "stores"]

Samples = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture
def measures(engine: Engine) -> SqlMeasures:
    """The figures of this test's database."""
    return SqlMeasures(engine)


def scraped(measures: SqlMeasures, at: datetime | None = None) -> Samples:
    """Return metric and label values to value, as a scraper reads them, at a moment."""
    families = text_string_to_metric_families(expose(measures.read(at)).decode())
    return {(s.name, tuple(s.labels[n] for n in FAMILIES[s.name].labels)): s.value for f in families for s in f.samples}


def test_an_empty_database_has_every_family_and_no_sample(measures: SqlMeasures) -> None:
    """A new deployment is scraped without errors."""
    families = list(text_string_to_metric_families(expose(measures.read()).decode()))
    names = {f.name + ("_total" if f.type == "counter" else "") for f in families}
    assert names == set(FAMILIES)
    assert not any(f.samples for f in families)


def test_steps_are_counted_by_what_they_led_to(
    measures: SqlMeasures, stores: Stores, campaign: CampaignRow, catalogue: Catalogue
) -> None:
    """Times are the events' own; a failure has its code, and the time it lay idle is not the step's."""
    cycle = stores.start(campaign, catalogue)
    stores.clock.now += timedelta(seconds=100)
    cycle = stores.move(cycle, CycleState.ACQUIRING)
    cycle = stores.cycles.move(
        cycle, CycleState.FAILED, actor="t", detail={"code": "storage-full"}, left_from=CycleState.ACQUIRING
    )
    found = scraped(measures)
    assert found["alservice_open_cycle_stopped", ("survey", "failed", "acquiring")] == 1
    stores.clock.now += timedelta(hours=1)
    cycle = stores.move(cycle, CycleState.ACQUIRING, CycleState.PUBLISHING)
    found = scraped(measures)
    assert found["alservice_steps_total", ("survey", "planned", "acquiring")] == 1
    assert found["alservice_step_seconds_total", ("survey", "planned", "acquiring")] > 100
    assert found["alservice_steps_total", ("survey", "acquiring", "failed")] == 1
    assert found["alservice_step_failures_total", ("survey", "acquiring", "storage-full")] == 1
    assert found["alservice_step_seconds_total", ("survey", "acquiring", "publishing")] < 60
    assert not any(name == "alservice_open_cycle_stopped" for name, _ in found)
    assert not any(name == "alservice_steps_total" and labels[1] == "failed" for name, labels in found)


def test_what_waits_is_told_in_seconds(
    engine: Engine, measures: SqlMeasures, stores: Stores, campaign: CampaignRow, catalogue: Catalogue
) -> None:
    """Open, overdue and held cycles, and a lease that nobody gave back, by the database's clock."""
    cycle = stores.at_gate(campaign, catalogue)
    with transaction(engine) as connection:
        connection.execute(
            text(
                "UPDATE cycles SET state = 'held', created_at = now() - interval '9 days', updated_at = now() - interval '2 h'"
            )
        )
    holder = Holder(token="t", actor="owl", place="elsewhere", pid=1, started_s=0.0)
    SqlLeaseStore(engine).take(campaign.id, holder, seconds=3600, is_gone=lambda _: False)
    found = scraped(measures)
    assert found["alservice_open_cycle_age_seconds", ("survey",)] == pytest.approx(9 * 86400, abs=60)
    assert found["alservice_gate_held_seconds", ("survey",)] == pytest.approx(7200, abs=60)
    assert found["alservice_lease_expired_seconds", ("survey",)] == 0
    assert found["alservice_lease_takeovers_total", ("survey",)] == 0
    with transaction(engine) as connection:
        connection.execute(text("UPDATE cycles SET state = 'collecting', deadline = now() - interval '3 hours'"))
        connection.execute(
            text(
                "UPDATE leases SET acquired_at = now() - interval '1 h', heartbeat_at = now() - interval '1 h', "
                "expires_at = now() - interval '10 minutes'"
            )
        )
    found = scraped(measures)
    assert found["alservice_collecting_overdue_seconds", ("survey",)] == pytest.approx(3 * 3600, abs=60)
    assert found["alservice_lease_expired_seconds", ("survey",)] == pytest.approx(600, abs=60)
    with transaction(engine) as connection:
        connection.execute(text("UPDATE cycles SET state = 'done', updated_at = to_timestamp(1000)"))
    found = scraped(measures)
    assert found["alservice_last_cycle_done_timestamp_seconds", ("survey",)] == 1000
    assert not any(name == "alservice_open_cycle_age_seconds" for name, _ in found)
    assert cycle.number == 0


def test_a_step_in_another_pool_is_seen_waiting_and_silent(
    engine: Engine, measures: SqlMeasures, stores: Stores, campaign: CampaignRow, catalogue: Catalogue
) -> None:
    """The alarms of a run that never came, or died with whoever sent it; a cycle that moved on is none of them."""
    cycle = stores.start(campaign, catalogue)
    sent = SqlSentStepStore(engine)
    first = sent.send(cycle, "first", 1)
    labels = ("survey", "planned")
    with transaction(engine) as connection:
        connection.execute(text("UPDATE sent_steps SET sent_at = now() - interval '1 h'"))
    found = scraped(measures)
    assert found["alservice_sent_step_waiting_seconds", labels] == pytest.approx(3600, abs=60)
    assert ("alservice_sent_step_silent_seconds", labels) not in found
    sent.report(campaign.id, "first", worker="owl", place="there")
    with transaction(engine) as connection:
        connection.execute(text("UPDATE sent_steps SET heard_at = now() - interval '10 minutes'"))
    found = scraped(measures)
    assert found["alservice_sent_step_silent_seconds", labels] == pytest.approx(600, abs=60)
    assert ("alservice_sent_step_waiting_seconds", labels) not in found
    assert found["alservice_steps_taken_back_total", ("survey",)] == 0
    sent.take_back(first, cycle, actor="crow", reason="silent")
    assert scraped(measures)["alservice_steps_taken_back_total", ("survey",)] == 1
    sent.send(cycle, "second", 2)
    stores.move(cycle, CycleState.ACQUIRING)
    assert not any(name.startswith("alservice_sent_step_") for name, _ in scraped(measures))


def test_calls_of_many_processes_add_up(measures: SqlMeasures) -> None:
    """Totals only grow, label values keep their characters."""
    key = CallKey(adapter="zooniverse", call='GET "subjects"', outcome="ok")
    for seconds in (0.5, 1.5):
        measures.add_calls({key: CallCount(calls=2, seconds=seconds)})
    found = scraped(measures)
    assert found["alservice_adapter_calls_total", ("zooniverse", 'GET "subjects"', "ok")] == 4
    assert found["alservice_adapter_seconds_total", ("zooniverse", 'GET "subjects"', "ok")] == 2.0


def test_a_pause_and_a_stopped_step_are_read_with_why(
    engine: Engine, measures: SqlMeasures, stores: Stores, campaign: CampaignRow, catalogue: Catalogue
) -> None:
    """The newest failure's code, its count in a day, and a pause; a bound that has passed is told in seconds."""
    cycle = stores.start(campaign, catalogue)
    for code in ("storage-full", "no-worker"):
        stopped = stores.cycles.move(
            cycle, CycleState.FAILED, actor="t", detail={"code": code, "message": "why"}, left_from=CycleState.PLANNED
        )
        cycle = stores.cycles.move(stopped, CycleState.PLANNED, actor="t", detail={"resumed": True}, left_from=None)
    stores.cycles.move(cycle, CycleState.FAILED, actor="t", detail={"code": "no-worker"}, left_from=CycleState.PLANNED)
    at = stores.clock()
    found = measures.read(at)
    assert [(c.code, c.stands, c.hold_hours) for c in found.cycles] == [
        ("no-worker", "failed", campaign.settings.hold_hours)
    ]
    assert [(row.step, row.code, row.n) for row in found.recent] == [
        ("planned", "no-worker", 2),
        ("planned", "storage-full", 1),
    ]
    assert measures.read(at + timedelta(days=2)).recent == []
    acts = SqlOperations(engine, stores.clock)
    acts.pause(campaign.id, actor="anna", reason="upgrade")
    assert [c.stands for c in measures.read(at).cycles] == ["paused"]
    stores.clock.now += timedelta(hours=1)
    acts.unpause(campaign.id, actor="anna", reason="done")
    (open_,) = measures.read(at).cycles
    assert open_.paused_at is None
    assert open_.resumed_at is not None
    assert open_.resumed_at > at + timedelta(hours=1)
    late = scraped(measures, stores.clock() + timedelta(days=1, hours=3))
    assert late["alservice_state_stuck_seconds", ("survey", "failed")] > 0
