"""Campaigns, their catalogues and galaxies."""

from __future__ import annotations

from sqlalchemy import Boolean, CheckConstraint, Column, Double, Integer, Table, Text, UniqueConstraint

from alservice.storage.postgres import ByteText, UtcDateTime, counts, identity, metadata, references, shard_columns

catalogues = Table(
    "catalogues",
    metadata,
    identity(),
    references("campaigns"),
    Column("source", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("n_galaxies", Integer, nullable=False),
    Column("n_failed", Integer, nullable=False),
    Column("votes_key", Text),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("campaign_id", "digest"),
    counts("n_galaxies", "n_failed"),
)

galaxies = Table(
    "galaxies",
    metadata,
    references("catalogues", primary_key=True),
    Column("row", Integer, primary_key=True),
    Column("galaxy_id", ByteText, nullable=False),
    Column("ra_deg", Double),
    Column("dec_deg", Double),
    Column("image_key", Text, nullable=False),
    Column("unbiased", Boolean, nullable=False),
    Column("evaluation", Boolean, nullable=False),
    UniqueConstraint("catalogue_id", "galaxy_id"),
    CheckConstraint("ra_deg BETWEEN 0 AND 360", name="ra_deg"),
    CheckConstraint("dec_deg BETWEEN -90 AND 90", name="dec_deg"),
    CheckConstraint("unbiased OR NOT evaluation", name="evaluation"),
)

catalogue_faults = Table(
    "catalogue_faults",
    metadata,
    identity(),
    references("catalogues", index=True),
    Column("row", Integer, nullable=False),
    Column("galaxy_id", ByteText),
    Column("field", Text, nullable=False),
    Column("reason", Text, nullable=False),
)


image_shards = Table(
    "image_shards",
    metadata,
    references("catalogues", primary_key=True),
    Column("pack", Text, primary_key=True),
    *shard_columns(),
)
