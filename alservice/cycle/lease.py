"""Leases of campaigns in Postgres, by its clock: the machines' own may differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from alservice.campaigns.events import append
from alservice.campaigns.records import Event
from alservice.cycle.leases import Holder, Lease, in_the_way
from alservice.errors import LeaseHeld, LeaseLost
from alservice.storage import schema
from alservice.storage.postgres import transaction

_TABLE = schema.leases


def database_time(connection: Connection) -> datetime:
    """Return the database's time (UTC)."""
    now: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return now


class SqlLeaseStore:
    """Leases, one row per campaign.

    Parameters
    ----------
    now
        The time within a transaction; the database's unless a test says otherwise.
    """

    def __init__(self, engine: Engine, now: Callable[[Connection], datetime] = database_time) -> None:
        self._engine = engine
        self._now = now

    def take(self, campaign_id: int, holder: Holder, *, seconds: float, is_gone: Callable[[Holder], bool]) -> Lease:
        """Take a campaign's lease, also from a holder that died; raises `LeaseHeld` while another has it.

        Taking it from a dead one leaves an event: a run ended without a word. What that one, or a run it sent a step
        to, has not committed by now is refused.
        """
        with transaction(self._engine) as connection:
            # The campaign's row is the queue: two that come together wait here for each other.
            of_campaign = schema.campaigns.c.id == campaign_id
            connection.execute(select(schema.campaigns.c.id).where(of_campaign).with_for_update(key_share=True))
            # Who writes under the lease locks its row until the commit: waited for here, so that none comes later.
            before = _read(connection, campaign_id, lock=True)
            now = self._now(connection)
            live = in_the_way(before, now, is_gone=is_gone)
            if live is not None:
                raise LeaseHeld(
                    f"{live.holder.actor} works on this campaign since {live.acquired_at:%Y-%m-%d %H:%M:%S} UTC",
                    holder=live.holder.actor,
                    expires_at=live.expires_at.isoformat(),
                )
            lease = _lease(campaign_id, holder, now, seconds)
            values = _values(lease)
            connection.execute(
                insert(_TABLE).values(values).on_conflict_do_update(index_elements=["campaign_id"], set_=values)
            )
            connection.execute(delete(schema.sent_steps).where(schema.sent_steps.c.campaign_id == campaign_id))
            if before is not None:
                append(connection, _takeover(before, holder, now))
        return lease

    def renew(self, lease: Lease, *, seconds: float) -> Lease:
        """Extend it from now on; raises `LeaseLost` when another holder has it by now."""
        with transaction(self._engine) as connection:
            now = self._now(connection)
            change = update(_TABLE).where(*_own(lease))
            change = change.values(heartbeat_at=now, expires_at=now + timedelta(seconds=seconds))
            renewed = connection.execute(change.returning(_TABLE)).mappings().one_or_none()
        if renewed is None:
            raise LeaseLost(f"the lease of {lease.holder.actor} is another's by now", campaign=lease.campaign_id)
        return _record(renewed)

    def release(self, lease: Lease) -> None:
        """Give it back, and with it what was sent elsewhere under it; one that is another's by now is left alone."""
        sent = schema.sent_steps
        with transaction(self._engine) as connection:
            if connection.execute(delete(_TABLE).where(*_own(lease))).rowcount:
                connection.execute(delete(sent).where(sent.c.campaign_id == lease.campaign_id))

    def get(self, campaign_id: int) -> Lease | None:
        """Return the lease of a campaign, run out or not."""
        with transaction(self._engine) as connection:
            return _read(connection, campaign_id)

    def list(self) -> Sequence[Lease]:
        """Return all leases by campaign."""
        with transaction(self._engine) as connection:
            return [_record(row) for row in connection.execute(select(_TABLE).order_by("campaign_id")).mappings()]


def _own(lease: Lease) -> tuple[Any, Any]:
    return _TABLE.c.campaign_id == lease.campaign_id, _TABLE.c.token == lease.holder.token


def _read(connection: Connection, campaign_id: int, *, lock: bool = False) -> Lease | None:
    wanted = select(_TABLE).where(_TABLE.c.campaign_id == campaign_id)
    row = connection.execute(wanted.with_for_update() if lock else wanted).mappings().one_or_none()
    return None if row is None else _record(row)


def _lease(campaign_id: int, holder: Holder, now: datetime, seconds: float) -> Lease:
    return Lease(
        campaign_id=campaign_id,
        holder=holder,
        acquired_at=now,
        heartbeat_at=now,
        expires_at=now + timedelta(seconds=seconds),
    )


def _values(lease: Lease) -> dict[str, Any]:
    return {
        "campaign_id": lease.campaign_id,
        "token": lease.holder.token,
        "actor": lease.holder.actor,
        "place": lease.holder.place,
        "pid": lease.holder.pid,
        "started_s": lease.holder.started_s,
        "acquired_at": lease.acquired_at,
        "heartbeat_at": lease.heartbeat_at,
        "expires_at": lease.expires_at,
    }


def _record(row: Mapping[Any, Any]) -> Lease:
    names = ("token", "actor", "place", "pid", "started_s")
    times = {name: row[name] for name in ("acquired_at", "heartbeat_at", "expires_at")}
    return Lease(campaign_id=row["campaign_id"], holder=Holder(**{name: row[name] for name in names}), **times)


def _takeover(before: Lease, holder: Holder, now: datetime) -> Event:
    detail = {"from": before.holder.actor, "last_heard_of": before.heartbeat_at.isoformat()}
    return Event(
        campaign_id=before.campaign_id,
        cycle_id=None,
        at=now,
        actor=holder.actor,
        kind="lease.taken_over",
        detail=detail,
    )
