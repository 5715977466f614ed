"""One running cycle per campaign: every run that moves a cycle works under the campaign's lease."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

from alservice.app import App, open_app
from alservice.cycle.lease import HeldLease
from alservice.errors import LeaseLost
from alservice.progress import CheckedProgress, process_progress

PATIENCE = 120
"""Questions that a week's run asks before it gives up, 5 s apart: longer than any ingest tick between two weeks."""

_HELD: ContextVar[HeldLease | None] = ContextVar("held", default=None)


@contextmanager
def working_on(
    factory: App, campaign: str, *, actor: str, token: str | None = None, patience: int = 0
) -> Iterator[None]:
    """Hold a campaign's lease, or work under the one whose token was sent; raises `LeaseHeld` or `LeaseLost`."""
    if token is not None:
        with factory.cycle.take_step(campaign, token, worker=actor) as lent, _remembered(lent):
            yield
        return
    with factory.cycle.hold_lease(campaign, actor=actor, patience=patience) as held, _remembered(held):
        yield


def check_lease() -> None:
    """Raise `LeaseLost` once another process has taken over; nothing to check where nobody works under a lease."""
    held = _HELD.get()
    if held is not None:
        held.check()


def open_leased() -> AbstractContextManager[App]:
    """Open the application of a task: once the lease is another's, its writes are refused and its long work stops.

    Without a lease, as in a command that only looks, it is opened as any other.
    """
    held = _HELD.get()
    if held is None:
        return open_app()
    return open_app(progress=CheckedProgress(process_progress(), held.check), fence=held.fence)


def held_lease() -> HeldLease:
    """Return the lease under which this run works; raises `LeaseLost` where it works under none."""
    held = _HELD.get()
    if held is None:
        raise LeaseLost("this run works under no lease, so that it can lend none")
    return held


@contextmanager
def _remembered(held: HeldLease) -> Iterator[None]:
    mark = _HELD.set(held)
    try:
        yield
    finally:
        _HELD.reset(mark)
