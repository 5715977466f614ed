"""What a batch is published with, how hard it is tried, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import chain

from alservice.campaigns.cycle_store import SubjectLedger
from alservice.constants import ZOONIVERSE_ALLOWANCE
from alservice.errors import AllowanceExhausted, BadConfig
from alservice.process import Progress
from alservice.storage import ObjectStore
from alservice.zooniverse import Zooniverse


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishPolicy:
    """How hard to try, and when to stop.

    Parameters
    ----------
    connections
        Connections to Zooniverse at a time, the linker's included; 2 to 24.
    creates
        Creates per galaxy and run before it is given up as failed.
    settle_s
        Wait (seconds) after failures, before a listing is believed about a create in doubt: its request may still
        be running.
    failures
        Failures in a row after which nothing more is sent. Above `connections`, so that one restarted proxy,
        which fails every call in flight, does not end a run.
    wave
        Galaxies taken from intent to live before the next are looked at, so that memory does not grow with the batch.
    allowance
        Creates this campaign may ever send, those of deleted subjects included; None leaves it to Zooniverse.
    """

    connections: int = 24
    creates: int = 3
    settle_s: float = 60.0
    failures: int = 30
    wave: int = 1_000
    allowance: int | None = ZOONIVERSE_ALLOWANCE

    def __post_init__(self) -> None:
        too_small = min(self.creates, self.failures, self.wave) < 1 or self.settle_s < 0
        if too_small or not 2 <= self.connections <= 24:
            raise BadConfig(f"not a publish policy: {self}")


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishReport:
    """What became of the drafts; `requested` = `live` + `failed`.

    Parameters
    ----------
    live
        Linked to the set, in this run or an earlier one; retired ones count, volunteers have seen them.
    failed
        Not shown to anyone; each row's error says why.
    sent
        Creates sent by this run.
    adopted
        Rows whose subject was found by its key after an outcome in doubt.
    surplus_removed
        Zooniverse ids of duplicates that were deleted.
    """

    requested: int
    live: int
    failed: int
    sent: int
    adopted: int
    surplus_removed: tuple[int, ...]


def total(reports: Sequence[PublishReport]) -> PublishReport:
    """Return the report of several waves or tiers together."""
    return PublishReport(
        requested=sum(r.requested for r in reports),
        live=sum(r.live for r in reports),
        failed=sum(r.failed for r in reports),
        sent=sum(r.sent for r in reports),
        adopted=sum(r.adopted for r in reports),
        surplus_removed=tuple(chain.from_iterable(r.surplus_removed for r in reports)),
    )


@dataclass(frozen=True)
class Publishing:
    """What a batch is published with.

    Parameters
    ----------
    media_type
        Tells the media type of image bytes, or raises `BadImage`.
    sleep
        Waits some seconds.
    """

    ledger: SubjectLedger
    objects: ObjectStore
    zooniverse: Zooniverse
    _: KW_ONLY
    policy: PublishPolicy
    media_type: Callable[[bytes], str]
    sleep: Callable[[float], None]
    progress: Progress

    def spend(self, campaign_id: int, needed: int) -> None:
        """Raise `AllowanceExhausted` if Zooniverse does not take so many creates more."""
        allowance = self.policy.allowance
        if allowance is None:
            return
        used = self.ledger.creates(campaign_id)
        if used + needed > allowance:
            text = f"{needed} uploads are due, and {used} of {allowance} are used"
            raise AllowanceExhausted(text, due=needed, used=used, allowance=allowance)
