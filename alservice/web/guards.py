"""Who asks: tokens of programs, sessions of people, and how often either may."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import HTTPBearer

from alservice.core.access import Scope, Token, check_scope
from alservice.errors import NotAllowed, NotAuthenticated
from alservice.factory.access import recognise, recognise_id
from alservice.web.service import Service, service_of
from alservice.web.sessions import COOKIE, Session

_BEARER = HTTPBearer(auto_error=False, description="A token made with `alservice token create`.")


def token_with(scope: Scope) -> Callable[..., Token]:
    """Return a dependency that yields the request's token, of at least a scope.

    The token comes as ``Authorization: Bearer TOKEN``, or as the password of basic auth, which is what Caesar sends.
    """

    def find(request: Request, _: Annotated[object, Security(_BEARER)]) -> Token:
        service = service_of(request)
        token = _recognised(service, request, _secret_of(request))
        service.limiter.take(f"token:{token.id}", service.limits.requests_per_minute)
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
    token = recognise_id(service.factory, service.sessions.token_id(cookie))
    service.limiter.take(f"token:{token.id}", service.limits.requests_per_minute)
    check_scope(token, Scope.READ)
    request.state.session = Session(token=token, cookie=cookie)
    request.state.actor = token.actor
    return Session(token=token, cookie=cookie)


def log_in(service: Service, request: Request, secret: str) -> Token:
    """Return the token of a person who logs in; one that may not look at pages is refused."""
    token = _recognised(service, request, secret)
    check_scope(token, Scope.READ)
    return token


def check_same_origin(request: Request) -> None:
    """Raise `NotAllowed` for a form that another site's page sent, as browsers tell it."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    elsewhere = origin is not None and origin.partition("://")[2] != request.headers.get("host")
    if site not in {"same-origin", "none"} or elsewhere:
        raise NotAllowed("the form comes from another site")


def _recognised(service: Service, request: Request, secret: str) -> Token:
    """Return the valid token of a secret; wrong ones are counted by address, so that nobody can try many."""
    client = f"address:{request.client.host if request.client else 'unknown'}"
    service.limiter.check(client, service.limits.attempts_per_minute)
    try:
        return recognise(service.factory, secret)
    except NotAuthenticated:
        service.limiter.take(client, service.limits.attempts_per_minute)
        raise


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
