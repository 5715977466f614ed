"""Campaigns and cycles: documents, policies, states, transitions and events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alservice.lazy import lazily

if TYPE_CHECKING:
    from alservice.campaigns.campaign import Campaign, parse_campaign
    from alservice.campaigns.cycle import Cycle, CycleState
    from alservice.campaigns.cycle_store import CycleStore
    from alservice.campaigns.store import CampaignRow, CampaignStore, EventLog
else:
    __getattr__ = lazily(
        __name__,
        {
            "Campaign": "alservice.campaigns.campaign",
            "CampaignRow": "alservice.campaigns.store",
            "CampaignStore": "alservice.campaigns.store",
            "Cycle": "alservice.campaigns.cycle",
            "CycleState": "alservice.campaigns.cycle",
            "CycleStore": "alservice.campaigns.cycle_store",
            "EventLog": "alservice.campaigns.store",
            "parse_campaign": "alservice.campaigns.campaign",
        },
    )

__all__ = [
    "Campaign",
    "CampaignRow",
    "CampaignStore",
    "Cycle",
    "CycleState",
    "CycleStore",
    "EventLog",
    "parse_campaign",
]
