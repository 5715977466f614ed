"""What comes in beside the listing: Caesar's reductions and their doors, and which exports were read."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Integer, Table, Text

from alservice.storage.columns import ByteText, UtcDateTime, counts, references
from alservice.storage.schema.metadata import metadata

webhooks = Table(
    "webhooks",
    metadata,
    references("campaigns", primary_key=True),
    # Its address; tokens of scope ingest open it.
    Column("key", Text, nullable=False, unique=True),
    Column("created_at", UtcDateTime, nullable=False),
)

reductions = Table(
    "reductions",
    metadata,
    references("campaigns", primary_key=True),
    Column("workflow_id", BigInteger, primary_key=True),
    Column("zooniverse_subject_id", BigInteger, primary_key=True),
    Column("reducer_key", ByteText, primary_key=True),
    Column("reduction_id", BigInteger, nullable=False),
    Column("task", Text, nullable=False),
    # Moment, votes and counts in this order say which of two deliveries is kept.
    Column("updated_at", UtcDateTime, nullable=False),
    Column("votes", BigInteger, nullable=False),
    Column("counts", ByteText, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    CheckConstraint("votes >= 0", name="votes"),
)

exports = Table(
    "exports",
    metadata,
    references("campaigns", primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("n_rows", Integer, nullable=False),
    Column("newest_id", BigInteger),
    Column("newest_at", UtcDateTime),
    Column("received_at", UtcDateTime, nullable=False),
    counts("n_rows"),
)
