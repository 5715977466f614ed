"""Every endpoint, asked by every kind of token and session; who may come in is a table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum

import httpx

from tests.attack.target import CAMPAIGN, Finding, Kind, Target

VALUES = {
    "campaign": CAMPAIGN,
    "number": "2",
    "model": "1",
    "galaxy_id": "survey%2Ffield%207",
    "table": "tallies",
    "act": "pause",
    "catalogue": "1",
    "key": "nobody",
    "selection": "barred",
    "what": "send",
    "search": "rings",
    "z": "0",
    "x": "0",
    "y": "0",
}
"""What stands in addresses."""


class Door(StrEnum):
    """Who may come in."""

    OPEN = "open"
    READ = "read"
    OPERATE = "operate"
    WEBHOOK = "webhook"
    PAGE = "page"
    ACT = "act"
    FORM = "form"


OPEN = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/openapi.json"),
    ("GET", "/static/style.css"),
    ("GET", "/login"),
}
IN, NO_TOKEN, NO_REACH, TO_LOGIN = "in", "401", "403", "login"
REFUSED = frozenset({NO_TOKEN, NO_REACH, TO_LOGIN})

NOBODY = dict.fromkeys((Kind.NONE, Kind.WRONG, Kind.EXPIRED, Kind.REVOKED), frozenset({NO_TOKEN}))
"""Who shows nothing that is valid."""

EXPECTED: Mapping[Door, Mapping[Kind, frozenset[str]]] = {
    Door.OPEN: {kind: frozenset({IN}) for kind in Kind},
    Door.READ: {
        **NOBODY,
        Kind.INGEST: frozenset({NO_REACH}),
        Kind.READ: frozenset({IN}),
        Kind.OPERATE: frozenset({IN}),
    },
    Door.OPERATE: {
        **NOBODY,
        Kind.INGEST: frozenset({NO_REACH}),
        Kind.READ: frozenset({NO_REACH}),
        Kind.OPERATE: frozenset({IN}),
    },
    # The key in the address is nobody's: who may not come in does not learn it.
    Door.WEBHOOK: {
        **NOBODY,
        Kind.INGEST: frozenset({IN}),
        Kind.READ: frozenset({NO_REACH}),
        Kind.OPERATE: frozenset({NO_REACH}),
    },
    Door.PAGE: {
        **dict.fromkeys(Kind, frozenset({TO_LOGIN})),
        Kind.READ: frozenset({IN}),
        Kind.OPERATE: frozenset({IN}),
    },
    # No request here carries a session's proof: nobody acts, whatever the session.
    Door.ACT: dict.fromkeys(Kind, REFUSED),
    # Logging in with nothing, and out of nothing: anybody may, and nothing comes of it.
    Door.FORM: dict.fromkeys(Kind, frozenset({IN, *REFUSED})),
}


def endpoints(target: Target) -> Iterator[tuple[str, str, Door]]:
    """Yield method, address and door of everything that is served.

    Raises
    ------
    AssertionError
        Something is served that no door is known for.
    """
    for method, path in sorted({*described(target), *pages(target), *OPEN}):
        yield method, re.sub(r"\{(\w+)(:path)?\}", lambda m: VALUES[m[1]], path), door_of(method, path)


def described(target: Target) -> set[tuple[str, str]]:
    """Return method and path of what the OpenAPI document describes."""
    paths = httpx.get(f"{target.address}/openapi.json").json()["paths"]
    return {(method.upper(), path) for path, methods in paths.items() for method in methods}


def pages(target: Target) -> set[tuple[str, str]]:
    """Return method and path of the pages, which no document describes: as their modules declare them."""
    from alservice.web import anomalies, explore, forms, maps, selections
    from alservice.web import pages as looked_at

    found = set()
    for router in (
        looked_at.router,
        explore.router,
        maps.router,
        selections.router,
        anomalies.router,
        forms.router,
    ):
        for route in router.routes:
            methods: set[str] = getattr(route, "methods", None) or set()
            path: str = getattr(route, "path", "")
            found |= {(method, path) for method in methods - {"HEAD"}}
    assert found
    return found


def door_of(method: str, path: str) -> Door:
    """Return who may come in."""
    if (method, path) in OPEN:
        return Door.OPEN
    if path in {"/login", "/logout"}:
        return Door.FORM
    if path == "/metrics":
        return Door.READ
    if path.startswith("/caesar/"):
        return Door.WEBHOOK
    if path.startswith("/api/"):
        looks = method == "GET" or path.endswith("/similar")  # by POST for an image
        return Door.READ if looks else Door.OPERATE
    return Door.PAGE if method == "GET" else Door.ACT


def tokens_at_every_door(target: Target) -> Iterator[Finding]:
    """Ask everything as everybody."""
    for method, path, door in endpoints(target):
        for kind in Kind:
            with target.client(kind, session=door in {Door.PAGE, Door.ACT}) as client:
                answer = _ask(client, method, path)
            expected = EXPECTED[door][kind]
            if "/act/" in path and method == "GET" and kind is Kind.READ:
                expected = frozenset({NO_REACH})  # the form itself is an operator's
            yield Finding(
                attack="tokens", target=f"{method} {path}", who=str(kind), expected=expected, seen=outcome(answer)
            )


def _ask(client: httpx.Client, method: str, path: str) -> httpx.Response:
    """Send a request that does nothing: an empty document, or a whole form with a proof that is none."""
    if method != "POST":
        return client.request(method, path)
    if path.startswith("/api/"):
        return client.post(path, json={})
    return client.post(path, data={"csrf": "0" * 64, "reason": "because", "given": "2"})


def outcome(answer: httpx.Response) -> str:
    """Return what came of a request: in, refused for want of a token or its reach, or something that must not be."""
    if answer.status_code in {401, 403}:
        return str(answer.status_code)
    if answer.is_redirect and answer.headers["location"].startswith("/login"):
        return TO_LOGIN
    return IN if answer.status_code < 500 and answer.status_code != 429 else f"{answer.status_code}"
