"""The upload ledger."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Integer, Table, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB

from alservice.states import AskingState, SubjectState
from alservice.storage.postgres import ByteText, EnumText, UtcDateTime, identity, metadata, one_of, quoted, references

_ON_ZOONIVERSE = (SubjectState.CREATED, SubjectState.VERIFIED, SubjectState.LIVE, SubjectState.RETIRED)

subjects = Table(
    "subjects",
    metadata,
    identity(),
    references("campaigns"),
    references("cycles", index=True),
    Column("galaxy_id", ByteText, nullable=False),
    Column("key", Text, nullable=False, unique=True),
    Column("image_key", Text, nullable=False),
    Column("state", EnumText(SubjectState), nullable=False),
    Column("zooniverse_id", BigInteger),
    Column("n_votes", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("error", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    UniqueConstraint("campaign_id", "galaxy_id"),
    UniqueConstraint("campaign_id", "zooniverse_id"),
    Index(None, "campaign_id", "state"),
    one_of("state", SubjectState),
    CheckConstraint("n_votes >= 1 AND attempts >= 0", name="counts"),
    CheckConstraint(f"zooniverse_id IS NOT NULL OR state NOT IN ({quoted(_ON_ZOONIVERSE)})", name="zooniverse_id"),
)

stops = Table(
    "stops",
    metadata,
    references("subjects", primary_key=True),
    # The cycle that asked: what was decided in it says nothing once another one asks.
    references("cycles", index=True),
    Column("state", EnumText(AskingState), nullable=False),
    Column("reason", Text, nullable=False),
    Column("votes", Integer, nullable=False),
    # Classifications when asking stopped; those above it came too late to be spared.
    Column("stopped_votes", Integer),
    # Digest of votes and rule that were looked at: while it is the same there is nothing to decide.
    Column("mark", Text, nullable=False),
    Column("model_id", ForeignKey("models.id")),
    Column("detail", JSONB, nullable=False),
    Column("decided_at", UtcDateTime, nullable=False),
    one_of("state", AskingState),
    CheckConstraint("votes >= 0 AND stopped_votes >= 0", name="counts"),
    CheckConstraint("state <> 'stopped' OR stopped_votes IS NOT NULL", name="stopped_votes"),
)

fused_models = Table(
    "fused_models",
    metadata,
    references("cycles", primary_key=True),
    Column("model_id", ForeignKey("models.id")),
    Column("document", JSONB, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)
