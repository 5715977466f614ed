"""Cycles, their batches, and what was decided in them."""

from __future__ import annotations

from typing import get_args

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from alservice.acquisition.batch_records import Arm
from alservice.campaigns.cycle import CYCLES, WORKING, CycleKind, CycleState
from alservice.learning import gate
from alservice.storage.columns import ByteText, EnumText, UtcDateTime, identity, one_of, quoted, references
from alservice.storage.schema.metadata import metadata

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

gate_decisions = Table(
    "gate_decisions",
    metadata,
    references("cycles", primary_key=True),
    Column("verdict", Text, nullable=False),
    Column("document", JSONB, nullable=False),
    Column("actor", Text, nullable=False),
    Column("decided_at", UtcDateTime, nullable=False),
    one_of("verdict", get_args(gate.Verdict)),
)
