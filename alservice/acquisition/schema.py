"""Batches of cycles, and galaxies that people asked for."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from alservice.campaigns.policies import Arm
from alservice.storage.postgres import ByteText, EnumText, UtcDateTime, identity, metadata, one_of, references

acquisitions = Table(
    "acquisitions",
    metadata,
    references("cycles", primary_key=True),
    Column("policy", JSONB, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("offered", Integer, nullable=False),
    Column("eligible", Integer, nullable=False),
    Column("eligible_members", Integer, nullable=False),
    Column("excluded", JSONB, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    CheckConstraint("offered >= eligible AND eligible >= eligible_members", name="pool"),
)

acquired = Table(
    "acquired",
    metadata,
    Column("cycle_id", ForeignKey("acquisitions.cycle_id"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("galaxy_id", ByteText, nullable=False),
    Column("arm", EnumText(Arm), nullable=False),
    Column("score_nats", Double),
    Column("inclusion_probability", Double, nullable=False),
    Column("rank", Integer, nullable=False),
    Column("n_votes", Integer, nullable=False),
    UniqueConstraint("cycle_id", "galaxy_id"),
    UniqueConstraint("cycle_id", "arm", "rank"),
    one_of("arm", Arm),
    CheckConstraint("(score_nats IS NOT NULL) = (arm = 'informative')", name="score_nats"),
    CheckConstraint("inclusion_probability BETWEEN 0 AND 1", name="inclusion_probability"),
    CheckConstraint("n_votes >= 1", name="n_votes"),
)

requests = Table(
    "requests",
    metadata,
    identity(),
    references("campaigns"),
    Column("galaxy_id", ByteText, nullable=False),
    Column("votes", Integer, nullable=False),
    Column("cost", Integer, nullable=False),
    Column("selection", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("cycle_id", ForeignKey("cycles.id"), index=True),
    Column("outcome", Text),
    Index(None, "campaign_id", "galaxy_id"),
    Index("uq_requests_waiting", "campaign_id", "galaxy_id", unique=True, postgresql_where=text("outcome IS NULL")),
    CheckConstraint("votes >= 1 AND cost >= 0", name="counts"),
    CheckConstraint("cycle_id IS NULL OR outcome IS NOT NULL", name="outcome"),
)
