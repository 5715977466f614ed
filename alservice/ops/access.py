"""Tokens of the web service, and sessions opened with them: made, listed, ended and recognised."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from alservice.access import (
    MAX_NAME,
    PREFIX,
    SECRET_BYTES,
    Scope,
    Token,
    WebSession,
    check_token_name,
    check_valid,
    digest_of_secret,
    is_cookie,
    is_token,
)
from alservice.campaigns.policies import check_webhook_key
from alservice.campaigns.store import CampaignStore, Event, EventLog
from alservice.errors import BadInput, NotAuthenticated, NotFound
from alservice.ops.sessions import SqlSessionStore
from alservice.ops.tokens import SqlTokenStore
from alservice.progress import Clock
from alservice.texts import visible
from alservice.votes.caesar import WebhookStore

DEFAULT_DAYS: Final = 90
"""Days that a token is valid unless said otherwise."""

MAX_DAYS: Final = 3650

OVERLAP_HOURS: Final = 24
"""Hours for which the secret before a rotation is good unless said otherwise."""

MAX_OVERLAP_HOURS: Final = 24 * 30

SESSION_LIFE: Final = timedelta(hours=12)
"""A working day; the token's own end, or its revocation, comes first."""

MAX_ADDRESS: Final = 45
"""Characters of an address that are kept: an IPv6 address."""

MAX_USER_AGENT: Final = 200
"""Characters of a browser's name for itself that are kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WebhookLogin:
    """What Caesar's effect is configured with; the password, the token's secret, is shown once and stored nowhere.

    Parameters
    ----------
    user
        What the effect sends beside it: the service does not look at it.
    """

    path: str
    user: str
    token: Token
    password: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class AccessService:
    """Who may come in: tokens, sessions of browsers, and the login of Caesar's webhook."""

    campaigns: CampaignStore
    webhooks: WebhookStore
    events: EventLog
    tokens: SqlTokenStore
    sessions: SqlSessionStore
    clock: Clock

    def create(
        self,
        *,
        scope: Scope,
        expires_days: int = DEFAULT_DAYS,
        name: str | None = None,
        campaign: str | None = None,
        ends_others: bool = False,
    ) -> tuple[Token, str]:
        """Make a token; return it with its secret, which is kept nowhere.

        Parameters
        ----------
        expires_days
            0 for no end.
        campaign
            The only campaign whose reductions a token of scope ingest may bring.
        ends_others
            Whether that campaign's earlier tokens end.

        Raises
        ------
        BadInput
            The name, the number of days, or a campaign with this scope cannot be used.
        Conflict
            There is or was a token of that name.
        """
        now = self.clock()
        life = _life(expires_days)
        if campaign is not None and scope is not Scope.INGEST:
            raise BadInput(f"a token of one campaign has scope {Scope.INGEST}, not {scope}", field="campaign")
        chosen = name if name is not None else f"{scope}-{now:%Y%m%d}-{secrets.token_hex(3)}"
        check_token_name(chosen)
        secret = _new_secret()
        token = self.tokens.create(
            name=chosen,
            scope=scope,
            digest=digest_of_secret(secret),
            expires_at=None if life is None else now + life,
            campaign_id=None if campaign is None else self.campaigns.get(campaign).id,
            ends_others=ends_others,
        )
        return token, secret

    def rotate(
        self, name: str, *, overlap_hours: int = OVERLAP_HOURS, expires_days: int = DEFAULT_DAYS
    ) -> tuple[Token, str]:
        """Give a token another secret and another end; return both, while the secret before is good for the overlap.

        Raises
        ------
        BadInput, NotFound, Conflict
            A number cannot be used, there is no such token, or it is revoked.
        """
        if not 0 <= overlap_hours <= MAX_OVERLAP_HOURS:
            raise BadInput(f"an overlap has 0 to {MAX_OVERLAP_HOURS} hours, not {overlap_hours}", field="overlap_hours")
        life = _life(expires_days)
        secret = _new_secret()
        token = self.tokens.rotate(
            name,
            digest=digest_of_secret(secret),
            expires_at=None if life is None else self.clock() + life,
            overlap=timedelta(hours=overlap_hours),
        )
        return token, secret

    def list(self) -> Sequence[Token]:
        """Return all tokens, newest first."""
        return self.tokens.list()

    def revoke(self, name: str) -> Token:
        """End a token now, and the sessions that were opened with it. Raises `NotFound`."""
        return self.tokens.revoke(name)

    def recognise(self, secret: str) -> Token:
        """Return the valid token of a secret; raises `NotAuthenticated`, without a look-up for what is no token's."""
        store = self.tokens
        token = check_valid(store.find(digest_of_secret(secret)) if is_token(secret) else None, self.clock())
        store.used(token)
        return token

    def open_session(self, token: Token, *, address: str, user_agent: str) -> str:
        """Open a session with a token; return the cookie's text, which is kept nowhere."""
        cookie = secrets.token_urlsafe(SECRET_BYTES)
        self.sessions.open(
            token,
            digest=digest_of_secret(cookie),
            expires_at=self.clock() + SESSION_LIFE,
            address=visible(address[:MAX_ADDRESS], one_line=True),
            user_agent=visible(user_agent[:MAX_USER_AGENT], one_line=True),
        )
        return cookie

    def recognise_session(self, cookie: str) -> tuple[WebSession, Token]:
        """Return the session of a cookie with its valid token; raises `NotAuthenticated`."""
        store = self.sessions
        found = store.find(digest_of_secret(cookie)) if is_cookie(cookie) else None
        if found is None:
            raise NotAuthenticated("the session is over: log in again")
        session, token = found
        check_valid(token, self.clock())
        store.seen(session)
        self.tokens.used(token)
        return session, token

    def list_sessions(self, *, token: Token | None = None) -> Sequence[WebSession]:
        """Return live sessions, of one token or of all, newest first."""
        return self.sessions.list(token_id=None if token is None else token.id)

    def end_cookie(self, cookie: str) -> None:
        """End the session of a cookie, if it is one."""
        if is_cookie(cookie):
            self.sessions.end(digest=digest_of_secret(cookie))

    def end_session(self, session_id: int, *, token: Token | None = None) -> None:
        """End one session, of this token if one is given; raises `NotFound`."""
        if not self.sessions.end(session_id=session_id, token_id=None if token is None else token.id):
            raise NotFound(f"there is no session {session_id}", session=session_id)

    def end_sessions(self, *, token_name: str | None = None) -> int:
        """End every session, of one token if it is named; return how many ended. Raises `NotFound`."""
        if token_name is not None and token_name not in {token.name for token in self.list()}:
            raise NotFound(f"there is no token {token_name!r}", name=token_name)
        return self.sessions.end(token_name=token_name)

    def issue_webhook(self, name: str, *, key: str | None, expires_days: int, actor: str) -> WebhookLogin:
        """Open a campaign's webhook under a key, its name by default, with a token of scope ingest for it alone.

        Tokens that were made for the campaign before end: `rotate` is the change with an overlap.
        """
        row = self.campaigns.get(name)
        key = check_webhook_key(key or name)
        self.webhooks.save(row.id, key=key)
        ending = f"-{secrets.token_hex(3)}"
        token, secret = self.create(
            scope=Scope.INGEST,
            expires_days=expires_days,
            name=f"caesar-{name}"[: MAX_NAME - len(ending)] + ending,
            campaign=name,
            ends_others=True,
        )
        login = WebhookLogin(path=f"/caesar/reductions/{key}", user="caesar", token=token, password=secret)
        self.events.record(
            Event(
                campaign_id=row.id,
                cycle_id=None,
                at=self.clock(),
                actor=actor,
                kind="webhook.issued",
                detail={"key": key, "token": token.name},
            )
        )
        return login


def _life(days: int) -> timedelta | None:
    if not 0 <= days <= MAX_DAYS:
        raise BadInput(f"a token is valid for 1 to {MAX_DAYS} days, or 0 for no end, not {days}", field="expires_days")
    return timedelta(days=days) if days else None


def _new_secret() -> str:
    return PREFIX + secrets.token_urlsafe(SECRET_BYTES)
