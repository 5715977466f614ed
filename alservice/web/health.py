"""Whether the service lives, whether its parts answer, and its metrics."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from alservice.access import Scope, Token
from alservice.app.meters import metrics_text
from alservice.app.serving import OK, check_parts
from alservice.web.problems import responses
from alservice.web.security import token_with
from alservice.web.service import service_of

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    """The process answers."""

    status: str


class Ready(BaseModel):
    """Whether every part answers: part to ``ok`` or an error's code."""

    ready: bool
    parts: dict[str, str]


@router.get("/healthz")
async def healthz() -> Alive:
    """Tell that the process lives; nothing else is looked at, and no thread is waited for."""
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
    rows = service.factory.campaigns.list()
    figures = service.figures.campaigns([row.id for row in rows])
    named = {row.campaign.name: figures[row.id] for row in rows}
    here = service.metrics.text(named, service.factory.clock())
    runs = service.remembered.get("runs", lambda: metrics_text(service.factory))
    return Response(here + runs, media_type=CONTENT_TYPE_LATEST)
