"""The lease beats while the block works, and is given back however it ends."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from alservice.cycle.lease import POLL_S, Holder, HoldLease, Lease
from alservice.errors import DatabaseUnavailable, LeaseHeld, LeaseLost

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
OWL = Holder(token="t", actor="owl", place="here", pid=7, started_s=1.0)


@dataclass
class FakeLeases:
    """A store whose renewals go as planned; `beats` is set at each."""

    refusals: int = 0
    outcomes: list[Exception] = field(default_factory=list)
    beats: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    released: list[Lease] = field(default_factory=list)

    def take(self, campaign_id: int, holder: Holder, *, seconds: float, is_gone: Callable[[Holder], bool]) -> Lease:
        """Refuse so many times, then give it."""
        if self.refusals:
            self.refusals -= 1
            raise LeaseHeld("crow works on this campaign")
        return Lease(
            campaign_id=campaign_id,
            holder=holder,
            acquired_at=NOON,
            heartbeat_at=NOON,
            expires_at=NOON + timedelta(seconds=seconds),
        )

    def renew(self, lease: Lease, *, seconds: float) -> Lease:
        """Renew, or raise what is planned."""
        try:
            if self.outcomes:
                raise self.outcomes.pop(0)
            return lease
        finally:
            self.beats.release()

    def release(self, lease: Lease) -> None:
        """Note it."""
        self.released.append(lease)

    def get(self, campaign_id: int) -> Lease | None:
        """Not asked for here."""
        raise NotImplementedError

    def list(self) -> list[Lease]:
        """Not asked for here."""
        raise NotImplementedError


def service(leases: FakeLeases, naps: list[float] | None = None) -> HoldLease:
    """Return the service, its heart beating as fast as it can."""
    slept = naps if naps is not None else []
    return HoldLease(leases=leases, is_gone=lambda _: False, sleep=slept.append, heartbeat_s=0.001)


def test_it_beats_through_an_outage_and_is_given_back() -> None:
    """A database that is away for a while costs nothing."""
    leases = FakeLeases(outcomes=[DatabaseUnavailable("away"), DatabaseUnavailable("away")])
    with service(leases).run(1, OWL) as held:
        for _ in range(4):
            assert leases.beats.acquire(timeout=20)
        held.check()
    assert [lease.holder for lease in leases.released] == [OWL]


def test_work_stops_at_its_next_step_when_the_lease_is_lost() -> None:
    """Whoever was taken for dead is told before it does more."""
    leases = FakeLeases(outcomes=[LeaseLost("crow has it")])

    def work() -> None:
        with service(leases).run(1, OWL) as held:
            while True:
                held.check()

    with pytest.raises(LeaseLost, match="owl was silent too long"):
        work()


def test_it_is_given_back_after_an_error() -> None:
    """A step that fails does not keep others out."""
    leases = FakeLeases()
    with pytest.raises(ValueError, match="broken"), service(leases).run(1, OWL):
        raise ValueError("broken")
    assert len(leases.released) == 1


def test_patience_asks_again_so_many_times() -> None:
    """A week's run waits for an ingest tick that is about to end."""
    naps: list[float] = []
    with service(FakeLeases(refusals=2), naps).run(1, OWL, patience=2):
        assert naps == [POLL_S, POLL_S]
    with pytest.raises(LeaseHeld), service(FakeLeases(refusals=3), naps).run(1, OWL, patience=2):
        pass
