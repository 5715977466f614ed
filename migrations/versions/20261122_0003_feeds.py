"""Feeds beside the listing: reductions, webhooks, exports read; tallies at fault; identities forgotten."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE webhooks (
    campaign_id BIGINT NOT NULL,
    key TEXT NOT NULL,
    digest TEXT NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT pk_webhooks PRIMARY KEY (campaign_id),
    CONSTRAINT uq_webhooks_key UNIQUE (key),
    CONSTRAINT fk_webhooks_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaigns (id)
);

CREATE TABLE reductions (
    campaign_id BIGINT NOT NULL,
    workflow_id BIGINT NOT NULL,
    zooniverse_subject_id BIGINT NOT NULL,
    reducer_key TEXT COLLATE "C" NOT NULL,
    reduction_id BIGINT NOT NULL,
    task TEXT NOT NULL,
    updated_at timestamptz NOT NULL,
    votes BIGINT NOT NULL,
    counts TEXT COLLATE "C" NOT NULL,
    received_at timestamptz NOT NULL,
    CONSTRAINT pk_reductions PRIMARY KEY (campaign_id, workflow_id, zooniverse_subject_id, reducer_key),
    CONSTRAINT ck_reductions_votes CHECK (votes >= 0),
    CONSTRAINT fk_reductions_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaigns (id)
);

CREATE TABLE exports (
    campaign_id BIGINT NOT NULL,
    digest TEXT NOT NULL,
    name TEXT NOT NULL,
    n_rows INTEGER NOT NULL,
    newest_id BIGINT,
    newest_at timestamptz,
    received_at timestamptz NOT NULL,
    CONSTRAINT pk_exports PRIMARY KEY (campaign_id, digest),
    CONSTRAINT ck_exports_counts CHECK (n_rows >= 0),
    CONSTRAINT fk_exports_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaigns (id)
);

CREATE TABLE tally_faults (
    campaign_id BIGINT NOT NULL,
    galaxy_id TEXT COLLATE "C" NOT NULL,
    questions SMALLINT[] NOT NULL,
    CONSTRAINT pk_tally_faults PRIMARY KEY (campaign_id, galaxy_id),
    CONSTRAINT fk_tally_faults_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaigns (id)
);

ALTER TABLE classifications
    ADD COLUMN kept TEXT,
    ADD CONSTRAINT ck_classifications_kept CHECK (kept IN ('duplicate-send', 'repeat'));

ALTER TABLE training_snapshots
    ADD COLUMN reducer TEXT NOT NULL DEFAULT 'counts-1',
    ADD COLUMN n_inconsistent INTEGER NOT NULL DEFAULT 0,
    DROP CONSTRAINT ck_training_snapshots_counts,
    ADD CONSTRAINT ck_training_snapshots_counts CHECK (n_galaxies >= 0 AND n_votes >= 0 AND n_inconsistent >= 0);

ALTER TABLE training_snapshots
    ALTER COLUMN reducer DROP DEFAULT,
    ALTER COLUMN n_inconsistent DROP DEFAULT;
"""

DOWNGRADE = """
ALTER TABLE training_snapshots
    DROP COLUMN reducer,
    DROP COLUMN n_inconsistent,
    ADD CONSTRAINT ck_training_snapshots_counts CHECK (n_galaxies >= 0 AND n_votes >= 0);

ALTER TABLE classifications DROP COLUMN kept;

DROP TABLE tally_faults, exports, reductions, webhooks;
"""


def upgrade() -> None:
    """Apply the change."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take the change back; repeats whose people were forgotten count again at the next recount."""
    op.execute(DOWNGRADE)
