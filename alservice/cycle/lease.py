"""Leases of campaigns in Postgres, by its clock: the machines' own may differ."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import psutil
from sqlalchemy import Connection, Engine, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from alservice.campaigns import schema as campaigns_schema
from alservice.campaigns.store import Event, append
from alservice.cycle.sent_steps import SentStepStore
from alservice.errors import LeaseHeld, LeaseLost, Retriable
from alservice.storage.postgres import Fence, transaction

_SAME_START_S = 2.0
"""Start times nearer than this are one process's: the kernel counts in ticks, and its clock is set now and then."""


def this_process(actor: str) -> Holder:
    """Return this process as the holder of a new lease."""
    pid = os.getpid()
    return Holder(
        token=secrets.token_hex(16),
        actor=actor,
        place=place_of_processes(),
        pid=pid,
        started_s=psutil.Process(pid).create_time(),
    )


def is_gone(holder: Holder) -> bool:
    """Return whether a holder's process has certainly ended; False for one of another machine or container."""
    if holder.place != place_of_processes():
        return False
    try:
        process = psutil.Process(holder.pid)
        is_same = abs(process.create_time() - holder.started_s) < _SAME_START_S
        return not is_same or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def place_of_processes() -> str:
    """Return what a process id is unique in: host, boot, and the kernel's process table (a container's is its own)."""
    parts = [socket.gethostname()]
    boot, table = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    if boot.exists() and table.is_symlink():
        parts += [boot.read_text(encoding="ascii").strip(), str(table.readlink())]
    return "/".join(parts)


_TABLE = campaigns_schema.leases


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
            of_campaign = campaigns_schema.campaigns.c.id == campaign_id
            connection.execute(
                select(campaigns_schema.campaigns.c.id).where(of_campaign).with_for_update(key_share=True)
            )
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
            connection.execute(
                delete(campaigns_schema.sent_steps).where(campaigns_schema.sent_steps.c.campaign_id == campaign_id)
            )
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
        sent = campaigns_schema.sent_steps
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


LEASE_S = 120.0
"""Seconds a lease lasts unless renewed: longer than a failover of the database, shorter than an ingest tick."""

HEARTBEAT_S = 30.0
"""Seconds between renewals: three may fail before the lease ends."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Holder:
    """One process that asks for a lease.

    Parameters
    ----------
    token
        Unique to one taking: what renewals and releases show.
    actor
        Who acts, for people.
    place
        Machine and process table that `pid` counts in.
    pid, started_s
        Process id, and when that process began (seconds since 1970): an id alone is used again.
    """

    token: str
    actor: str
    place: str
    pid: int
    started_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """One campaign's lease; times are the database's (UTC)."""

    campaign_id: int
    holder: Holder
    acquired_at: datetime
    heartbeat_at: datetime
    expires_at: datetime

    def is_expired(self, now: datetime) -> bool:
        """Return whether nobody renewed it in time."""
        return self.expires_at <= now


def in_the_way(lease: Lease | None, now: datetime, *, is_gone: Callable[[Holder], bool]) -> Lease | None:
    """Return the lease that keeps others out; None if it is free: given back, run out, or of a process that is gone.

    Parameters
    ----------
    is_gone
        Whether a holder has certainly ended; False where this machine cannot tell. It lets a command that was killed
        be repeated at once, without waiting for its lease to run out.
    """
    return None if lease is None or lease.is_expired(now) or is_gone(lease.holder) else lease


class LeaseStore(Protocol):
    """Leases of campaigns; every call is one transaction, and the database's clock decides."""

    def take(self, campaign_id: int, holder: Holder, *, seconds: float, is_gone: Callable[[Holder], bool]) -> Lease:
        """Take a campaign's lease, also from a holder that died; raises `LeaseHeld` while another has it."""

    def renew(self, lease: Lease, *, seconds: float) -> Lease:
        """Extend it from now on; raises `LeaseLost` when another holder has it by now."""

    def release(self, lease: Lease) -> None:
        """Give it back; one that is another's by now is left alone."""

    def get(self, campaign_id: int) -> Lease | None:
        """Return the lease of a campaign, run out or not."""

    def list(self) -> Sequence[Lease]:
        """Return all leases by campaign."""


POLL_S = 5.0
"""Seconds between two questions for a lease that another has."""

LAST_BEAT_S = 30.0
"""Seconds to wait at the end for a beat that is under way; one that hangs in a dead network is left behind."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class HeldLease:
    """A campaign's lease while a process works under it, its own or lent with a sent step.

    Parameters
    ----------
    actor
        Who works under it.
    fence
        What is checked in each transaction that writes.
    """

    actor: str
    fence: Fence
    _lost: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raise `LeaseLost` once another process has taken over; called before each step and within long ones."""
        if self._lost.is_set():
            raise LeaseLost(f"{self.actor} was silent too long, and another process took over")

    def lose(self) -> None:
        """Remember that it is another's."""
        self._lost.set()


@dataclass(frozen=True, kw_only=True)
class HoldLease:
    """Hold a campaign's lease for as long as a block runs.

    A process that was taken for dead and wakes up stops at its next check. What it writes before that is refused
    in the transaction that writes it, if it writes through an engine with the lease's fence.
    """

    leases: LeaseStore
    is_gone: Callable[[Holder], bool]
    sleep: Callable[[float], None]
    seconds: float = LEASE_S
    heartbeat_s: float = HEARTBEAT_S

    @contextmanager
    def run(self, campaign_id: int, holder: Holder, *, patience: int = 0) -> Iterator[HeldLease]:
        """Yield the lease.

        Parameters
        ----------
        patience
            How many more times to ask, `POLL_S` seconds apart, before `LeaseHeld` is raised.
        """
        lease = self._take(campaign_id, holder, patience)
        held = HeldLease(actor=holder.actor, fence=Fence(kind="lease", campaign_id=campaign_id, token=holder.token))
        try:
            with _beating(lambda: self.leases.renew(lease, seconds=self.seconds), held, every_s=self.heartbeat_s):
                yield held
        finally:
            self._release(lease)

    def _take(self, campaign_id: int, holder: Holder, patience: int) -> Lease:
        for _ in range(patience):
            with suppress(LeaseHeld):
                return self.leases.take(campaign_id, holder, seconds=self.seconds, is_gone=self.is_gone)
            self.sleep(POLL_S)
        return self.leases.take(campaign_id, holder, seconds=self.seconds, is_gone=self.is_gone)

    def _release(self, lease: Lease) -> None:
        """Give it back; where the database is away, the lease runs out by itself."""
        try:
            self.leases.release(lease)
        except Retriable as error:
            _log.warning("the lease is not given back and ends at %s: %s", lease.expires_at, error)


@dataclass(frozen=True, kw_only=True)
class TakeStep:
    """Work on a step that another process sent here, and let it know that this one lives."""

    sent: SentStepStore
    heartbeat_s: float

    @contextmanager
    def run(self, campaign_id: int, token: str, *, worker: str, place: str) -> Iterator[HeldLease]:
        """Yield the lease under which the step was sent; raises `LeaseLost` if it was taken back meanwhile."""
        held = HeldLease(actor=worker, fence=Fence(kind="sent step", campaign_id=campaign_id, token=token))

        def beat() -> None:
            self.sent.report(campaign_id, token, worker=worker, place=place)

        beat()
        with _beating(beat, held, every_s=self.heartbeat_s):
            yield held


@contextmanager
def _beating(beat: Callable[[], object], held: HeldLease, *, every_s: float) -> Iterator[None]:
    """Beat beside a block from a thread that ends with the process; once it is refused, the lease is lost."""
    ended = threading.Event()

    def go() -> None:
        while not ended.wait(every_s):
            try:
                beat()
            except LeaseLost as error:
                _log.error("%s", error)
                held.lose()
                return
            except Retriable as error:
                _log.warning("no sign of life could be given: %s", error)

    heart = threading.Thread(target=go, name="lease", daemon=True)
    heart.start()
    try:
        yield
    finally:
        ended.set()
        heart.join(LAST_BEAT_S)
