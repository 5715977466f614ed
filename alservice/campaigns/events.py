"""The append-only audit: a trigger refuses to change or delete what is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, insert, select

from alservice.campaigns.cycle import Cycle
from alservice.campaigns.records import Event
from alservice.storage import schema
from alservice.storage.postgres import transaction
from alservice.storage.rows import columns_of


def write_event(
    connection: Connection, cycle: Cycle, *, at: datetime, actor: str, kind: str, detail: Mapping[str, Any]
) -> None:
    """Append an event of a cycle in the transaction of what it tells."""
    event = Event(campaign_id=cycle.campaign_id, cycle_id=cycle.id, at=at, actor=actor, kind=kind, detail=detail)
    append(connection, event)


def append(connection: Connection, event: Event) -> None:
    """Append an event in a transaction."""
    connection.execute(insert(schema.events).values(**asdict(event)))


class SqlEventLog:
    """The audit in Postgres."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record(self, event: Event) -> None:
        """Append one event."""
        with transaction(self._engine) as connection:
            append(connection, event)

    def list(self, campaign_id: int, *, limit: int = 200) -> Sequence[Event]:
        """Return the newest events, newest first."""
        table = schema.events
        wanted = select(*columns_of(table, Event)).where(table.c.campaign_id == campaign_id)
        with transaction(self._engine) as connection:
            rows = connection.execute(wanted.order_by(table.c.id.desc()).limit(limit)).mappings()
            return [Event(**row) for row in rows]
