"""What a volunteer's browser does: one keep-alive connection to the stand-in, and to nothing else.

Simulated votes must never reach a real survey, so an endpoint that is not this machine's loopback is
refused before any connection is made. Redirects and proxy settings are not followed (`http.client` knows
neither).
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException, HTTPMessage
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

from alservice.campaigns.zooniverse_target import is_loopback
from alservice.errors import Terminal, ZooniverseRefused, ZooniverseUnavailable
from alservice.standin.config import PUBLIC_CLIENT_ID
from alservice.zooniverse.workflow import Workflow

API_TYPE = "application/vnd.api+json; version=1"

TRY_AGAIN = frozenset({429, 500, 502, 503, 504})
"""Statuses after which the same call may succeed."""


class RealSiteRefused(Terminal):
    """Simulated volunteers were pointed at something that is not on this machine."""

    code = "real-site-refused"
    remedy = "Give the endpoint of the stand-in, on 127.0.0.1; simulated votes never go to a real survey."


def loopback_address(endpoint: str) -> tuple[str, int]:
    """Return host and port of an endpoint on this machine, such as ``http://127.0.0.1:8000``.

    Raises
    ------
    RealSiteRefused
        If the host is neither a loopback address nor ``localhost``, or the scheme is not http.
    """
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    if parts.scheme != "http" or not is_loopback(endpoint):
        raise RealSiteRefused(f"simulated volunteers may not vote at {endpoint!r}: it is not loopback", host=host)
    return host, parts.port or 80


class VolunteerClient:
    """One connection; not to be shared between threads. Use it as a context manager.

    Parameters
    ----------
    endpoint
        Of the stand-in; anything but loopback raises `RealSiteRefused`.
    timeout_s
        Longest wait for any single answer (s).
    resend_waits_s
        Waits (s) before a failed call is repeated, as the front ends repeat theirs; then the failure is
        raised.
    """

    def __init__(self, endpoint: str, *, timeout_s: float, resend_waits_s: Sequence[float]) -> None:
        host, port = loopback_address(endpoint)
        self._connection = HTTPConnection(host, port, timeout=timeout_s)
        self._resend_waits_s = tuple(resend_waits_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def workflow(self, workflow_id: int) -> Workflow:
        """Return the live workflow, as anybody may read it."""
        path = f"/api/workflows/{workflow_id}"
        data, _ = self._call("GET", path)
        return Workflow(
            workflow_id=workflow_id,
            version=_read(data, path, "workflows", 0, "version"),
            tasks=_read(data, path, "workflows", 0, "tasks"),
        )

    def log_in(self, login: str, password: str) -> str:
        """Return a bearer token by the password flow of panoptes-client."""
        _, form = self._call("GET", "/users/sign_in")
        person = {"login": login, "password": password, "remember_me": True}
        body = json.dumps({"authenticity_token": form["X-CSRF-Token"], "user": person})
        _, session = self._call("POST", "/users/sign_in", body, {"Cookie": _cookie(form)})
        grant = urlencode({"grant_type": "password", "client_id": PUBLIC_CLIENT_ID})
        headers = {"Cookie": _cookie(session), "Content-Type": "application/x-www-form-urlencoded"}
        data, _ = self._call("POST", "/oauth/token", grant, headers)
        return str(_read(data, "/oauth/token", "access_token"))

    def classify(self, classification: Mapping[str, Any], token: str | None) -> None:
        """Send one classification; a send that fails is repeated, which can leave two.

        Panoptes has no idempotency: after a lost answer the same classification may be there twice. Both have
        the same session, start and subject, by which whoever counts them knows.
        """
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._call("POST", "/api/classifications", json.dumps({"classifications": classification}), headers)

    def _call(
        self, method: str, path: str, body: str | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[bytes, HTTPMessage]:
        """Return body and headers of an answer in the 200s, repeating what a repeat may help."""
        sent = {"Accept": API_TYPE, "Content-Type": "application/json", **(headers or {})}
        for wait_s in self._resend_waits_s:
            try:
                return self._call_once(method, path, body, sent)
            except ZooniverseUnavailable:
                time.sleep(wait_s)
        return self._call_once(method, path, body, sent)

    def _call_once(
        self, method: str, path: str, body: str | None, headers: Mapping[str, str]
    ) -> tuple[bytes, HTTPMessage]:
        where = f"{method} {path}"
        try:
            self._connection.request(method, path, body, headers)
            response = self._connection.getresponse()
            data = response.read()
        except (OSError, HTTPException) as error:
            self._connection.close()
            raise ZooniverseUnavailable(f"{where}: {type(error).__name__}: {error}", call=where) from error
        status = response.status
        if status in TRY_AGAIN:
            raise ZooniverseUnavailable(f"{where}: status {status}", call=where, status=status)
        if not 200 <= status < 300:
            said = data[:200].decode("utf-8", "replace")
            raise ZooniverseRefused(f"{where}: status {status}: {said}", call=where, status=status)
        return data, response.headers


def _read(data: bytes, path: str, *keys: str | int) -> Any:
    """Return what stands under `keys` in a JSON answer; `ZooniverseRefused` if nothing does."""
    try:
        value = json.loads(data)
        for key in keys:
            value = value[key]
    except (ValueError, LookupError, TypeError) as error:
        raise ZooniverseRefused(f"{path}: {data[:200]!r} is no answer of Zooniverse", path=path) from error
    return value


def _cookie(headers: HTTPMessage) -> str:
    """Return what a browser would send back of a Set-Cookie header."""
    return headers.get("Set-Cookie", "").partition(";")[0]
