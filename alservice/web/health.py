"""Whether the service lives, whether its parts answer, and its metrics."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from alservice.core.access import Scope, Token
from alservice.core.records import CampaignRow
from alservice.factory.operations import paused
from alservice.factory.serving import OK, check_parts
from alservice.web.guards import token_with
from alservice.web.problems import responses
from alservice.web.service import Service, service_of
from alservice.web.telemetry import CampaignState

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    """The process answers."""

    status: str


class Ready(BaseModel):
    """Whether every part answers: part to ``ok`` or an error's code."""

    ready: bool
    parts: dict[str, str]


@router.get("/healthz")
def healthz() -> Alive:
    """Tell that the process lives; nothing else is looked at."""
    return Alive(status=OK)


@router.get("/readyz", responses={503: {"model": Ready, "description": "A part does not answer."}})
def readyz(request: Request) -> Response:
    """Tell whether database, schema and object store answer."""
    service = service_of(request)
    parts = service.remembered.get("parts", lambda: dict(check_parts(service.factory)))
    ready = Ready(ready=all(said == OK for said in parts.values()), parts=parts)
    return JSONResponse(ready.model_dump(), status_code=200 if ready.ready else 503)


@router.get("/metrics", response_class=Response, responses=responses())
def metrics(request: Request, _: Annotated[Token, Depends(token_with(Scope.READ))]) -> Response:
    """Return metrics for Prometheus."""
    service = service_of(request)
    states = [campaign_state(service, row) for row in service.factory.campaigns.list()]
    text = service.metrics.text(states, service.factory.clock())
    return Response(text, media_type=CONTENT_TYPE_LATEST)


def campaign_state(service: Service, row: CampaignRow) -> CampaignState:
    """Return where a campaign stands; counts over all of it may be some seconds old."""
    newest = next(iter(service.figures.newest_cycles(row.id, limit=1)), None)
    remember = service.remembered.get
    return CampaignState(
        name=row.campaign.name,
        cycle=newest.number if newest else None,
        state=newest.state if newest else None,
        since=newest.updated_at if newest else None,
        is_paused=paused(service.factory, row) is not None,
        subjects=dict(remember(("ledger", row.id), lambda: service.figures.ledger(row.id))),
        ingest=remember(("ingest", row.id), lambda: service.figures.ingest(row.id)),
    )
