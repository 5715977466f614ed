"""What the web service keeps: tokens, answered requests, pauses, and votes per hour."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Connection, Integer, Table, Text, event, text

from alservice.adapters.sql.columns import EnumText, UtcDateTime, counts, identity, one_of, references
from alservice.adapters.sql.schema.classifications import classifications
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

ingest_hours = Table(
    "ingest_hours",
    metadata,
    references("campaigns", primary_key=True),
    Column("hour", UtcDateTime, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("classifications", BigInteger, nullable=False),
    counts("classifications"),
)

COUNT_HOURS: Final = (
    """
CREATE FUNCTION count_ingest_hours() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ingest_hours (campaign_id, hour, source, classifications)
    SELECT campaign_id, date_trunc('hour', received_at, 'UTC'), source, count(*)
    FROM arrived GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (campaign_id, hour, source)
        DO UPDATE SET classifications = ingest_hours.classifications + excluded.classifications;
    RETURN NULL;
END $$
""",
    """
CREATE TRIGGER count_hours AFTER INSERT ON classifications
    REFERENCING NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION count_ingest_hours()
""",
)
"""Counted where rows arrive, so that no page has to count 50 million of them."""


@event.listens_for(classifications, "after_create")
def _count_hours(_: Table, connection: Connection, **__: object) -> None:
    for statement in COUNT_HOURS:
        connection.execute(text(statement))
