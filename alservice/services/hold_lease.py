"""Work on a campaign alone: take its lease, keep it alive beside the work, give it back."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from alservice.core.leases import HEARTBEAT_S, LEASE_S, Holder, Lease
from alservice.errors import LeaseHeld, LeaseLost, Retriable
from alservice.ports import LeaseStore

POLL_S = 5.0
"""Seconds between two questions for a lease that another has."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class HeldLease:
    """A lease while it is held."""

    lease: Lease
    _lost: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raise `LeaseLost` once another process has taken over; called before each step."""
        if self._lost.is_set():
            raise LeaseLost(f"{self.lease.holder.actor} was silent too long, and another process took over")

    def lose(self) -> None:
        """Remember that it is another's."""
        self._lost.set()


@dataclass(frozen=True, kw_only=True)
class HoldLease:
    """Hold a campaign's lease for as long as a block runs.

    Nothing rests on it but order and effort: rows move under their own locks, so that a process that was taken for
    dead and wakes up can do no harm; it only stops at its next step.
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
        held = HeldLease(lease=self._take(campaign_id, holder, patience))
        ended = threading.Event()
        heart = threading.Thread(target=self._beat, args=(held, ended), name="lease", daemon=True)
        heart.start()
        try:
            yield held
        finally:
            ended.set()
            heart.join()
            self._release(held.lease)

    def _take(self, campaign_id: int, holder: Holder, patience: int) -> Lease:
        for _ in range(patience):
            with suppress(LeaseHeld):
                return self.leases.take(campaign_id, holder, seconds=self.seconds, is_gone=self.is_gone)
            self.sleep(POLL_S)
        return self.leases.take(campaign_id, holder, seconds=self.seconds, is_gone=self.is_gone)

    def _beat(self, held: HeldLease, ended: threading.Event) -> None:
        while not ended.wait(self.heartbeat_s):
            try:
                self.leases.renew(held.lease, seconds=self.seconds)
            except LeaseLost as error:
                _log.error("%s", error)
                held.lose()
                return
            except Retriable as error:
                _log.warning("the lease is not renewed: %s", error)

    def _release(self, lease: Lease) -> None:
        """Give it back; where the database is away, the lease runs out by itself."""
        try:
            self.leases.release(lease)
        except Retriable as error:
            _log.warning("the lease is not given back and ends at %s: %s", lease.expires_at, error)
