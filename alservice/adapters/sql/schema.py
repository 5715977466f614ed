"""Tables of the service: what must hold is a constraint here, so that no bug or race elsewhere can break it.

The partial indexes ``uq_cycles_open`` and ``uq_models_champion`` allow one open cycle and one champion per
campaign. `migrations/` builds the same tables; a test compares the two on a real Postgres.
"""

from __future__ import annotations

from typing import Final, get_args

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from alservice.adapters.sql.columns import (
    ByteText,
    EnumText,
    UtcDateTime,
    counts,
    identity,
    one_of,
    quoted,
    references,
)
from alservice.core import gate
from alservice.core.batches import Arm
from alservice.core.classifications import Verdict
from alservice.core.cycles import CYCLES, WORKING, CycleState
from alservice.core.states import ModelState, SubjectState

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)

campaigns = Table("campaigns", metadata, identity(), Column("name", Text, nullable=False, unique=True))

campaign_versions = Table(
    "campaign_versions",
    metadata,
    references("campaigns", primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("document", JSONB, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

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


def _shard_columns() -> tuple[Column[int] | Column[str] | CheckConstraint, ...]:
    return (
        Column("index", Integer, primary_key=True),
        Column("key", Text, nullable=False),
        Column("n_galaxies", Integer, nullable=False),
        Column("n_failed", Integer, nullable=False),
        counts("index", "n_galaxies", "n_failed"),
    )


image_shards = Table(
    "image_shards",
    metadata,
    references("catalogues", primary_key=True),
    Column("pack", Text, primary_key=True),
    *_shard_columns(),
)

_NOT_STOPPED = {*WORKING, CycleState.DONE}

cycles = Table(
    "cycles",
    metadata,
    identity(),
    references("campaigns"),
    Column("campaign_version", Integer, nullable=False),
    references("catalogues"),
    Column("number", Integer, nullable=False),
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
    one_of("state", CYCLES.transitions),
    one_of("left_from", WORKING),
    CheckConstraint(f"(left_from IS NULL) = (state IN ({quoted(_NOT_STOPPED)}))", name="resumable"),
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
    counts("n_galaxies", "n_votes"),
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

posterior_shards = Table(
    "posterior_shards",
    metadata,
    references("models", primary_key=True),
    references("catalogues", primary_key=True),
    Column("scope", Text, primary_key=True),
    *_shard_columns(),
    one_of("scope", ("catalogue", "evaluation")),
)

acquisitions = Table(
    "acquisitions",
    metadata,
    references("cycles", primary_key=True),
    Column("n_votes", Integer, nullable=False),
    Column("policy", JSONB, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("offered", Integer, nullable=False),
    Column("eligible", Integer, nullable=False),
    Column("eligible_members", Integer, nullable=False),
    Column("excluded", JSONB, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    CheckConstraint("n_votes >= 1", name="n_votes"),
    CheckConstraint("offered >= eligible AND eligible >= eligible_members", name="pool"),
)

acquired = Table(
    "acquired",
    metadata,
    Column("cycle_id", ForeignKey("acquisitions.cycle_id"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("galaxy_id", ByteText, nullable=False),
    Column("arm", Text, nullable=False),
    Column("score_nats", Double),
    Column("inclusion_probability", Double, nullable=False),
    Column("rank", Integer, nullable=False),
    UniqueConstraint("cycle_id", "galaxy_id"),
    UniqueConstraint("cycle_id", "arm", "rank"),
    one_of("arm", get_args(Arm)),
    CheckConstraint("(score_nats IS NOT NULL) = (arm = 'informative')", name="score_nats"),
    CheckConstraint("inclusion_probability BETWEEN 0 AND 1", name="inclusion_probability"),
)

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
    one_of("state", SubjectState),
    CheckConstraint("n_votes >= 1 AND attempts >= 0", name="counts"),
    CheckConstraint(f"zooniverse_id IS NOT NULL OR state NOT IN ({quoted(_ON_ZOONIVERSE)})", name="zooniverse_id"),
)

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
    Index(None, "campaign_id", "galaxy_id"),
    Index(
        "ix_classifications_waiting",
        "campaign_id",
        "classification_id",
        postgresql_where=text(f"verdict IN ({quoted((Verdict.QUARANTINED, Verdict.UNKNOWN_SUBJECT))})"),
    ),
    one_of("verdict", Verdict),
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

evaluations = Table(
    "evaluations",
    metadata,
    references("cycles", primary_key=True),
    references("models", primary_key=True),
    Column("metrics", JSONB, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

events = Table(
    "events",
    metadata,
    identity(),
    references("campaigns"),
    Column("cycle_id", ForeignKey("cycles.id")),
    Column("at", UtcDateTime, nullable=False),
    Column("actor", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("detail", JSONB, nullable=False),
    Index(None, "campaign_id", "id"),
)


@event.listens_for(events, "after_create")
def _make_append_only(_: Table, connection: Connection, **__: object) -> None:
    for statement in APPEND_ONLY:
        connection.execute(text(statement))


APPEND_ONLY: Final = (
    """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'table % is append-only: % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'integrity_constraint_violation';
END $$
""",
    """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
""",
)
