"""Classifications, what their answers mean, and tallies."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from alservice.storage.postgres import ByteText, EnumText, UtcDateTime, counts, metadata, one_of, quoted, references
from alservice.votes.classification import IDENTIFIED, Verdict

classifications = Table(
    "classifications",
    metadata,
    references("campaigns", primary_key=True),
    Column("classification_id", BigInteger, primary_key=True),
    Column("workflow_id", BigInteger, nullable=False),
    Column("workflow_version", Text, nullable=False),
    Column("zooniverse_subject_id", BigInteger),
    Column("user_hash", Text),
    Column("session", Text),
    Column("started_at", Text),
    Column("finished_at", Text),
    Column("seen_before", Boolean, nullable=False),
    Column("live_project", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # JSON as its source wrote it. As text: jsonb refuses U+0000, and one such answer would stop all ingest.
    Column("annotations", Text, nullable=False),
    Column("galaxy_id", ByteText),
    Column("answers", ARRAY(SmallInteger), nullable=False),
    Column("abstentions", Integer, nullable=False),
    Column("fault", Text),
    Column("verdict", EnumText(Verdict)),
    Column("source", Text, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("completed", Boolean),
    Column("gold_standard", Boolean, nullable=False),
    Column("after_retirement", Boolean, nullable=False),
    Column("answers_from", Text, nullable=False),
    # The verdict decided while it was known who sat there; null while it is, or was never needed.
    Column("kept", EnumText(Verdict)),
    Index(None, "campaign_id", "galaxy_id"),
    Index(
        "ix_classifications_waiting",
        "campaign_id",
        "classification_id",
        postgresql_where=text(f"verdict IN ({quoted((Verdict.QUARANTINED, Verdict.UNKNOWN_SUBJECT))})"),
    ),
    one_of("verdict", Verdict),
    one_of("kept", IDENTIFIED),
)

workflow_versions = Table(
    "workflow_versions",
    metadata,
    references("campaigns", primary_key=True),
    Column("workflow_id", BigInteger, primary_key=True),
    # Text, and compared as such: 28.30 is not 28.3.
    Column("version", Text, primary_key=True),
    Column("tasks", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
)

quarantined_rows = Table(
    "quarantined_rows",
    metadata,
    references("campaigns", primary_key=True),
    # Of the row as it stood in the file: the same row in the next export is the same fault.
    Column("digest", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("row", BigInteger, nullable=False),
    Column("classification_id", BigInteger),
    Column("field", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Index(None, "campaign_id", "classification_id"),
)

ingest_cursors = Table(
    "ingest_cursors",
    metadata,
    references("campaigns", primary_key=True),
    Column("source", Text, primary_key=True),
    Column("last_id", BigInteger, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

tallies = Table(
    "tallies",
    metadata,
    references("campaigns", primary_key=True),
    Column("galaxy_id", ByteText, primary_key=True),
    Column("classifications", Integer, nullable=False),
    Column("votes", ARRAY(Integer), nullable=False),
    # What a later row of the galaxy is judged by without reading the earlier ones; null: they must be read.
    Column("last_id", BigInteger, nullable=False),
    Column("seen", LargeBinary),
    CheckConstraint("0 <= ALL (votes)", name="votes"),
    counts("classifications"),
)

tally_faults = Table(
    "tally_faults",
    metadata,
    references("campaigns", primary_key=True),
    Column("galaxy_id", ByteText, primary_key=True),
    # Places in the tree of the questions with more answers than volunteers led to them.
    Column("questions", ARRAY(SmallInteger), nullable=False),
)

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
