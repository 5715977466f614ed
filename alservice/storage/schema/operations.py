"""What running the service needs: who works on a campaign, runs of cycles, and what calls to the world cost."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Double, Index, Integer, Table, Text

from alservice.campaigns.cycle import WORKING, CycleState
from alservice.storage.columns import EnumText, UtcDateTime, counts, one_of, references
from alservice.storage.schema.metadata import metadata

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
