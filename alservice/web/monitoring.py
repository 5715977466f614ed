"""Monitoring of the service: health, and metrics for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from pydantic import BaseModel
from starlette import types as asgi

from alservice.access import Scope, Token
from alservice.ops.figures import CampaignFigures
from alservice.ops.service import OK
from alservice.tracing import request_span
from alservice.web.problems import responses
from alservice.web.security import token_with
from alservice.web.service import service_of


class WebMetrics:
    """Metrics of one process in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self._requests = Counter("alservice_http_requests", "Requests answered.", labels, registry=self.registry)
        self._seconds = Histogram(
            "alservice_http_request_seconds",
            "Seconds from the first byte to the end of the answer.",
            ("method", "route"),
            buckets=(0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
            registry=self.registry,
        )

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def text(self, campaigns: Mapping[str, CampaignFigures], now: datetime) -> bytes:
        """Return everything in Prometheus' text format."""
        here = CollectorRegistry()
        here.register(_Campaigns(campaigns, now))
        return generate_latest(self.registry) + generate_latest(here)


class _Campaigns:
    """Gauges of campaigns as they stand at this scrape."""

    def __init__(self, campaigns: Mapping[str, CampaignFigures], now: datetime) -> None:
        self._campaigns = campaigns
        self._now = now

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Return nothing: the names are known only at a scrape."""
        return ()

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Yield the families."""
        return campaign_metrics(self._campaigns, self._now)


def campaign_metrics(campaigns: Mapping[str, CampaignFigures], now: datetime) -> Iterator[GaugeMetricFamily]:
    """Yield what is told of campaigns at a scrape."""
    number = _gauge("cycle_number", "Number of the newest cycle.", "campaign")
    state = _gauge("cycle_state", "1 for the state the newest cycle is in.", "campaign", "state")
    age = _gauge("cycle_state_age_seconds", "Seconds since the newest cycle last moved.", "campaign")
    paused = _gauge("campaign_paused", "1 while a campaign is paused.", "campaign")
    subjects = _gauge("subjects", "Rows of the upload ledger.", "campaign", "state")
    arrived = _gauge("classifications", "Classifications that ever arrived.", "campaign")
    waiting = _gauge("quarantined_classifications", "Rows in quarantine.", "campaign")
    lag = _gauge("ingest_cursor_age_seconds", "Seconds since a source's cursor moved.", "campaign", "source")
    for name, figures in campaigns.items():
        if figures.cycle is not None:
            number.add_metric([name], figures.cycle.number)
            state.add_metric([name, str(figures.cycle.state)], 1)
            age.add_metric([name], (now - figures.cycle.updated_at).total_seconds())
        paused.add_metric([name], float(figures.pause is not None))
        for subject_state, n in figures.subjects.items():
            subjects.add_metric([name, str(subject_state)], n)
        arrived.add_metric([name], figures.arrived)
        waiting.add_metric([name], figures.waiting)
        for source, moved in figures.cursors.items():
            lag.add_metric([name, source], (now - moved).total_seconds())
    yield from (number, state, age, paused, subjects, arrived, waiting, lag)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"alservice_{name}", text, labels=labels)


class MetricsMiddleware:
    """Middleware that counts and times every answer, by route and not by address: addresses are as many as galaxies."""

    def __init__(self, app: asgi.ASGIApp, *, metrics: WebMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        """Pass the request on, and count its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500

        async def send_seen(message: asgi.Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if scope["path"] in WATCHED:
                await self._app(scope, receive, send_seen)
            else:
                await _traced(self._app, scope, receive, send_seen)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.observe(scope["method"], route, status, time.perf_counter() - began)


WATCHED = frozenset({"/healthz", "/readyz", "/metrics"})
"""Requests of monitoring itself, which are counted and not traced."""


async def _traced(app: asgi.ASGIApp, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
    """Trace a request, by route; what it does to a cycle is in the cycle's own trace as well."""
    with request_span(scope["method"]) as opened:
        await app(scope, receive, send)
        if opened is not None:
            route = getattr(scope.get("route"), "path", "none")
            opened.update_name(f"{scope['method']} {route}")


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
    parts = service.remembered.get("parts", lambda: dict(service.factory.ops.check_parts()))
    ready = Ready(ready=all(said == OK for said in parts.values()), parts=parts)
    return JSONResponse(ready.model_dump(), status_code=200 if ready.ready else 503)


@router.get("/metrics", response_class=Response, responses=responses())
def metrics(request: Request, _: Annotated[Token, Depends(token_with(Scope.READ))]) -> Response:
    """Return metrics for Prometheus."""
    service = service_of(request)
    rows = service.factory.campaigns.list()
    figures = service.figures.campaigns([row.id for row in rows])
    named = {row.settings.name: figures[row.id] for row in rows}
    here = request.app.state.metrics.text(named, service.factory.clock())
    runs = service.remembered.get("runs", service.factory.ops.metrics_text)
    return Response(here + runs, media_type=CONTENT_TYPE_LATEST)
