"""Sessions of the dashboard as a request shows them: the cookie, and proof that a form is ours."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

from fastapi import Request, Response

from alservice.access import Scope, Token, WebSession
from alservice.app.access import SESSION_LIFE
from alservice.errors import NotAllowed

COOKIE: Final = "alservice_session"


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """A person at the dashboard: the token that opened the session, the session's row, and the cookie's text."""

    token: Token
    kept: WebSession
    cookie: str

    @property
    def operates(self) -> bool:
        """Whether the person may decide, not only look."""
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
