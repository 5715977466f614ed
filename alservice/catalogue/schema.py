"""Catalogues, their galaxies, and the imports that make them grow."""

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
    Select,
    Table,
    Text,
    UniqueConstraint,
    func,
    select,
    text,
)
from sqlalchemy.sql.elements import ColumnElement

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
    Column("base_id", BigInteger, ForeignKey("catalogues.id")),
    UniqueConstraint("campaign_id", "digest"),
    counts("n_galaxies", "n_failed"),
)
"""Versions of a catalogue that grew share the galaxies of its first, the base: each is as many rows of it from the
start as it has galaxies. Of a first version ``base_id`` is null."""

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


def galaxies_of(catalogue_id: int) -> ColumnElement[bool]:
    """Return the condition that a row of ``galaxies`` is of a catalogue: a run of its base's from the start."""
    version = select(func.coalesce(catalogues.c.base_id, catalogues.c.id), catalogues.c.n_galaxies)
    version = version.where(catalogues.c.id == catalogue_id)
    base, n_galaxies = (version.with_only_columns(column).scalar_subquery() for column in version.selected_columns)
    return (galaxies.c.catalogue_id == base) & (galaxies.c.row < n_galaxies)


def versions_of(catalogue_id: int) -> Select[tuple[int]]:
    """Return the ids of all versions of a catalogue, itself included: those that share its galaxies."""
    version = catalogues.alias()
    own = select(func.coalesce(catalogues.c.base_id, catalogues.c.id)).where(catalogues.c.id == catalogue_id)
    return select(version.c.id).where(func.coalesce(version.c.base_id, version.c.id) == own.scalar_subquery())


imports = Table(
    "catalogue_imports",
    metadata,
    identity(),
    references("campaigns"),
    Column("key", Text),
    Column("source", Text, nullable=False),
    Column("rows_done", Integer, nullable=False),
    Column("catalogue_id", BigInteger, ForeignKey("catalogues.id"), index=True),
    Column("n_added", Integer, nullable=False),
    Column("n_replaced", Integer, nullable=False),
    Column("n_known", Integer, nullable=False),
    Column("n_failed", Integer, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("stretch", Text),
    counts("rows_done", "n_added", "n_replaced", "n_known", "n_failed"),
    Index(
        "uq_catalogue_imports_running", "campaign_id", "key", unique=True, postgresql_where=text("finished_at IS NULL")
    ),
)
"""Imports, running and finished. ``key`` names what is read and how, so that a killed one is found again."""

waiting_galaxies = Table(
    "waiting_galaxies",
    metadata,
    Column("import_id", ForeignKey("catalogue_imports.id"), primary_key=True),
    Column("galaxy_id", ByteText, primary_key=True),
    Column("row", Integer, nullable=False),
    Column("place", BigInteger, nullable=False),
    Column("ra_deg", Double),
    Column("dec_deg", Double),
    Column("image_key", Text, nullable=False),
    Column("unbiased", Boolean, nullable=False),
    Column("evaluation", Boolean, nullable=False),
)
"""Galaxies of running imports: their row in the source, and ``place``, by which they are ordered before their id."""

waiting_votes = Table(
    "waiting_votes",
    metadata,
    Column("import_id", ForeignKey("catalogue_imports.id"), primary_key=True),
    Column("row", Integer, primary_key=True),
    Column("key", Text, nullable=False),
)
"""Objects of recorded votes that running imports have written, by the last row in each."""

catalogue_faults = Table(
    "catalogue_faults",
    metadata,
    identity(),
    Column("row", Integer, nullable=False),
    Column("galaxy_id", ByteText),
    Column("field", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("import_id", ForeignKey("catalogue_imports.id"), nullable=False, index=True),
)


image_shards = Table(
    "image_shards",
    metadata,
    references("catalogues", primary_key=True),
    Column("pack", Text, primary_key=True),
    *shard_columns(),
)
