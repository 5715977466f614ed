"""Selections: galaxies that people found, kept by name."""

from __future__ import annotations

from sqlalchemy import Column, Integer, Table, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB

from alservice.storage.postgres import UtcDateTime, counts, identity, metadata, references

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
