"""What the web service keeps: tokens, sessions, answered requests and pauses."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, ForeignKey, Integer, Table, Text

from alservice.access import Scope
from alservice.storage.columns import EnumText, UtcDateTime, identity, one_of, references
from alservice.storage.schema.metadata import metadata

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
    # The only campaign whose reductions it brings; null for all.
    Column("campaign_id", ForeignKey("campaigns.id")),
    # The secret before a rotation, good until then.
    Column("previous_digest", Text, unique=True),
    Column("previous_until", UtcDateTime),
    one_of("scope", Scope),
    CheckConstraint(f"campaign_id IS NULL OR scope = '{Scope.INGEST}'", name="campaign"),
    CheckConstraint("(previous_digest IS NULL) = (previous_until IS NULL)", name="previous"),
)

web_sessions = Table(
    "web_sessions",
    metadata,
    identity(),
    references("tokens", index=True),
    # Of the cookie; a session that ended is gone.
    Column("digest", Text, nullable=False, unique=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("last_seen_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("address", Text, nullable=False),
    Column("user_agent", Text, nullable=False),
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
