"""Selections, galaxies that people found, kept by name; and searches for interesting ones, with every rating."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB

from alservice.explore.ratings import Method
from alservice.storage.postgres import ByteText, EnumText, UtcDateTime, counts, identity, metadata, one_of, references

selections = Table(
    "selections",
    metadata,
    identity(),
    references("campaigns"),
    Column("name", Text, nullable=False),
    Column("n", Integer, nullable=False),
    Column("source", JSONB, nullable=False),
    Column("galaxy_ids", JSONB, nullable=False),
    Column("actor", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("campaign_id", "name"),
    counts("n"),
)

searches = Table(
    "searches",
    metadata,
    identity(),
    references("campaigns"),
    Column("name", ByteText, nullable=False),
    Column("owner", Text, nullable=False),
    Column("is_shared", Boolean, nullable=False),
    Column("method", EnumText(Method), nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("campaign_id", "name"),
    one_of("method", Method),
)

ratings = Table(
    "ratings",
    metadata,
    identity(),
    Column("search_id", ForeignKey("searches.id"), nullable=False),
    Column("galaxy_id", ByteText, nullable=False),
    Column("rater", Text, nullable=False),
    Column("rating", Double),
    Column("at", UtcDateTime, nullable=False),
    CheckConstraint("rating BETWEEN 0 AND 5", name="rating"),
    Index("ix_ratings_search_id", "search_id", "id"),
)

reservations = Table(
    "reservations",
    metadata,
    Column("search_id", ForeignKey("searches.id"), primary_key=True),
    Column("galaxy_id", ByteText, primary_key=True),
    Column("rater", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("until", UtcDateTime, nullable=False),
)
