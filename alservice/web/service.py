"""What every handler is given: the factory, limits, metrics and pages of this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from threading import Lock
from typing import Any, TypeVar, cast

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment

from alservice.app.jobs import Factory
from alservice.app.serving import figures
from alservice.campaigns.cycle import Cycle
from alservice.campaigns.store import CampaignRow
from alservice.errors import NotFound
from alservice.ops.figures import SqlFigures
from alservice.web.limits import Limits, RateLimiter
from alservice.web.monitoring import WebMetrics

T = TypeVar("T")


class Remembered:
    """Values that may be some seconds old, each computed by one thread at a time."""

    def __init__(self, life_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._life_s = life_s
        self._monotonic = monotonic
        self._values: dict[Hashable, tuple[float, object]] = {}
        self._lock = Lock()

    def get(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Return the value of a key, computed anew when it is too old."""
        with self._lock:
            found = self._values.get(key)
        if found is not None and self._monotonic() < found[0] + self._life_s:
            return cast("T", found[1])
        value = compute()
        with self._lock:
            self._values[key] = (self._monotonic(), value)
        return value


@dataclass(frozen=True, kw_only=True)
class Service:
    """One process of the web service.

    Parameters
    ----------
    prefect_ui
        Address of Prefect's pages, for links; None for no links.
    figures_life_s
        Age (s) up to which counts over whole campaigns are shown again.
    limiter, failures
        Requests by token, and secrets that opened nothing: apart, so that made-up ones push no token's count out.
    """

    factory: Factory
    limits: Limits
    pages: Environment
    prefect_ui: str | None = None
    figures_life_s: float = 10.0
    limiter: RateLimiter = field(default_factory=RateLimiter)
    failures: RateLimiter = field(default_factory=RateLimiter)
    metrics: WebMetrics = field(default_factory=WebMetrics)
    remembered: Remembered = field(init=False)

    def __post_init__(self) -> None:
        """Make the memory of counts."""
        object.__setattr__(self, "remembered", Remembered(self.figures_life_s))

    @property
    def figures(self) -> SqlFigures:
        """The bounded reads of pages."""
        return figures(self.factory)

    def cycle(self, campaign: CampaignRow, number: int) -> Cycle:
        """Return a cycle by number; raises `NotFound`."""
        found = self.figures.cycle(campaign.id, number)
        if found is None:
            raise NotFound(f"campaign {campaign.campaign.name} has no cycle {number}", cycle=number)
        return found

    def render(
        self,
        request: Request,
        template: str,
        *,
        status: HTTPStatus = HTTPStatus.OK,
        headers: Mapping[str, str] | None = None,
        **values: Any,
    ) -> HTMLResponse:
        """Return a page; every text from outside is escaped."""
        session = getattr(request.state, "session", None)
        text = self.pages.get_template(template).render(
            session=session,
            csrf=None if session is None else session.csrf,
            now=self.factory.clock(),
            path=request.url.path,
            prefect_ui=self.prefect_ui,
            status=status,
            **values,
        )
        return HTMLResponse(text, status_code=status, headers=dict(headers or {}))


def service_of(request: Request) -> Service:
    """Return the service that a request came to."""
    return cast("Service", request.app.state.service)
