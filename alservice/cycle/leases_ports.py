"""One process at a time per campaign."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from alservice.cycle.leases import Holder, Lease


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
