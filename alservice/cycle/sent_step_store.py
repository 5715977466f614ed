"""Steps sent to another work pool, in Postgres and by its clock: one row per campaign, which the run there renews."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Connection, Engine, delete, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from alservice.campaigns import schema as campaigns_schema
from alservice.campaigns.cycle import Cycle
from alservice.campaigns.store import write_event
from alservice.cycle.lease import database_time
from alservice.cycle.sent_steps import SentStep
from alservice.errors import LeaseLost
from alservice.storage.postgres import columns_of, transaction

_TABLE = campaigns_schema.sent_steps
_COLUMNS = columns_of(_TABLE, SentStep)


class SqlSentStepStore:
    """Sent steps; writes of a sender are refused once its lease is another's, if the engine is fenced.

    Parameters
    ----------
    now
        The time within a transaction; the database's unless a test says otherwise.
    """

    def __init__(self, engine: Engine, now: Callable[[Connection], datetime] = database_time) -> None:
        self._engine = engine
        self._now = now

    def send(self, cycle: Cycle, token: str, attempt: int) -> SentStep:
        """Record that the cycle's step is sent; whatever was sent before can write no more."""
        with transaction(self._engine) as connection:
            values = {
                "campaign_id": cycle.campaign_id,
                "cycle_id": cycle.id,
                "step": cycle.state,
                "token": token,
                "attempt": attempt,
                "sent_at": self._now(connection),
            }
            connection.execute(delete(_TABLE).where(_TABLE.c.campaign_id == cycle.campaign_id))
            row = connection.execute(upsert(_TABLE).values(values).returning(*_COLUMNS)).mappings().one()
        return SentStep(**row)

    def report(self, campaign_id: int, token: str, *, worker: str, place: str) -> SentStep:
        """Record a sign of life of the run that has the step; raises `LeaseLost` when it was taken back."""
        with transaction(self._engine) as connection:
            change = update(_TABLE).where(_TABLE.c.campaign_id == campaign_id, _TABLE.c.token == token)
            change = change.values(worker=worker, place=place, heard_at=self._now(connection))
            row = connection.execute(change.returning(*_COLUMNS)).mappings().one_or_none()
        if row is None:
            raise LeaseLost("the run that sent this step took it back, or has ended", campaign=campaign_id)
        return SentStep(**row)

    def get(self, campaign_id: int) -> SentStep | None:
        """Return what is sent at the moment."""
        with transaction(self._engine) as connection:
            wanted = select(*_COLUMNS).where(_TABLE.c.campaign_id == campaign_id)
            row = connection.execute(wanted).mappings().one_or_none()
        return None if row is None else SentStep(**row)

    def withdraw(self, campaign_id: int) -> None:
        """Take back whatever is sent, because a person stopped the cycle; the run that has it can write no more."""
        with transaction(self._engine) as connection:
            connection.execute(delete(_TABLE).where(_TABLE.c.campaign_id == campaign_id))

    def take_back(self, sent: SentStep, cycle: Cycle, *, actor: str, reason: str) -> None:
        """Take a step back, with its event; the run that has it can write no more. Done already, nothing changes."""
        with transaction(self._engine) as connection:
            own = _TABLE.c.campaign_id == sent.campaign_id, _TABLE.c.token == sent.token
            row = connection.execute(delete(_TABLE).where(*own).returning(*_COLUMNS)).mappings().one_or_none()
            if row is None:
                return
            last = SentStep(**row)
            detail = {
                "step": last.step,
                "attempt": last.attempt,
                "reason": reason,
                "worker": last.worker,
                "place": last.place,
                "last_heard_of": None if last.heard_at is None else last.heard_at.isoformat(),
            }
            write_event(connection, cycle, at=self._now(connection), actor=actor, kind="step.taken_back", detail=detail)
