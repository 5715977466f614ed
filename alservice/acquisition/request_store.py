"""Requests in Postgres: taken under a lock on their campaign, so that two people share one budget."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, Engine, select, update

from alservice.acquisition import schema
from alservice.acquisition.requests import (
    WITHDRAWN,
    Request,
    Sent,
    Wanted,
    Why,
    sent_event,
    share_budget,
    withdrawn_event,
)
from alservice.campaigns.store import append, lock_campaign
from alservice.progress import Clock
from alservice.storage.postgres import among, columns_of, insert_rows, transaction

_TABLE = schema.requests


class SqlRequestStore:
    """Requests in Postgres."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def send(self, campaign_id: int, wanted: Sequence[Wanted], why: Why, *, budget: int, refused: Counter[str]) -> Sent:
        """Take as many as the budget has votes for, first ones first, with an event; two at once share it."""
        now = self._clock()
        with transaction(self._engine) as connection:
            lock_campaign(connection, campaign_id)
            taken, sent = share_budget(wanted, _waiting(connection, campaign_id), budget=budget, refused=refused)
            shared = {"campaign_id": campaign_id, "created_at": now.isoformat()}
            told = {"selection": why.selection, "reason": why.reason, "actor": why.actor}
            rows = ({"galaxy_id": e.galaxy_id, "votes": e.votes, "cost": e.cost} for e in taken)
            insert_rows(connection, _TABLE, ({**row, **shared, **told} for row in rows))
            append(connection, sent_event(campaign_id, sent, why, now))
        return sent

    def waiting(self, campaign_id: int) -> Sequence[Request]:
        """Return what no cycle has settled yet, first come first."""
        with transaction(self._engine) as connection:
            return _waiting(connection, campaign_id)

    def of_galaxy(self, campaign_id: int, galaxy_id: str) -> Sequence[Request]:
        """Return all requests of one galaxy, oldest first."""
        with transaction(self._engine) as connection:
            return _read(connection, _TABLE.c.campaign_id == campaign_id, _TABLE.c.galaxy_id == galaxy_id)

    def of_cycle(self, cycle_id: int) -> Sequence[Request]:
        """Return what a cycle settled, first come first."""
        with transaction(self._engine) as connection:
            return _read(connection, _TABLE.c.cycle_id == cycle_id)

    def withdraw(self, campaign_id: int, selection: str, *, reason: str, actor: str) -> int:
        """Take back what waits of a selection, with an event; return how many."""
        own = _TABLE.c.campaign_id == campaign_id, _TABLE.c.selection == selection, _TABLE.c.outcome.is_(None)
        with transaction(self._engine) as connection:
            n = connection.execute(update(_TABLE).where(*own).values(outcome=WITHDRAWN)).rowcount
            if n:
                told = withdrawn_event(campaign_id, selection, n, reason=reason, actor=actor, at=self._clock())
                append(connection, told)
        return n


def settle(connection: Connection, cycle_id: int, outcomes: Mapping[int, str]) -> None:
    """Say in a transaction what a cycle made of requests that wait, by their ids."""
    for outcome in sorted(set(outcomes.values())):
        ids = [request_id for request_id, said in outcomes.items() if said == outcome]
        waits = among(_TABLE.c.id, ids), _TABLE.c.outcome.is_(None)
        connection.execute(update(_TABLE).where(*waits).values(cycle_id=cycle_id, outcome=outcome))


def _waiting(connection: Connection, campaign_id: int) -> list[Request]:
    return _read(connection, _TABLE.c.campaign_id == campaign_id, _TABLE.c.outcome.is_(None))


def _read(connection: Connection, *wanted: ColumnElement[bool]) -> list[Request]:
    found = select(*columns_of(_TABLE, Request)).where(*wanted).order_by(_TABLE.c.id)
    return [Request(**row) for row in connection.execute(found).mappings()]
