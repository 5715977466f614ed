"""What the web service keeps: tokens, answered requests and pauses."""

from __future__ import annotations

from sqlalchemy import Column, Integer, Table, Text

from alservice.adapters.sql.columns import EnumText, UtcDateTime, identity, one_of, references
from alservice.adapters.sql.schema.metadata import metadata
from alservice.core.access import Scope

tokens = Table(
    "tokens",
    metadata,
    identity(),
    Column("name", Text, nullable=False, unique=True),
    Column("scope", EnumText(Scope), nullable=False),
    Column("digest", Text, nullable=False, unique=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    Column("last_used_at", UtcDateTime),
    one_of("scope", Scope),
)

answered_requests = Table(
    "answered_requests",
    metadata,
    references("tokens", primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_digest", Text, nullable=False),
    # Null while the first request is at work.
    Column("status", Integer),
    Column("answer", Text),
    Column("claimed_at", UtcDateTime, nullable=False),
)

campaign_pauses = Table(
    "campaign_pauses",
    metadata,
    references("campaigns", primary_key=True),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)
