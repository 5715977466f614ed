"""Sessions of the dashboard: a signed cookie that names a token, and proof that a form is ours."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from alservice.core.access import Scope, Token
from alservice.errors import NotAllowed, NotAuthenticated

COOKIE: Final = "alservice_session"
LIFE: Final = timedelta(hours=12)
"""A working day; the token's own end, or its revocation, comes first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """A person at the dashboard: the token that opened it, and the cookie's text."""

    token: Token
    cookie: str

    @property
    def operates(self) -> bool:
        """Whether the person may decide, not only look."""
        return self.token.allows(Scope.OPERATE)


class Sessions:
    """Makes and reads cookies; nothing is kept, so that any process with the key can."""

    def __init__(self, key: bytes, clock: Callable[[], datetime]) -> None:
        self._key = key
        self._clock = clock

    def open(self, token: Token) -> str:
        """Return the cookie of a new session."""
        end = int((self._clock() + LIFE).timestamp())
        said = f"{token.id}.{end}"
        return f"{said}.{self._sign('session', said)}"

    def token_id(self, cookie: str) -> int:
        """Return the token that a cookie names; raises `NotAuthenticated` unless it is ours and young enough."""
        said, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign("session", said).encode()):
            raise NotAuthenticated("the session is not one of this service")
        token_id, _, end = said.partition(".")
        if datetime.fromtimestamp(int(end), UTC) <= self._clock():
            raise NotAuthenticated("the session is over: log in again")
        return int(token_id)

    def csrf(self, session: Session) -> str:
        """Return the proof that a session's forms carry."""
        return self._sign("form", session.cookie)

    def check_csrf(self, session: Session, proof: str) -> None:
        """Raise `NotAllowed` unless a form carries the proof of its session."""
        if not hmac.compare_digest(proof.encode(), self.csrf(session).encode()):
            raise NotAllowed("the form is not one of this session: reload the page and send it again")

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.new(self._key, f"{purpose}:{text}".encode(), hashlib.sha256).hexdigest()
