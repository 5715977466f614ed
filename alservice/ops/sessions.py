"""Sessions of the dashboard in Postgres: every process of the service knows them, and one that ended is gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Engine, delete, insert, select, update

from alservice.access import Token, WebSession
from alservice.ops import schema
from alservice.ops.tokens import USE_RESOLUTION
from alservice.progress import Clock
from alservice.storage.postgres import columns_of, transaction

MAX_SESSIONS: Final = 50
"""Sessions of one token: opening another ends the oldest."""

_TOKENS = schema.tokens
_SESSIONS = schema.web_sessions
_LISTED = select(
    *(_TOKENS.c.name.label(f.name) if f.name == "token_name" else _SESSIONS.c[f.name] for f in fields(WebSession))
).join_from(_SESSIONS, _TOKENS)


class SqlSessionStore:
    """Sessions by the digest of their cookie."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def open(self, token: Token, *, digest: str, expires_at: datetime, address: str, user_agent: str) -> None:
        """Keep a new session; those that are over, or too many of this token, go."""
        now, table = self._clock(), _SESSIONS
        row = {
            "token_id": token.id,
            "digest": digest,
            "created_at": now,
            "last_seen_at": now,
            "expires_at": expires_at,
            "address": address,
            "user_agent": user_agent,
        }
        newest = select(table.c.id).where(table.c.token_id == token.id).order_by(table.c.id.desc()).limit(MAX_SESSIONS)
        too_many = (table.c.token_id == token.id) & table.c.id.not_in(newest.scalar_subquery())
        with transaction(self._engine) as connection:
            connection.execute(insert(table).values(row))
            connection.execute(delete(table).where((table.c.expires_at <= now) | too_many))

    def find(self, digest: str) -> tuple[WebSession, Token] | None:
        """Return the session of a cookie's digest with the token that opened it; None for one that is over."""
        live = (_SESSIONS.c.digest == digest) & (_SESSIONS.c.expires_at > self._clock())
        with transaction(self._engine) as connection:
            row = connection.execute(_LISTED.where(live)).mappings().one_or_none()
            if row is None:
                return None
            wanted = select(*columns_of(_TOKENS, Token)).where(_TOKENS.c.id == row["token_id"])
            return WebSession(**row), Token(**connection.execute(wanted).mappings().one())

    def seen(self, session: WebSession) -> None:
        """Record that a session was used just now, to the minute."""
        now = self._clock()
        if now >= session.last_seen_at + USE_RESOLUTION:
            with transaction(self._engine) as connection:
                connection.execute(update(_SESSIONS).where(_SESSIONS.c.id == session.id).values(last_seen_at=now))

    def list(self, *, token_id: int | None = None) -> Sequence[WebSession]:
        """Return live sessions, of one token or of all, newest first."""
        wanted = _LISTED.where(_SESSIONS.c.expires_at > self._clock()).order_by(_SESSIONS.c.id.desc())
        if token_id is not None:
            wanted = wanted.where(_SESSIONS.c.token_id == token_id)
        with transaction(self._engine) as connection:
            return [WebSession(**row) for row in connection.execute(wanted).mappings()]

    def end(
        self,
        *,
        session_id: int | None = None,
        digest: str | None = None,
        token_id: int | None = None,
        token_name: str | None = None,
    ) -> int:
        """End the sessions that are all of what is given, every one when nothing is; return how many ended."""
        those: list[ColumnElement[bool]] = []
        if session_id is not None:
            those.append(_SESSIONS.c.id == session_id)
        if digest is not None:
            those.append(_SESSIONS.c.digest == digest)
        if token_id is not None:
            those.append(_SESSIONS.c.token_id == token_id)
        if token_name is not None:
            those.append(_SESSIONS.c.token_id.in_(select(_TOKENS.c.id).where(_TOKENS.c.name == token_name)))
        with transaction(self._engine) as connection:
            return connection.execute(delete(_SESSIONS).where(*those)).rowcount
