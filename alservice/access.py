"""Who may ask the web service for what: scopes, tokens and sessions as they are kept, and how secrets are made out."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from alservice.errors import BadInput, NotAllowed, NotAuthenticated

MAX_NAME = 100
"""Characters of a token's name, which stands in every event that it causes."""

PREFIX: Final = "als_"
"""Begins every token's secret, so that scanners of repositories and logs know one when they see it."""

SECRET_BYTES: Final = 32
"""Bytes of chance in a secret: no list of words comes near, so that a plain hash of it is enough."""

_TOKEN: Final = re.compile(PREFIX + r"[A-Za-z0-9_-]{43}")
_COOKIE: Final = re.compile(r"[A-Za-z0-9_-]{43}")


class Scope(StrEnum):
    """What a token may do."""

    READ = "read"  # look at everything
    OPERATE = "operate"  # look, decide, pause, resume, roll back
    INGEST = "ingest"  # bring reductions; sees nothing


_REACH: dict[Scope, frozenset[Scope]] = {
    Scope.READ: frozenset({Scope.READ}),
    Scope.OPERATE: frozenset({Scope.READ, Scope.OPERATE}),
    Scope.INGEST: frozenset({Scope.INGEST}),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """A token as it is kept: everything but the secret.

    Parameters
    ----------
    name
        Unique; the actor of what is done with it.
    expires_at
        End of its validity (UTC); None for no end.
    revoked_at, last_used_at
        None while it never happened; the last use is known to the minute.
    campaign_id
        The one campaign whose reductions it may bring; None for every campaign.
    previous_until
        End (UTC) of the secret before the present one; None when there is none.
    """

    id: int
    name: str
    scope: Scope
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    campaign_id: int | None = None
    previous_until: datetime | None = None

    @property
    def actor(self) -> str:
        """Who acts, for the audit."""
        return f"token:{self.name}"

    def state(self, now: datetime) -> str:
        """Return valid, expired or revoked."""
        if self.revoked_at is not None:
            return "revoked"
        return "valid" if self.expires_at is None or now < self.expires_at else "expired"

    def allows(self, needed: Scope) -> bool:
        """Return whether the scope reaches as far as needed."""
        return needed in _REACH.get(self.scope, ())


@dataclass(frozen=True, kw_only=True, slots=True)
class WebSession:
    """A person's stay at the dashboard as it is kept: everything but the cookie.

    Parameters
    ----------
    token_name
        The token that opened it; it may do what the token may, as long as the token may.
    last_seen_at
        To the minute (UTC).
    address, user_agent
        Where it was opened from, and with what browser, as that says; cut to what a list can show.
    """

    id: int
    token_id: int
    token_name: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    address: str
    user_agent: str


def check_valid(token: Token | None, now: datetime) -> Token:
    """Return the token; raises `NotAuthenticated` that says whether it is unknown, expired or revoked."""
    if token is None:
        raise NotAuthenticated("the token is unknown")
    state = token.state(now)
    if state != "valid":
        raise NotAuthenticated(f"the token {token.name} is {state}")
    return token


def check_scope(token: Token, needed: Scope) -> None:
    """Raise `NotAllowed` unless the token's scope reaches as far as needed."""
    if not token.allows(needed):
        raise NotAllowed(
            f"the token {token.name} has scope {token.scope}; this needs {needed}", scope=token.scope, needed=needed
        )


def check_token_name(name: str) -> None:
    """Raise `BadInput` unless the name is short, printable and not empty."""
    if not name.strip() or len(name) > MAX_NAME or not name.isprintable():
        raise BadInput(f"a token's name has 1 to {MAX_NAME} printable characters")


def is_token(secret: str) -> bool:
    """Return whether a secret has the form of a token's; nothing else is looked up."""
    return _TOKEN.fullmatch(secret) is not None


def is_cookie(secret: str) -> bool:
    """Return whether a secret has the form of a session's cookie; nothing else is looked up."""
    return _COOKIE.fullmatch(secret) is not None


def digest_of_secret(secret: str) -> str:
    """Return the sha256 (hex) under which a secret is kept and looked up.

    The secret has 256 random bits: no salt helps, and how long a look-up by its hash takes tells nothing about it.
    """
    return hashlib.sha256(secret.encode()).hexdigest()
