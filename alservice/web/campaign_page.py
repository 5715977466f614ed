"""What every page of a campaign has: its name, its tabs, and whether it is paused."""

from __future__ import annotations

from typing import Any

from fastapi import Request, Response

from alservice.app.operations import paused
from alservice.campaigns.store import CampaignRow
from alservice.web.service import Service

TABS = (
    ("", "Now"),
    ("cycles", "Cycles"),
    ("votes", "Votes"),
    ("subjects", "Subjects"),
    ("models", "Models"),
    ("gallery", "Gallery"),
    ("events", "Audit"),
)


def show(service: Service, request: Request, row: CampaignRow, template: str, tab: str, **values: Any) -> Response:
    """Return a page of a campaign, under one of its tabs."""
    return service.render(
        request,
        template,
        campaign=row.campaign.name,
        decisions=row.campaign,
        pause=paused(service.factory, row),
        tabs=TABS,
        tab=tab,
        **values,
    )
