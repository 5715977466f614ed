"""Tokens of the web service, and the requests that were answered once and are not done twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Connection, Engine, delete, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from alservice.access import Scope, Token
from alservice.errors import Conflict, KeyReused, NotFound
from alservice.ops import schema
from alservice.progress import Clock
from alservice.storage.postgres import columns_of, transaction

USE_RESOLUTION: Final = timedelta(minutes=1)
"""Least time between two records of a token's last use: a busy client must not write with every read."""

CLAIM_LIFE: Final = timedelta(minutes=5)
"""Age at which a request that never answered counts as dead; what it asked for is guarded by state of its own."""

_TOKENS = schema.tokens
_COLUMNS = columns_of(_TOKENS, Token)
_SESSIONS = schema.web_sessions
_ANSWERS = schema.answered_requests


class SqlTokenStore:
    """Tokens in Postgres, without their secrets."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def create(
        self,
        *,
        name: str,
        scope: Scope,
        digest: str,
        expires_at: datetime | None,
        campaign_id: int | None = None,
        ends_others: bool = False,
    ) -> Token:
        """Keep a new token; raises `Conflict` when the name was ever used.

        Parameters
        ----------
        ends_others
            Whether the campaign's earlier tokens end with it, in the same transaction.
        """
        now = self._clock()
        new = upsert(_TOKENS).values(
            name=name, scope=scope, digest=digest, created_at=now, expires_at=expires_at, campaign_id=campaign_id
        )
        new = new.on_conflict_do_nothing(index_elements=["name"])
        with transaction(self._engine) as connection:
            if ends_others:
                _end(connection, (_TOKENS.c.campaign_id == campaign_id) & _TOKENS.c.revoked_at.is_(None), now)
            row = connection.execute(new.returning(*_COLUMNS)).mappings().one_or_none()
        if row is None:
            raise Conflict(f"there is or was a token {name!r}: events name it, so choose another name", name=name)
        return Token(**row)

    def list(self) -> Sequence[Token]:
        """Return all tokens, newest first."""
        with transaction(self._engine) as connection:
            rows = connection.execute(select(*_COLUMNS).order_by(_TOKENS.c.id.desc())).mappings()
            return [Token(**row) for row in rows]

    def revoke(self, name: str) -> Token:
        """End a token and its sessions now; one that is revoked stays as it is. Raises `NotFound`."""
        with transaction(self._engine) as connection:
            _end(connection, (_TOKENS.c.name == name) & _TOKENS.c.revoked_at.is_(None), self._clock())
            row = connection.execute(select(*_COLUMNS).where(_TOKENS.c.name == name)).mappings().one_or_none()
        if row is None:
            raise NotFound(f"there is no token {name!r}", name=name)
        return Token(**row)

    def rotate(self, name: str, *, digest: str, expires_at: datetime | None, overlap: timedelta) -> Token:
        """Give a token another secret; the one before is good for the overlap, at most to the end it had.

        Without an overlap its sessions end too: whoever knows the old secret may have opened them.

        Raises
        ------
        NotFound, Conflict
            There is no such token, or it is revoked.
        """
        now = self._clock()
        with transaction(self._engine) as connection:
            old = connection.execute(select(_TOKENS).where(_TOKENS.c.name == name).with_for_update()).one_or_none()
            if old is None:
                raise NotFound(f"there is no token {name!r}", name=name)
            if old.revoked_at is not None:
                raise Conflict(f"the token {name} is revoked: make another one", name=name)
            until = now + overlap if old.expires_at is None else min(now + overlap, old.expires_at)
            goes_on = until > now
            changed = update(_TOKENS).where(_TOKENS.c.id == old.id)
            changed = changed.values(
                digest=digest,
                expires_at=expires_at,
                previous_digest=old.digest if goes_on else None,
                previous_until=until if goes_on else None,
            )
            if not goes_on:
                connection.execute(delete(_SESSIONS).where(_SESSIONS.c.token_id == old.id))
            return Token(**connection.execute(changed.returning(*_COLUMNS)).mappings().one())

    def find(self, digest: str) -> Token | None:
        """Return the token of a secret's digest, of the present secret or of the one before while that is good."""
        before = (_TOKENS.c.previous_digest == digest) & (_TOKENS.c.previous_until > self._clock())
        return self._one((_TOKENS.c.digest == digest) | before)

    def used(self, token: Token) -> None:
        """Record that a token was used just now, to the minute."""
        now = self._clock()
        if token.last_used_at is not None and now < token.last_used_at + USE_RESOLUTION:
            return
        with transaction(self._engine) as connection:
            connection.execute(update(_TOKENS).where(_TOKENS.c.id == token.id).values(last_used_at=now))

    def _one(self, condition: ColumnElement[bool]) -> Token | None:
        with transaction(self._engine) as connection:
            row = connection.execute(select(*_COLUMNS).where(condition)).mappings().one_or_none()
        return None if row is None else Token(**row)


def _end(connection: Connection, those: ColumnElement[bool], now: datetime) -> None:
    ended = update(_TOKENS).where(those).values(revoked_at=now, previous_digest=None, previous_until=None)
    ids = connection.scalars(ended.returning(_TOKENS.c.id)).all()
    connection.execute(delete(_SESSIONS).where(_SESSIONS.c.token_id.in_(ids)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a request was answered: an HTTP status, and the body as JSON text."""

    status: int
    body: str


class SqlAnswers:
    """Answers of one token's requests by idempotency key."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def claim(self, token_id: int, key: str, digest: str) -> Answer | None:
        """Take a key for a request, or return what the same request was answered before.

        Raises
        ------
        KeyReused
            The key came with another request.
        Conflict
            The same request is at work right now.
        """
        now = self._clock()
        mine = _ANSWERS.c.token_id == token_id, _ANSWERS.c.key == key
        new = upsert(_ANSWERS).values(token_id=token_id, key=key, request_digest=digest, claimed_at=now)
        is_dead = _ANSWERS.c.status.is_(None) & (_ANSWERS.c.claimed_at < now - CLAIM_LIFE)
        taken = new.on_conflict_do_update(
            index_elements=["token_id", "key"],
            set_={"claimed_at": now},
            where=is_dead & (_ANSWERS.c.request_digest == digest),
        )
        with transaction(self._engine) as connection:
            if connection.scalar(taken.returning(_ANSWERS.c.token_id)) is not None:
                return None
            row = connection.execute(select(_ANSWERS).where(*mine)).one()
        if row.request_digest != digest:
            raise KeyReused(f"the idempotency key {key!r} came with another request before", key=key)
        if row.status is None:
            raise Conflict(f"the request with idempotency key {key!r} is at work", key=key)
        return Answer(status=row.status, body=row.answer)

    def save(self, token_id: int, key: str, answer: Answer) -> None:
        """Keep the answer to a claimed request."""
        mine = _ANSWERS.c.token_id == token_id, _ANSWERS.c.key == key
        with transaction(self._engine) as connection:
            connection.execute(update(_ANSWERS).where(*mine).values(status=answer.status, answer=answer.body))

    def release(self, token_id: int, key: str) -> None:
        """Forget a claim whose request did nothing, so that it can be sent again."""
        mine = _ANSWERS.c.token_id == token_id, _ANSWERS.c.key == key, _ANSWERS.c.status.is_(None)
        with transaction(self._engine) as connection:
            connection.execute(delete(_ANSWERS).where(*mine))
