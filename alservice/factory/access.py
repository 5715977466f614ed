"""Tokens of the web service: made, listed, revoked and recognised."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import timedelta

from alservice.adapters.sql.tokens import SqlTokenStore
from alservice.core.access import Scope, Token, check_token_name, check_valid, digest_of_secret
from alservice.errors import BadInput
from alservice.factory.jobs import Factory

PREFIX = "als_"
"""Begins every secret, so that scanners of repositories and logs know one when they see it."""

MAX_SECRET = 200
"""Characters of a secret that is looked up; ours have 47."""


def create_token(factory: Factory, *, scope: Scope, expires_days: int | None, name: str | None) -> tuple[Token, str]:
    """Make a token; return it with its secret, which is kept nowhere.

    Raises
    ------
    BadInput
        The name or the number of days cannot be used.
    Conflict
        There is or was a token of that name.
    """
    now = factory.clock()
    if expires_days is not None and not 1 <= expires_days <= 3650:
        raise BadInput(f"a token is valid for 1 to 3650 days, not {expires_days}")
    chosen = name if name is not None else f"{scope}-{now:%Y%m%d}-{secrets.token_hex(3)}"
    check_token_name(chosen)
    secret = PREFIX + secrets.token_urlsafe(32)
    end = None if expires_days is None else now + timedelta(days=expires_days)
    token = _store(factory).create(name=chosen, scope=scope, digest=digest_of_secret(secret), expires_at=end)
    return token, secret


def list_tokens(factory: Factory) -> Sequence[Token]:
    """Return all tokens, newest first."""
    return _store(factory).list()


def revoke_token(factory: Factory, name: str) -> Token:
    """End a token now; sessions that were opened with it end too. Raises `NotFound`."""
    return _store(factory).revoke(name)


def recognise(factory: Factory, secret: str) -> Token:
    """Return the valid token of a secret; raises `NotAuthenticated`."""
    store = _store(factory)
    found = store.find(digest_of_secret(secret)) if len(secret) <= MAX_SECRET else None
    return _used(store, check_valid(found, factory.clock()))


def recognise_id(factory: Factory, token_id: int) -> Token:
    """Return the valid token that a session was opened with; raises `NotAuthenticated`."""
    store = _store(factory)
    return _used(store, check_valid(store.get(token_id), factory.clock()))


def _used(store: SqlTokenStore, token: Token) -> Token:
    store.used(token)
    return token


def _store(factory: Factory) -> SqlTokenStore:
    return SqlTokenStore(factory.engine, factory.clock)
