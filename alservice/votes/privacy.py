"""Forgetting who classified: the votes stay, and so do the verdicts that were decided while it was known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from alservice.campaigns.store import CampaignRow, Event, EventLog
from alservice.progress import Clock
from alservice.science.tree import load_tree
from alservice.votes.counting import judge_of
from alservice.votes.ingest import recount
from alservice.votes.store import ClassificationStore

FORGET_ROWS: Final = 5_000
"""Rows per transaction: short enough a lock for an ingest to wait for."""


@dataclass(frozen=True, kw_only=True)
class ForgetPeople:
    """Take user hashes and sessions from classifications; safe to repeat and to interrupt."""

    classifications: ClassificationStore
    events: EventLog
    clock: Clock
    actor: str

    def user(self, campaign: CampaignRow, user_hash: str) -> int:
        """Forget one person in one campaign; return how many classifications became anonymous.

        The event of it does not say whom.
        """
        return self._forget(campaign, "people.forgotten", user_hash=user_hash, before=None)

    def expired(self, campaign: CampaignRow) -> int:
        """Forget everybody in classifications older than the campaign keeps; return how many became anonymous."""
        days = campaign.settings.ingest.retention_days
        if days is None:
            return 0
        return self._forget(campaign, "people.expired", user_hash=None, before=self.clock() - timedelta(days=days))

    def _forget(self, campaign: CampaignRow, kind: str, *, user_hash: str | None, before: datetime | None) -> int:
        judge = judge_of(campaign.settings, load_tree(campaign.settings.tree))
        n = 0
        while True:
            with self.classifications.landing(campaign.id) as landing:
                found = landing.identified(user_hash=user_hash, before=before, limit=FORGET_ROWS)
                landing.forget(list(found))
                # A tally remembers by whom it was voted for: it is made anew from rows that no longer know.
                recount(landing, judge, sorted({galaxy for galaxy in found.values() if galaxy is not None}))
            n += len(found)
            if len(found) < FORGET_ROWS:
                break
        if n or user_hash is not None:
            self.events.record(
                Event(
                    campaign_id=campaign.id,
                    cycle_id=None,
                    at=self.clock(),
                    actor=self.actor,
                    kind=kind,
                    detail={"classifications": n},
                )
            )
        return n
