"""The audit, which nobody can change."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Connection, ForeignKey, Index, Table, Text, event, text
from sqlalchemy.dialects.postgresql import JSONB

from alservice.storage.columns import UtcDateTime, identity, references
from alservice.storage.schema.metadata import metadata

events = Table(
    "events",
    metadata,
    identity(),
    references("campaigns"),
    Column("cycle_id", ForeignKey("cycles.id")),
    Column("at", UtcDateTime, nullable=False),
    Column("actor", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("detail", JSONB, nullable=False),
    Index(None, "campaign_id", "id"),
    Index(None, "cycle_id", "id"),
)


@event.listens_for(events, "after_create")
def _make_append_only(_: Table, connection: Connection, **__: object) -> None:
    for statement in APPEND_ONLY:
        connection.execute(text(statement))


APPEND_ONLY: Final = (
    """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'table % is append-only: % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'integrity_constraint_violation';
END $$
""",
    """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
""",
)
