"""Counts kept in the transactions that write what is counted, so that no page has to count millions of rows."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    ForeignKey,
    Integer,
    SmallInteger,
    Table,
    Text,
    event,
    text,
)

from alservice.access import Scope
from alservice.states import SubjectState
from alservice.storage.postgres import EnumText, UtcDateTime, counts, identity, metadata, one_of, references
from alservice.subjects.schema import subjects
from alservice.votes.schema import classifications

ingest_hours = Table(
    "ingest_hours",
    metadata,
    references("campaigns", primary_key=True),
    Column("hour", UtcDateTime, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("classifications", BigInteger, nullable=False),
    counts("classifications"),
)

ingest_totals = Table(
    "ingest_totals",
    metadata,
    references("campaigns", primary_key=True),
    Column("source", Text, primary_key=True),
    Column("classifications", BigInteger, nullable=False),
    counts("classifications"),
)

subject_counts = Table(
    "subject_counts",
    metadata,
    references("campaigns", primary_key=True),
    Column("state", EnumText(SubjectState), primary_key=True),
    # Of the connection that counted: the threads of a publisher do not wait for each other's commits.
    Column("slot", SmallInteger, primary_key=True),
    # What this slot added: below zero where others added what it took away. Their sum counts.
    Column("subjects", BigInteger, nullable=False),
    one_of("state", SubjectState),
)

COUNT_INGEST: Final = (
    """
CREATE FUNCTION count_ingest_hours() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ingest_hours (campaign_id, hour, source, classifications)
    SELECT campaign_id, date_trunc('hour', received_at, 'UTC'), source, count(*)
    FROM arrived GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (campaign_id, hour, source)
        DO UPDATE SET classifications = ingest_hours.classifications + excluded.classifications;
    INSERT INTO ingest_totals (campaign_id, source, classifications)
    SELECT campaign_id, source, count(*) FROM arrived GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (campaign_id, source)
        DO UPDATE SET classifications = ingest_totals.classifications + excluded.classifications;
    RETURN NULL;
END $$
""",
    """
CREATE TRIGGER count_hours AFTER INSERT ON classifications
    REFERENCING NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION count_ingest_hours()
""",
)
"""Rows count in the hour and for the source they arrived by; nothing is taken away."""

COUNT_SUBJECTS: Final = (
    """
CREATE FUNCTION count_new_subjects() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO subject_counts (campaign_id, state, slot, subjects)
    SELECT campaign_id, state, pg_backend_pid() % 32, count(*) FROM came GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (campaign_id, state, slot)
        DO UPDATE SET subjects = subject_counts.subjects + excluded.subjects;
    RETURN NULL;
END $$
""",
    """
CREATE FUNCTION count_moved_subjects() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO subject_counts (campaign_id, state, slot, subjects)
    SELECT campaign_id, state, pg_backend_pid() % 32, sum(n)
    FROM (SELECT campaign_id, state, 1 AS n FROM came UNION ALL SELECT campaign_id, state, -1 FROM gone) AS moved
    GROUP BY 1, 2 HAVING sum(n) <> 0 ORDER BY 1, 2
    ON CONFLICT (campaign_id, state, slot)
        DO UPDATE SET subjects = subject_counts.subjects + excluded.subjects;
    RETURN NULL;
END $$
""",
    """
CREATE FUNCTION keep_subjects() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the upload ledger keeps its rows: % is refused', TG_OP
        USING ERRCODE = 'integrity_constraint_violation';
END $$
""",
    """
CREATE TRIGGER count_new AFTER INSERT ON subjects
    REFERENCING NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION count_new_subjects()
""",
    """
CREATE TRIGGER count_moved AFTER UPDATE ON subjects
    REFERENCING OLD TABLE AS gone NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION count_moved_subjects()
""",
    """
CREATE TRIGGER keep BEFORE DELETE OR TRUNCATE ON subjects
    FOR EACH STATEMENT EXECUTE FUNCTION keep_subjects()
""",
)
"""Whatever moves rows of the ledger moves their counts; none is ever deleted, or its galaxy could be asked twice."""


@event.listens_for(classifications, "after_create")
def _count_ingest(_: Table, connection: Connection, **__: object) -> None:
    for statement in COUNT_INGEST:
        connection.execute(text(statement))


@event.listens_for(subjects, "after_create")
def _count_subjects(_: Table, connection: Connection, **__: object) -> None:
    for statement in COUNT_SUBJECTS:
        connection.execute(text(statement))


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
