"""The audit grows and never changes."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import StatementError

from alservice.campaigns.store import Event
from alservice.errors import Conflict
from alservice.storage.postgres import transaction

EVENT = Event(
    campaign_id=1,
    cycle_id=None,
    at=datetime(2026, 3, 1, 10, 0, 0, 5, tzinfo=UTC),
    actor="ann",
    kind="campaign.note",
    detail={"why": ["é", 0.1 + 0.2, None]},
)


def test_newest_events_come_first(stores, campaign) -> None:
    """What is recorded comes back whole, up to a limit."""
    stores.events.record(EVENT)
    for _ in range(3):
        stores.events.record(Event(campaign_id=1, cycle_id=None, at=EVENT.at, actor="bob", kind="k", detail={}))
    assert [event.actor for event in stores.events.list(campaign.id)] == ["bob", "bob", "bob", "ann"]
    assert stores.events.list(campaign.id)[-1] == EVENT
    assert len(stores.events.list(campaign.id, limit=2)) == 2
    assert stores.events.list(campaign.id + 1) == []


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE events SET actor = 'eve'",
        "DELETE FROM events",
        "TRUNCATE events",
        "DELETE FROM events WHERE actor = 'nobody'",
    ],
)
def test_the_audit_cannot_be_changed(engine: Engine, stores, campaign, change: str) -> None:
    """Not even SQL by hand changes or removes an event."""
    stores.events.record(EVENT)
    with pytest.raises(Conflict, match="append-only"), transaction(engine) as connection:
        connection.execute(text(change))
    assert stores.events.list(campaign.id) == [EVENT]


def test_a_time_without_zone_is_refused(stores, campaign) -> None:
    """Nobody guesses a zone."""
    with pytest.raises(StatementError, match="has no zone"):
        stores.events.record(replace(EVENT, at=EVENT.at.replace(tzinfo=None)))
