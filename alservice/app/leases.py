"""Leases of campaigns, by name, and steps that are sent to another process under them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from alservice.app.jobs import Factory
from alservice.app.opening import open_factory
from alservice.cycle.elsewhere import RunElsewhere
from alservice.cycle.lease import (
    HeldLease,
    HoldLease,
    Lease,
    SqlLeaseStore,
    TakeStep,
    in_the_way,
    is_gone,
    place_of_processes,
    this_process,
)
from alservice.cycle.sent_step_store import SqlSentStepStore
from alservice.cycle.sent_steps import Runs
from alservice.progress import CheckedProgress, process_progress


@contextmanager
def hold_lease(factory: Factory, name: str, *, actor: str, patience: int = 0) -> Iterator[HeldLease]:
    """Work on a campaign alone; raises `LeaseHeld` if another process still has it after `patience` more questions."""
    campaign_id = factory.campaigns.get(name).id
    service = HoldLease(leases=SqlLeaseStore(factory.engine), is_gone=is_gone, sleep=time.sleep)
    with service.run(campaign_id, this_process(actor), patience=patience) as held:
        yield held


@contextmanager
def take_step(factory: Factory, name: str, token: str, *, worker: str) -> Iterator[HeldLease]:
    """Work on the step that another process sent here; raises `LeaseLost` if it took it back."""
    campaign_id = factory.campaigns.get(name).id
    service = TakeStep(sent=SqlSentStepStore(factory.engine), heartbeat_s=factory.settings.bounds.beat_s)
    with service.run(campaign_id, token, worker=worker, place=place_of_processes()) as held:
        yield held


def open_under(held: HeldLease | None) -> AbstractContextManager[Factory]:
    """Open the factory of a process that works under a lease.

    Once the lease is another's, its writes are refused and its long work stops. Without a lease, as in a command
    that only looks, it is as any other.
    """
    if held is None:
        return open_factory()
    return open_factory(progress=CheckedProgress(process_progress(), held.check), fence=held.fence)


def run_elsewhere(held: HeldLease, cycle_id: int, runs: Runs) -> None:
    """Have the step in which a cycle stands run in another work pool; raises what `RunElsewhere` does."""
    with open_under(held) as factory:
        RunElsewhere(
            cycles=factory.cycles,
            sent=SqlSentStepStore(factory.engine),
            runs=runs,
            bounds=factory.settings.bounds,
            attempts=factory.settings.run_attempts,
            actor=held.actor,
            check=held.check,
            now=time.monotonic,
            sleep=time.sleep,
        ).run(factory.cycles.get(cycle_id))


def lease_of(factory: Factory, name: str) -> Lease | None:
    """Return who works on a campaign, or did so last; None when it was given back."""
    return SqlLeaseStore(factory.engine).get(factory.campaigns.get(name).id)


def is_free(factory: Factory, name: str, *, but_for: str) -> bool:
    """Return whether nobody works on a campaign, the named actor aside."""
    lease = lease_of(factory, name)
    return lease is None or lease.holder.actor == but_for or in_the_way(lease, factory.clock(), is_gone=is_gone) is None
