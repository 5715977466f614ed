"""Training snapshots, models, and what they said."""

from __future__ import annotations

from typing import get_args

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from alservice.campaigns.store import StatisticsKind
from alservice.registry.records import PromotionKind, Verdict
from alservice.states import ModelState
from alservice.storage.postgres import (
    EnumText,
    UtcDateTime,
    counts,
    identity,
    metadata,
    one_of,
    references,
    shard_columns,
)

gate_decisions = Table(
    "gate_decisions",
    metadata,
    references("cycles", primary_key=True),
    Column("verdict", Text, nullable=False),
    Column("document", JSONB, nullable=False),
    Column("actor", Text, nullable=False),
    Column("decided_at", UtcDateTime, nullable=False),
    one_of("verdict", get_args(Verdict)),
)

training_snapshots = Table(
    "training_snapshots",
    metadata,
    identity(),
    references("cycles", unique=True),
    Column("key", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("n_galaxies", Integer, nullable=False),
    Column("n_votes", BigInteger, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # Rules and code that made the tallies, and galaxies whose votes no walks through the tree give.
    Column("reducer", Text, nullable=False),
    Column("n_inconsistent", Integer, nullable=False),
    counts("n_galaxies", "n_votes", "n_inconsistent"),
)

models = Table(
    "models",
    metadata,
    identity(),
    references("campaigns", index=True),
    references("cycles", unique=True),
    Column("snapshot_id", ForeignKey("training_snapshots.id"), nullable=False),
    Column("key", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("state", EnumText(ModelState), nullable=False),
    Column("card", JSONB, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    one_of("state", ModelState),
    Index(
        "uq_models_champion",
        "campaign_id",
        unique=True,
        postgresql_where=text(f"state = '{ModelState.CHAMPION}'"),
    ),
)

promotions = Table(
    "promotions",
    metadata,
    identity(),
    references("campaigns", index=True),
    references("models"),
    Column("replaced_id", ForeignKey("models.id")),
    Column("kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    one_of("kind", get_args(PromotionKind)),
)

posterior_shards = Table(
    "posterior_shards",
    metadata,
    references("models", primary_key=True),
    references("catalogues", primary_key=True),
    Column("scope", Text, primary_key=True),
    *shard_columns(),
    one_of("scope", ("catalogue", "evaluation")),
)

evaluations = Table(
    "evaluations",
    metadata,
    references("cycles", primary_key=True),
    references("models", primary_key=True),
    Column("metrics", JSONB, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

cycle_statistics = Table(
    "cycle_statistics",
    metadata,
    references("cycles", primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("document", JSONB, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    one_of("kind", get_args(StatisticsKind)),
)
