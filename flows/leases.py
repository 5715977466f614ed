"""One running cycle per campaign: every run that moves a cycle works under the campaign's lease."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from alservice.factory import Factory
from alservice.factory.leases import HeldLease, borrow_lease, hold_lease

PATIENCE = 120
"""Questions that a week's run asks before it gives up, 5 s apart: longer than any ingest tick between two weeks."""

_HELD: ContextVar[HeldLease | None] = ContextVar("held", default=None)


@contextmanager
def working_on(
    factory: Factory, campaign: str, *, actor: str, token: str | None = None, patience: int = 0
) -> Iterator[None]:
    """Hold a campaign's lease, or work under the one whose token was sent; raises `LeaseHeld` or `LeaseLost`."""
    if token is not None:
        with _remembered(borrow_lease(factory, campaign, token)):
            yield
        return
    with hold_lease(factory, campaign, actor=actor, patience=patience) as held, _remembered(held):
        yield


def check_lease() -> None:
    """Raise `LeaseLost` once another process has taken over; nothing to check where nobody works under a lease."""
    held = _HELD.get()
    if held is not None:
        held.check()


def token_to_send() -> str | None:
    """Return what a step in another pool shows to work under this run's lease."""
    held = _HELD.get()
    return None if held is None else held.lease.holder.token


@contextmanager
def _remembered(held: HeldLease) -> Iterator[None]:
    mark = _HELD.set(held)
    try:
        yield
    finally:
        _HELD.reset(mark)
