"""Who may ask the web service for what: scopes, tokens as they are kept, and how a secret is compared."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from alservice.errors import BadInput, NotAllowed, NotAuthenticated

MAX_NAME = 100
"""Characters of a token's name, which stands in every event that it causes."""


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
    """

    id: int
    name: str
    scope: Scope
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

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
        return needed in _REACH[self.scope]

    def document(self) -> dict[str, Any]:
        """Return the record as a JSON document."""
        times = ("created_at", "expires_at", "revoked_at", "last_used_at")
        at = {name: None if (t := getattr(self, name)) is None else t.isoformat() for name in times}
        return {"id": self.id, "name": self.name, "scope": str(self.scope), **at}


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


def digest_of_secret(secret: str) -> str:
    """Return the sha256 (hex) under which a token's secret is kept; the secret has 256 random bits, no salt helps."""
    return hashlib.sha256(secret.encode()).hexdigest()
