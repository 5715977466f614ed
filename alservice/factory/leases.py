"""Leases of campaigns, by name."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from alservice.adapters.processes import is_gone, this_process
from alservice.adapters.sql.leases import SqlLeaseStore
from alservice.core.leases import Lease, in_the_way
from alservice.errors import LeaseLost
from alservice.factory.jobs import Factory
from alservice.services.hold_lease import HeldLease, HoldLease

__all__ = ["HeldLease", "borrow_lease", "hold_lease", "is_free", "lease_of"]


@contextmanager
def hold_lease(factory: Factory, name: str, *, actor: str, patience: int = 0) -> Iterator[HeldLease]:
    """Work on a campaign alone; raises `LeaseHeld` if another process still has it after `patience` more questions."""
    campaign_id = factory.campaigns.get(name).id
    service = HoldLease(leases=SqlLeaseStore(factory.engine), is_gone=is_gone, sleep=time.sleep)
    with service.run(campaign_id, this_process(actor), patience=patience) as held:
        yield held


def borrow_lease(factory: Factory, name: str, token: str) -> HeldLease:
    """Return the lease under which another process sent work here; raises `LeaseLost` if it has it no more."""
    lease = lease_of(factory, name)
    if lease is None or lease.holder.token != token:
        raise LeaseLost(f"the run that sent this work does not hold the lease of {name} any more", campaign=name)
    return HeldLease(lease=lease)


def lease_of(factory: Factory, name: str) -> Lease | None:
    """Return who works on a campaign, or did so last; None when it was given back."""
    return SqlLeaseStore(factory.engine).get(factory.campaigns.get(name).id)


def is_free(factory: Factory, name: str, *, but_for: str) -> bool:
    """Return whether nobody works on a campaign, the named actor aside."""
    lease = lease_of(factory, name)
    return lease is None or lease.holder.actor == but_for or in_the_way(lease, factory.clock(), is_gone=is_gone) is None
