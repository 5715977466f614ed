"""Initial schema, written in SQL: it says exactly what Postgres gets, and never changes with the code."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = """
CREATE TABLE campaigns (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    name TEXT NOT NULL,
    CONSTRAINT pk_campaigns PRIMARY KEY (id),
    CONSTRAINT uq_campaigns_name UNIQUE (name)
);

CREATE TABLE campaign_versions (
    campaign_id BIGINT NOT NULL,
    version INTEGER NOT NULL,
    digest TEXT NOT NULL,
    document JSONB NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT pk_campaign_versions PRIMARY KEY (campaign_id, version),
    CONSTRAINT fk_campaign_versions_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaigns (id)
);

CREATE TABLE catalogues (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    campaign_id BIGINT NOT NULL,
    source TEXT NOT NULL,
    digest TEXT NOT NULL,
    n_galaxies INTEGER NOT NULL,
    n_failed INTEGER NOT NULL,
    votes_key TEXT,
    created_at timestamptz NOT NULL,
    CONSTRAINT pk_catalogues PRIMARY KEY (id),
    CONSTRAINT uq_catalogues_campaign_id_digest UNIQUE (campaign_id, digest),
    CONSTRAINT ck_catalogues_counts CHECK (n_galaxies >= 0 AND n_failed >= 0),
    CONSTRAINT fk_catalogues_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaigns (id)
);

CREATE TABLE galaxies (
    catalogue_id BIGINT NOT NULL,
    row INTEGER NOT NULL,
    galaxy_id TEXT COLLATE "C" NOT NULL,
    ra_deg DOUBLE PRECISION,
    dec_deg DOUBLE PRECISION,
    image_key TEXT NOT NULL,
    unbiased BOOLEAN NOT NULL,
    evaluation BOOLEAN NOT NULL,
    CONSTRAINT pk_galaxies PRIMARY KEY (catalogue_id, row),
    CONSTRAINT uq_galaxies_catalogue_id_galaxy_id UNIQUE (catalogue_id, galaxy_id),
    CONSTRAINT ck_galaxies_ra_deg CHECK (ra_deg BETWEEN 0 AND 360),
    CONSTRAINT ck_galaxies_dec_deg CHECK (dec_deg BETWEEN -90 AND 90),
    CONSTRAINT ck_galaxies_evaluation CHECK (unbiased OR NOT evaluation),
    CONSTRAINT fk_galaxies_catalogue_id FOREIGN KEY (catalogue_id) REFERENCES catalogues (id)
);

CREATE TABLE catalogue_faults (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    catalogue_id BIGINT NOT NULL,
    row INTEGER NOT NULL,
    galaxy_id TEXT COLLATE "C",
    field TEXT NOT NULL,
    reason TEXT NOT NULL,
    CONSTRAINT pk_catalogue_faults PRIMARY KEY (id),
    CONSTRAINT fk_catalogue_faults_catalogue_id FOREIGN KEY (catalogue_id) REFERENCES catalogues (id)
);

CREATE INDEX ix_catalogue_faults_catalogue_id ON catalogue_faults (catalogue_id);

CREATE TABLE image_shards (
    catalogue_id BIGINT NOT NULL,
    pack TEXT NOT NULL,
    index INTEGER NOT NULL,
    key TEXT NOT NULL,
    n_galaxies INTEGER NOT NULL,
    n_failed INTEGER NOT NULL,
    CONSTRAINT pk_image_shards PRIMARY KEY (catalogue_id, pack, index),
    CONSTRAINT ck_image_shards_counts CHECK (index >= 0 AND n_galaxies >= 0 AND n_failed >= 0),
    CONSTRAINT fk_image_shards_catalogue_id FOREIGN KEY (catalogue_id) REFERENCES catalogues (id)
);

CREATE TABLE cycles (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    campaign_id BIGINT NOT NULL,
    campaign_version INTEGER NOT NULL,
    catalogue_id BIGINT NOT NULL,
    number INTEGER NOT NULL,
    state TEXT NOT NULL,
    left_from TEXT,
    champion_id BIGINT,
    candidate_id BIGINT,
    deadline timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT pk_cycles PRIMARY KEY (id),
    CONSTRAINT fk_cycles_campaign_id_campaign_version
        FOREIGN KEY (campaign_id, campaign_version) REFERENCES campaign_versions (campaign_id, version),
    CONSTRAINT uq_cycles_campaign_id_number UNIQUE (campaign_id, number),
    CONSTRAINT ck_cycles_number CHECK (number >= 0),
    CONSTRAINT ck_cycles_state
        CHECK (state IN ('acquiring', 'cancelled', 'collecting', 'done', 'evaluating', 'failed', 'gated',
        'held', 'kept', 'planned', 'predicting', 'promoted', 'publishing', 'training')),
    CONSTRAINT ck_cycles_left_from
        CHECK (left_from IN ('acquiring', 'collecting', 'evaluating', 'gated', 'held', 'kept', 'planned',
        'predicting', 'promoted', 'publishing', 'training')),
    CONSTRAINT ck_cycles_resumable
        CHECK ((left_from IS NULL) = (state IN ('acquiring', 'collecting', 'done', 'evaluating', 'gated',
        'held', 'kept', 'planned', 'predicting', 'promoted', 'publishing', 'training'))),
    CONSTRAINT fk_cycles_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaigns (id),
    CONSTRAINT fk_cycles_catalogue_id FOREIGN KEY (catalogue_id) REFERENCES catalogues (id)
);

CREATE UNIQUE INDEX uq_cycles_open ON cycles (campaign_id) WHERE state <> 'done';

CREATE TABLE training_snapshots (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    cycle_id BIGINT NOT NULL,
    key TEXT NOT NULL,
    digest TEXT NOT NULL,
    n_galaxies INTEGER NOT NULL,
    n_votes BIGINT NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT pk_training_snapshots PRIMARY KEY (id),
    CONSTRAINT ck_training_snapshots_counts CHECK (n_galaxies >= 0 AND n_votes >= 0),
    CONSTRAINT uq_training_snapshots_cycle_id UNIQUE (cycle_id),
    CONSTRAINT fk_training_snapshots_cycle_id FOREIGN KEY (cycle_id) REFERENCES cycles (id)
);

CREATE TABLE models (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    campaign_id BIGINT NOT NULL,
    cycle_id BIGINT NOT NULL,
    snapshot_id BIGINT NOT NULL,
    key TEXT NOT NULL,
    digest TEXT NOT NULL,
    state TEXT NOT NULL,
    card JSONB NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT pk_models PRIMARY KEY (id),
    CONSTRAINT ck_models_state CHECK (state IN ('candidate', 'champion', 'rejected', 'retired')),
    CONSTRAINT fk_models_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaigns (id),
    CONSTRAINT uq_models_cycle_id UNIQUE (cycle_id),
    CONSTRAINT fk_models_cycle_id FOREIGN KEY (cycle_id) REFERENCES cycles (id),
    CONSTRAINT fk_models_snapshot_id FOREIGN KEY (snapshot_id) REFERENCES training_snapshots (id)
);

CREATE INDEX ix_models_campaign_id ON models (campaign_id);

CREATE UNIQUE INDEX uq_models_champion ON models (campaign_id) WHERE state = 'champion';

CREATE TABLE posterior_shards (
    model_id BIGINT NOT NULL,
    catalogue_id BIGINT NOT NULL,
    scope TEXT NOT NULL,
    index INTEGER NOT NULL,
    key TEXT NOT NULL,
    n_galaxies INTEGER NOT NULL,
    n_failed INTEGER NOT NULL,
    CONSTRAINT pk_posterior_shards PRIMARY KEY (model_id, catalogue_id, scope, index),
    CONSTRAINT ck_posterior_shards_counts CHECK (index >= 0 AND n_galaxies >= 0 AND n_failed >= 0),
    CONSTRAINT ck_posterior_shards_scope CHECK (scope IN ('catalogue', 'evaluation')),
    CONSTRAINT fk_posterior_shards_model_id FOREIGN KEY (model_id) REFERENCES models (id),
    CONSTRAINT fk_posterior_shards_catalogue_id FOREIGN KEY (catalogue_id) REFERENCES catalogues (id)
);

CREATE TABLE evaluations (
    cycle_id BIGINT NOT NULL,
    model_id BIGINT NOT NULL,
    metrics JSONB NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT pk_evaluations PRIMARY KEY (cycle_id, model_id),
    CONSTRAINT fk_evaluations_cycle_id FOREIGN KEY (cycle_id) REFERENCES cycles (id),
    CONSTRAINT fk_evaluations_model_id FOREIGN KEY (model_id) REFERENCES models (id)
);

CREATE TABLE gate_decisions (
    cycle_id BIGINT NOT NULL,
    verdict TEXT NOT NULL,
    document JSONB NOT NULL,
    actor TEXT NOT NULL,
    decided_at timestamptz NOT NULL,
    CONSTRAINT pk_gate_decisions PRIMARY KEY (cycle_id),
    CONSTRAINT ck_gate_decisions_verdict CHECK (verdict IN ('hold', 'promote', 'reject')),
    CONSTRAINT fk_gate_decisions_cycle_id FOREIGN KEY (cycle_id) REFERENCES cycles (id)
);

CREATE TABLE acquisitions (
    cycle_id BIGINT NOT NULL,
    n_votes INTEGER NOT NULL,
    policy JSONB NOT NULL,
    seed BIGINT NOT NULL,
    offered INTEGER NOT NULL,
    eligible INTEGER NOT NULL,
    eligible_members INTEGER NOT NULL,
    excluded JSONB NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT pk_acquisitions PRIMARY KEY (cycle_id),
    CONSTRAINT ck_acquisitions_n_votes CHECK (n_votes >= 1),
    CONSTRAINT ck_acquisitions_pool CHECK (offered >= eligible AND eligible >= eligible_members),
    CONSTRAINT fk_acquisitions_cycle_id FOREIGN KEY (cycle_id) REFERENCES cycles (id)
);

CREATE TABLE acquired (
    cycle_id BIGINT NOT NULL,
    position INTEGER NOT NULL,
    galaxy_id TEXT COLLATE "C" NOT NULL,
    arm TEXT NOT NULL,
    score_nats DOUBLE PRECISION,
    inclusion_probability DOUBLE PRECISION NOT NULL,
    rank INTEGER NOT NULL,
    CONSTRAINT pk_acquired PRIMARY KEY (cycle_id, position),
    CONSTRAINT uq_acquired_cycle_id_galaxy_id UNIQUE (cycle_id, galaxy_id),
    CONSTRAINT uq_acquired_cycle_id_arm_rank UNIQUE (cycle_id, arm, rank),
    CONSTRAINT ck_acquired_arm CHECK (arm IN ('evaluation', 'informative', 'random')),
    CONSTRAINT ck_acquired_score_nats CHECK ((score_nats IS NOT NULL) = (arm = 'informative')),
    CONSTRAINT ck_acquired_inclusion_probability CHECK (inclusion_probability BETWEEN 0 AND 1),
    CONSTRAINT fk_acquired_cycle_id FOREIGN KEY (cycle_id) REFERENCES acquisitions (cycle_id)
);

CREATE TABLE subjects (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    campaign_id BIGINT NOT NULL,
    cycle_id BIGINT NOT NULL,
    galaxy_id TEXT COLLATE "C" NOT NULL,
    key TEXT NOT NULL,
    image_key TEXT NOT NULL,
    state TEXT NOT NULL,
    zooniverse_id BIGINT,
    n_votes INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    error TEXT,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT pk_subjects PRIMARY KEY (id),
    CONSTRAINT uq_subjects_campaign_id_galaxy_id UNIQUE (campaign_id, galaxy_id),
    CONSTRAINT uq_subjects_campaign_id_zooniverse_id UNIQUE (campaign_id, zooniverse_id),
    CONSTRAINT ck_subjects_state
        CHECK (state IN ('created', 'creating', 'failed', 'live', 'planned', 'retired', 'verified',
        'withdrawn')),
    CONSTRAINT ck_subjects_counts CHECK (n_votes >= 1 AND attempts >= 0),
    CONSTRAINT ck_subjects_zooniverse_id
        CHECK (zooniverse_id IS NOT NULL OR state NOT IN ('created', 'live', 'retired', 'verified')),
    CONSTRAINT fk_subjects_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaigns (id),
    CONSTRAINT fk_subjects_cycle_id FOREIGN KEY (cycle_id) REFERENCES cycles (id),
    CONSTRAINT uq_subjects_key UNIQUE (key)
);

CREATE INDEX ix_subjects_cycle_id ON subjects (cycle_id);

CREATE TABLE classifications (
    campaign_id BIGINT NOT NULL,
    classification_id BIGINT NOT NULL,
    workflow_id BIGINT NOT NULL,
    workflow_version TEXT NOT NULL,
    zooniverse_subject_id BIGINT,
    user_hash TEXT,
    session TEXT,
    started_at TEXT,
    finished_at TEXT,
    seen_before BOOLEAN NOT NULL,
    live_project BOOLEAN NOT NULL,
    created_at timestamptz NOT NULL,
    annotations TEXT NOT NULL,
    galaxy_id TEXT COLLATE "C",
    answers SMALLINT[] NOT NULL,
    abstentions INTEGER NOT NULL,
    fault TEXT,
    verdict TEXT,
    source TEXT NOT NULL,
    received_at timestamptz NOT NULL,
    CONSTRAINT pk_classifications PRIMARY KEY (campaign_id, classification_id),
    CONSTRAINT ck_classifications_verdict
        CHECK (verdict IN ('counted', 'duplicate-send', 'incomplete', 'not-live', 'quarantined', 'repeat',
        'seen-before', 'unknown-subject', 'wrong-workflow')),
    CONSTRAINT fk_classifications_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaigns (id)
);

CREATE INDEX ix_classifications_campaign_id_galaxy_id ON classifications (campaign_id, galaxy_id);

CREATE TABLE ingest_cursors (
    campaign_id BIGINT NOT NULL,
    source TEXT NOT NULL,
    last_id BIGINT NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT pk_ingest_cursors PRIMARY KEY (campaign_id, source),
    CONSTRAINT fk_ingest_cursors_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaigns (id)
);

CREATE TABLE tallies (
    campaign_id BIGINT NOT NULL,
    galaxy_id TEXT COLLATE "C" NOT NULL,
    column_index SMALLINT NOT NULL,
    votes INTEGER NOT NULL,
    CONSTRAINT pk_tallies PRIMARY KEY (campaign_id, galaxy_id, column_index),
    CONSTRAINT ck_tallies_votes CHECK (votes > 0),
    CONSTRAINT fk_tallies_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaigns (id)
);

CREATE TABLE tally_totals (
    campaign_id BIGINT NOT NULL,
    galaxy_id TEXT COLLATE "C" NOT NULL,
    classifications INTEGER NOT NULL,
    CONSTRAINT pk_tally_totals PRIMARY KEY (campaign_id, galaxy_id),
    CONSTRAINT ck_tally_totals_counts CHECK (classifications >= 0),
    CONSTRAINT fk_tally_totals_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaigns (id)
);

CREATE TABLE events (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    campaign_id BIGINT NOT NULL,
    cycle_id BIGINT,
    at timestamptz NOT NULL,
    actor TEXT NOT NULL,
    kind TEXT NOT NULL,
    detail JSONB NOT NULL,
    CONSTRAINT pk_events PRIMARY KEY (id),
    CONSTRAINT fk_events_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaigns (id),
    CONSTRAINT fk_events_cycle_id FOREIGN KEY (cycle_id) REFERENCES cycles (id)
);

CREATE INDEX ix_events_campaign_id_id ON events (campaign_id, id);

ALTER TABLE cycles ADD CONSTRAINT fk_cycles_candidate_id FOREIGN KEY (candidate_id) REFERENCES models (id);

ALTER TABLE cycles ADD CONSTRAINT fk_cycles_champion_id FOREIGN KEY (champion_id) REFERENCES models (id);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'table % is append-only: % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    """Apply the change."""
    op.execute(SCHEMA)


def downgrade() -> None:
    """Take the change back, with all data."""
    op.execute("""
DROP TABLE events, tally_totals, tallies, ingest_cursors, classifications, subjects, acquired, acquisitions,
    gate_decisions, evaluations, posterior_shards, models, training_snapshots, cycles, image_shards,
    catalogue_faults, galaxies, catalogues, campaign_versions, campaigns;

DROP FUNCTION refuse_change;
""")
