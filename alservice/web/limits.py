"""Limits of one client: sizes and rates of its requests, and what its browser may do with the answers."""

from __future__ import annotations

import json
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from threading import Lock
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from alservice.errors import AlserviceError, TooLarge, TooManyRequests

MAX_CLIENTS: Final = 10_000
"""Clients whose rates are remembered; the longest silent is forgotten first."""

SECURITY_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Bounds of what a client may ask of one process; so many processes allow so many times as much.

    Parameters
    ----------
    body_bytes
        Length of a request's body.
    requests_per_minute, reductions_per_minute
        Of one token; of one that brings reductions, which come with every classification.
    attempts_per_minute
        Secrets that open nothing, from one address or with one beginning. Those over it are refused in other words
        and cost the same look-up; a valid one always passes.
    """

    body_bytes: int = 1 << 20
    requests_per_minute: int = 600
    reductions_per_minute: int = 6000
    attempts_per_minute: int = 20


class RateLimiter:
    """Token buckets by client, in this process: a full minute's share may come at once."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = Lock()

    def take(self, client: str, per_minute: int, what: str = "requests") -> None:
        """Count one request; raises `TooManyRequests` with the seconds to wait."""
        if not self._take(client, per_minute):
            wait = math.ceil(60 / per_minute)
            raise TooManyRequests(f"more than {per_minute} {what} in a minute", retry_after_s=wait)

    def _take(self, client: str, per_minute: int) -> bool:
        now = self._monotonic()
        with self._lock:
            left, at = self._buckets.pop(client, (float(per_minute), now))
            left = min(per_minute, left + (now - at) * per_minute / 60)
            allowed = left >= 1
            self._buckets[client] = (left - 1 if allowed else left, now)
            if len(self._buckets) > MAX_CLIENTS:
                self._buckets.popitem(last=False)
        return allowed


class SecureHeaders:
    """Middleware that adds headers which keep browsers from doing more with an answer than to show it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and add headers to its answer."""

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, send_secured if scope["type"] == "http" else send)


class BodyLimit:
    """Middleware that refuses bodies that are too long, told or not, as soon as it is known.

    What the client still sends is the connection's matter: it is thrown away for a while, and then the connection ends
    (`alservice.web.connections`).
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a counted body."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        told = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not told.isdigit() or int(told) > self._max_bytes:
            await self._refuse(send)
            return
        seen = 0

        async def receive_counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._max_bytes:
                raise self._too_large()
            return message

        await self._app(scope, receive_counted, send)

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is longer than {self._max_bytes} bytes")

    async def _refuse(self, send: Send) -> None:
        status, headers, body = refusal(self._too_large(), HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        await send({"type": "http.response.start", "status": status.value, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def refusal(error: AlserviceError, status: HTTPStatus) -> tuple[HTTPStatus, list[tuple[bytes, bytes]], bytes]:
    """Return status, headers and body of an answer that tells a typed error."""
    document = {
        "type": f"urn:alservice:{error.code}",
        "title": status.phrase,
        "status": status.value,
        "detail": error.message,
        "code": error.code,
    }
    if error.remedy != AlserviceError.remedy:
        document["remedy"] = error.remedy
    body = json.dumps(document).encode()
    headers = [(b"content-type", b"application/problem+json"), (b"content-length", str(len(body)).encode())]
    return status, headers, body
