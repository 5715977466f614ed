"""Security of requests: tokens of programs, sessions of people, and how often either may ask."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Request, Response, Security
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPBase

from alservice.access import Scope, Token, WebSession, check_scope
from alservice.errors import NotAllowed, NotAuthenticated
from alservice.ops.access import SESSION_LIFE
from alservice.web.service import Service, service_of

_BEARER = HTTPBearer(auto_error=False, description="A token made with `alservice token create`.")
_BASIC = HTTPBase(
    scheme="basic", scheme_name="HTTPBasic", auto_error=False, description="A token as the password of any user."
)

BEGINNING: Final = 12
"""Characters of a secret that count as one: enough to tell tokens apart, too few to help anybody."""

NETWORK_BITS: Final = 64
"""Of an IPv6 address: who has one has all of that network."""


def token_with(scope: Scope) -> Callable[..., Token]:
    """Return a dependency that yields the request's token, of at least a scope.

    The token comes as ``Authorization: Bearer TOKEN``, or as the password of basic auth, which is what Caesar can send.
    """

    def find(
        request: Request, _: Annotated[object, Security(_BEARER)], __: Annotated[object, Security(_BASIC)]
    ) -> Token:
        service = service_of(request)
        secret = _secret_of(request)
        try:
            token = service.factory.access.recognise(secret)
        except NotAuthenticated:
            _count_failure(service, request, secret)
            raise
        _count(service, token)
        check_scope(token, scope)
        request.state.actor = token.actor
        return token

    return find


def person(request: Request) -> Session:
    """Return the session of a page's request; raises `NotAuthenticated`, which leads to the login."""
    service = service_of(request)
    cookie = request.cookies.get(COOKIE)
    if cookie is None:
        raise NotAuthenticated("nobody is logged in")
    try:
        kept, token = service.factory.access.recognise_session(cookie)
    except NotAuthenticated:
        _count_failure(service, request, cookie)
        raise
    _count(service, token)
    check_scope(token, Scope.READ)
    request.state.session = Session(token=token, kept=kept, cookie=cookie)
    request.state.actor = token.actor
    return Session(token=token, kept=kept, cookie=cookie)


def log_in(service: Service, request: Request, secret: str) -> Token:
    """Return the token of a person who logs in; one that may not look at pages is refused."""
    try:
        token = service.factory.access.recognise(secret)
    except NotAuthenticated:
        _count_failure(service, request, secret)
        raise
    _count(service, token)
    check_scope(token, Scope.READ)
    return token


def check_same_origin(request: Request) -> None:
    """Raise `NotAllowed` for a form that another site's page sent, as browsers tell it."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    elsewhere = origin is not None and origin.partition("://")[2] != request.headers.get("host")
    if site not in {"same-origin", "none"} or elsewhere:
        raise NotAllowed("the form comes from another site")


def client_of(request: Request) -> str:
    """Return the address that a request came from, as far as proxies are trusted."""
    return request.client.host if request.client else "unknown"


def _count(service: Service, token: Token) -> None:
    limits = service.limits
    per_minute = limits.reductions_per_minute if token.scope is Scope.INGEST else limits.requests_per_minute
    service.limiter.take(f"token:{token.id}", per_minute)


def _count_failure(service: Service, request: Request, secret: str) -> None:
    """Count a secret that opened nothing, by address and beginning; after the look-up, so that no valid one waits."""
    per_minute = service.limits.attempts_per_minute
    service.failures.take(f"address:{_network_of(client_of(request))}", per_minute, "wrong tokens")
    service.failures.take(f"secret:{secret[:BEGINNING]}", per_minute, "wrong tokens")


def _network_of(address: str) -> str:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:BEGINNING]
    return address if found.version == 4 else str(ipaddress.ip_network((int(found), NETWORK_BITS), strict=False))


def _secret_of(request: Request) -> str:
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and value:
        return value.strip()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            raise NotAuthenticated("the Authorization header is not basic auth") from None
    raise NotAuthenticated("the request shows no token")


COOKIE: Final = "alservice_session"


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """A person at the dashboard: the token that opened the session, the session's row, and the cookie's text."""

    token: Token
    kept: WebSession
    cookie: str

    @property
    def operates(self) -> bool:
        """Right to decide, not only to look."""
        return self.token.allows(Scope.OPERATE)

    @property
    def csrf(self) -> str:
        """The proof that this session's forms carry: it follows from the cookie, which other sites cannot read."""
        return hmac.new(self.cookie.encode(), b"form", hashlib.sha256).hexdigest()

    def check_csrf(self, proof: str) -> None:
        """Raise `NotAllowed` unless a form carries the proof of its session."""
        if not hmac.compare_digest(proof.encode(), self.csrf.encode()):
            raise NotAllowed("the form is not one of this session: reload the page and send it again")


def set_cookie(request: Request, response: Response, cookie: str, *, secure: bool) -> None:
    """Give a browser the cookie of its session, which no script reads and no other site sends along."""
    response.set_cookie(
        COOKIE,
        cookie,
        max_age=int(SESSION_LIFE.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=secure or request.url.scheme == "https",
    )


def delete_cookie(response: Response) -> None:
    """Take the cookie from a browser."""
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
