"""What running the service needs: who works on a campaign, and what calls to the world cost."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Double, Integer, Table, Text

from alservice.adapters.sql.columns import UtcDateTime, counts, references
from alservice.adapters.sql.schema.metadata import metadata

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
