"""Tokens of the web service, and the requests that were answered once and are not done twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Engine, delete, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from alservice.adapters.sql import schema
from alservice.adapters.sql.engine import transaction
from alservice.adapters.sql.rows import columns_of
from alservice.core.access import Scope, Token
from alservice.errors import Conflict, KeyReused, NotFound
from alservice.ports import Clock

USE_RESOLUTION: Final = timedelta(minutes=1)
"""Least time between two records of a token's last use: a busy client must not write with every read."""

CLAIM_LIFE: Final = timedelta(minutes=5)
"""Age at which a request that never answered counts as dead; what it asked for is guarded by state of its own."""

_TOKENS = schema.tokens
_COLUMNS = columns_of(_TOKENS, Token)
_ANSWERS = schema.answered_requests


class SqlTokenStore:
    """Tokens in Postgres, without their secrets."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def create(self, *, name: str, scope: Scope, digest: str, expires_at: datetime | None) -> Token:
        """Keep a new token; raises `Conflict` when the name was ever used."""
        new = upsert(_TOKENS).values(
            name=name, scope=scope, digest=digest, created_at=self._clock(), expires_at=expires_at
        )
        new = new.on_conflict_do_nothing(index_elements=["name"])
        with transaction(self._engine) as connection:
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
        """End a token now; one that is revoked stays as it is. Raises `NotFound`."""
        now = self._clock()
        ended = update(_TOKENS).where(_TOKENS.c.name == name, _TOKENS.c.revoked_at.is_(None)).values(revoked_at=now)
        with transaction(self._engine) as connection:
            connection.execute(ended)
            row = connection.execute(select(*_COLUMNS).where(_TOKENS.c.name == name)).mappings().one_or_none()
        if row is None:
            raise NotFound(f"there is no token {name!r}", name=name)
        return Token(**row)

    def find(self, digest: str) -> Token | None:
        """Return the token of a secret's digest."""
        return self._one(_TOKENS.c.digest == digest)

    def get(self, token_id: int) -> Token | None:
        """Return a token by id."""
        return self._one(_TOKENS.c.id == token_id)

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
