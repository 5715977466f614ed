"""The service that every handler is given: factory, limits, counts, and pages with their formats."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from threading import Lock
from typing import Any, TypeVar, cast
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from alservice.app import App
from alservice.campaigns.cycle import Cycle
from alservice.campaigns.store import CampaignRow
from alservice.cycle.table import StepState
from alservice.errors import NotFound
from alservice.ops.figures import SqlFigures
from alservice.texts import visible
from alservice.web.limits import Limits, RateLimiter

NONE = "–"


def utc(moment: datetime | None) -> str | Markup:
    """Return a moment to the minute, in UTC, as a time element."""
    if moment is None:
        return NONE
    return Markup('<time datetime="{}">{}</time>').format(
        moment.isoformat(timespec="seconds"), f"{moment:%Y-%m-%d %H:%M} UTC"
    )


def day(moment: datetime | None) -> str | Markup:
    """Return the day of a moment, in UTC, as a time element."""
    if moment is None:
        return NONE
    return Markup('<time datetime="{}">{}</time>').format(moment.isoformat(timespec="seconds"), f"{moment:%Y-%m-%d}")


def duration(span: timedelta | None) -> str:
    """Return a span in its two largest units."""
    if span is None:
        return NONE
    seconds = int(span.total_seconds())
    sign, seconds = ("−", -seconds) if seconds < 0 else ("", seconds)
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, seconds = divmod(rest, 60)
    if days:
        return f"{sign}{days} d {hours} h"
    if hours:
        return f"{sign}{hours} h {minutes} min"
    return f"{sign}{minutes} min {seconds} s" if minutes else f"{sign}{seconds} s"


def count(value: float | None) -> str:
    """Return a count with thousands set apart."""
    return NONE if value is None else f"{value:,.0f}"


def number(value: float | None, digits: int = 4) -> str:
    """Return a number with fixed digits."""
    return NONE if value is None else f"{value:.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int = 4) -> str:
    """Return a number with its sign."""
    return NONE if value is None else f"{value:+.{digits}f}".replace("-", "−")


def percent(value: float | None) -> str:
    """Return a share in percent."""
    return NONE if value is None else f"{100 * value:.1f} %"


def words(text: object) -> str:
    """Return a machine's name as words."""
    return str(text).replace("_", " ").replace("-", " ")


_STANDS: Mapping[str, str] = {
    StepState.NOW: "at work or waiting",
    StepState.WAITING: "not yet",
    StepState.SKIPPED: "not needed",
}


def stands(state: StepState) -> str:
    """Return where a step stands as people say it, by its own name unless there is a better one."""
    return _STANDS.get(state, words(state))


def code(text: object) -> Markup:
    """Return a text of ours whose words in backticks are code."""
    parts = str(text).split("`")
    shown = (Markup("<code>{}</code>").format(part) if odd % 2 else escape(part) for odd, part in enumerate(parts))
    return Markup("").join(shown)


def details(values: Mapping[str, Any]) -> str:
    """Return an event's detail as one line, cut where it becomes unreadable."""
    text = visible(", ".join(f"{words(name)} {_short(value)}" for name, value in values.items()), one_line=True)
    return text if len(text) <= 300 else f"{text[:297]}…"


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | dict):
        return f"({len(value)})" if value else "none"
    return str(value)


FILTERS: Mapping[str, Callable[..., object]] = {
    "utc": utc,
    "day": day,
    "duration": duration,
    "count": count,
    "code": code,
    "number": number,
    "signed": signed,
    "percent": percent,
    "words": words,
    "stands": stands,
    "details": details,
}


_PROGRAMS = ("/api/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/static/", "/caesar/")


def is_page(path: str) -> bool:
    """Return whether a person's browser shows what is at a path."""
    return not path.startswith(_PROGRAMS)


def login_url(request: Request) -> str:
    """Return the address of the login that leads back to a request."""
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return "/login" if here == "/" else f"/login?next={quote(here, safe='')}"


def safe_next(target: str) -> str:
    """Return where to go after the login: a path of this service, whatever was asked for."""
    is_ours = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if is_ours and "\\" not in target else "/"


def templates() -> Environment:
    """Return the environment of the pages' templates, with the formats as filters."""
    environment = Environment(
        loader=PackageLoader("alservice.web"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    return environment


T = TypeVar("T")


class TimedCache:
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

    factory: App
    limits: Limits
    pages: Environment = field(default_factory=templates)
    prefect_ui: str | None = None
    figures_life_s: float = 10.0
    limiter: RateLimiter = field(default_factory=RateLimiter)
    failures: RateLimiter = field(default_factory=RateLimiter)
    remembered: TimedCache = field(init=False)

    def __post_init__(self) -> None:
        """Make the memory of counts."""
        object.__setattr__(self, "remembered", TimedCache(self.figures_life_s))

    @property
    def figures(self) -> SqlFigures:
        """The bounded reads of pages."""
        return self.factory.ops.figures

    def cycle(self, campaign: CampaignRow, number: int) -> Cycle:
        """Return a cycle by number; raises `NotFound`."""
        found = self.figures.cycle(campaign.id, number)
        if found is None:
            raise NotFound(f"campaign {campaign.settings.name} has no cycle {number}", cycle=number)
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
