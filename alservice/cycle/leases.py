"""Who may work on a campaign: one process at a time, and what becomes of a lease whose holder died."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Fence:
    """What must still be a process's own when its rows are committed: a campaign's lease, or a step sent to it.

    Parameters
    ----------
    kind
        Whose token it is: of a process that holds the lease, or of a run to which such a process sent a step.
    """

    kind: Literal["lease", "sent step"]
    campaign_id: int
    token: str


def in_the_way(lease: Lease | None, now: datetime, *, is_gone: Callable[[Holder], bool]) -> Lease | None:
    """Return the lease that keeps others out; None if it is free: given back, run out, or of a process that is gone.

    Parameters
    ----------
    is_gone
        Whether a holder has certainly ended; False where this machine cannot tell. It lets a command that was killed
        be repeated at once, without waiting for its lease to run out.
    """
    return None if lease is None or lease.is_expired(now) or is_gone(lease.holder) else lease
