"""The upload ledger."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, Table, Text, UniqueConstraint

from alservice.states import SubjectState
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
