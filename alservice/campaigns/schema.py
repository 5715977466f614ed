"""What running the service needs: who works on a campaign, runs of cycles, and what calls to the world cost."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from alservice.campaigns.cycle import CYCLES, WORKING, CycleKind, CycleState
from alservice.storage.postgres import EnumText, UtcDateTime, counts, identity, metadata, one_of, quoted, references

campaigns = Table("campaigns", metadata, identity(), Column("name", Text, nullable=False, unique=True))

campaign_versions = Table(
    "campaign_versions",
    metadata,
    references("campaigns", primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("document", JSONB, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

_NOT_STOPPED = {*WORKING, CycleState.DONE}

cycles = Table(
    "cycles",
    metadata,
    identity(),
    references("campaigns"),
    Column("campaign_version", Integer, nullable=False),
    references("catalogues"),
    Column("number", Integer, nullable=False),
    Column("kind", EnumText(CycleKind), nullable=False),
    Column("state", EnumText(CycleState), nullable=False),
    Column("left_from", EnumText(CycleState)),
    Column("champion_id", ForeignKey("models.id", use_alter=True)),
    Column("candidate_id", ForeignKey("models.id", use_alter=True)),
    Column("deadline", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    ForeignKeyConstraint(
        ["campaign_id", "campaign_version"], ["campaign_versions.campaign_id", "campaign_versions.version"]
    ),
    UniqueConstraint("campaign_id", "number"),
    Index("uq_cycles_open", "campaign_id", unique=True, postgresql_where=text("state <> 'done'")),
    CheckConstraint("number >= 0", name="number"),
    one_of("kind", CycleKind),
    one_of("state", CYCLES.transitions),
    one_of("left_from", WORKING),
    CheckConstraint(f"(left_from IS NULL) = (state IN ({quoted(_NOT_STOPPED)}))", name="resumable"),
)

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

leases = Table(
    "leases",
    metadata,
    references("campaigns", primary_key=True),
    Column("token", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_s", Double, nullable=False),
    Column("acquired_at", UtcDateTime, nullable=False),
    Column("heartbeat_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    CheckConstraint("acquired_at <= heartbeat_at AND heartbeat_at <= expires_at", name="times"),
)

cycle_runs = Table(
    "cycle_runs",
    metadata,
    references("cycles", primary_key=True),
    Column("run_id", Text, primary_key=True),
    Column("flow", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("began_at", UtcDateTime, nullable=False),
    Index("ix_cycle_runs_newest", "cycle_id", "flow", "began_at"),
)

sent_steps = Table(
    "sent_steps",
    metadata,
    references("campaigns", primary_key=True),
    references("cycles"),
    Column("step", EnumText(CycleState), nullable=False),
    Column("token", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("sent_at", UtcDateTime, nullable=False),
    # Of the run that took it up; null until it reports.
    Column("worker", Text),
    Column("place", Text),
    Column("heard_at", UtcDateTime),
    one_of("step", WORKING),
    CheckConstraint("attempt >= 1", name="attempt"),
    CheckConstraint("(heard_at IS NULL) = (worker IS NULL) AND (worker IS NULL) = (place IS NULL)", name="heard"),
)

call_totals = Table(
    "call_totals",
    metadata,
    Column("adapter", Text, primary_key=True),
    Column("call", Text, primary_key=True),
    Column("outcome", Text, primary_key=True),
    Column("calls", BigInteger, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    counts("calls", "seconds"),
)

campaign_pauses = Table(
    "campaign_pauses",
    metadata,
    references("campaigns", primary_key=True),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)
