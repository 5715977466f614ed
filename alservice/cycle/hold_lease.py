"""Work on a campaign alone: take its lease, keep it alive beside the work, give it back; and work under a lent one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from alservice.cycle.leases import HEARTBEAT_S, LEASE_S, Fence, Holder, Lease
from alservice.cycle.leases_ports import LeaseStore
from alservice.cycle.sent_steps_ports import SentStepStore
from alservice.errors import LeaseHeld, LeaseLost, Retriable

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
