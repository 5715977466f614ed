"""Ingest: workflow versions, quarantined rows of files, what exports tell, and one tally row per galaxy."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

UPGRADE = """
ALTER TABLE classifications
    ADD COLUMN completed BOOLEAN,
    ADD COLUMN gold_standard BOOLEAN NOT NULL DEFAULT false,
    ADD COLUMN after_retirement BOOLEAN NOT NULL DEFAULT false,
    ADD COLUMN answers_from TEXT NOT NULL DEFAULT 'api',
    DROP CONSTRAINT ck_classifications_verdict,
    ADD CONSTRAINT ck_classifications_verdict
        CHECK (verdict IN ('after-retirement', 'before-launch', 'counted', 'duplicate-send', 'gold-standard',
        'incomplete', 'not-live', 'quarantined', 'repeat', 'seen-before', 'too-fast', 'unknown-subject',
        'wrong-workflow'));

ALTER TABLE classifications
    ALTER COLUMN gold_standard DROP DEFAULT,
    ALTER COLUMN after_retirement DROP DEFAULT,
    ALTER COLUMN answers_from DROP DEFAULT;

CREATE INDEX ix_classifications_waiting ON classifications (campaign_id, classification_id)
    WHERE verdict IN ('quarantined', 'unknown-subject');

CREATE TABLE workflow_versions (
    campaign_id BIGINT NOT NULL,
    workflow_id BIGINT NOT NULL,
    version TEXT NOT NULL,
    tasks TEXT NOT NULL,
    source TEXT NOT NULL,
    received_at timestamptz NOT NULL,
    CONSTRAINT pk_workflow_versions PRIMARY KEY (campaign_id, workflow_id, version),
    CONSTRAINT fk_workflow_versions_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaigns (id)
);

CREATE TABLE quarantined_rows (
    campaign_id BIGINT NOT NULL,
    digest TEXT NOT NULL,
    source TEXT NOT NULL,
    row BIGINT NOT NULL,
    classification_id BIGINT,
    field TEXT NOT NULL,
    reason TEXT NOT NULL,
    received_at timestamptz NOT NULL,
    CONSTRAINT pk_quarantined_rows PRIMARY KEY (campaign_id, digest),
    CONSTRAINT fk_quarantined_rows_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaigns (id)
);

CREATE INDEX ix_quarantined_rows_campaign_id_classification_id
    ON quarantined_rows (campaign_id, classification_id);

CREATE TEMPORARY TABLE old_tallies ON COMMIT DROP AS SELECT * FROM tallies;

CREATE TEMPORARY TABLE old_totals ON COMMIT DROP AS SELECT * FROM tally_totals;

DROP TABLE tallies, tally_totals;

CREATE TABLE tallies (
    campaign_id BIGINT NOT NULL,
    galaxy_id TEXT COLLATE "C" NOT NULL,
    classifications INTEGER NOT NULL,
    votes INTEGER[] NOT NULL,
    last_id BIGINT NOT NULL,
    seen BYTEA,
    CONSTRAINT pk_tallies PRIMARY KEY (campaign_id, galaxy_id),
    CONSTRAINT ck_tallies_votes CHECK (0 <= ALL (votes)),
    CONSTRAINT ck_tallies_counts CHECK (classifications >= 0),
    CONSTRAINT fk_tallies_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaigns (id)
);

INSERT INTO tallies (campaign_id, galaxy_id, classifications, votes, last_id)
SELECT t.campaign_id, t.galaxy_id, t.classifications,
    ARRAY(
        SELECT coalesce(v.votes, 0)
        FROM generate_series(0, (SELECT max(w.column_index) FROM old_tallies w
            WHERE w.campaign_id = t.campaign_id AND w.galaxy_id = t.galaxy_id)) AS i
        LEFT JOIN old_tallies v
            ON v.campaign_id = t.campaign_id AND v.galaxy_id = t.galaxy_id AND v.column_index = i
        ORDER BY i
    ),
    0
FROM old_totals t;
"""

DOWNGRADE = """
DROP TABLE workflow_versions, quarantined_rows;

CREATE TEMPORARY TABLE new_tallies ON COMMIT DROP AS SELECT * FROM tallies;

DROP TABLE tallies;

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

INSERT INTO tally_totals SELECT campaign_id, galaxy_id, classifications FROM new_tallies;

INSERT INTO tallies
SELECT t.campaign_id, t.galaxy_id, v.place - 1, v.votes
FROM new_tallies t, unnest(t.votes) WITH ORDINALITY AS v (votes, place) WHERE v.votes > 0;

DROP INDEX ix_classifications_waiting;

UPDATE classifications SET verdict = 'incomplete'
WHERE verdict IN ('after-retirement', 'before-launch', 'gold-standard', 'too-fast');

ALTER TABLE classifications
    DROP COLUMN completed,
    DROP COLUMN gold_standard,
    DROP COLUMN after_retirement,
    DROP COLUMN answers_from,
    DROP CONSTRAINT ck_classifications_verdict,
    ADD CONSTRAINT ck_classifications_verdict
        CHECK (verdict IN ('counted', 'duplicate-send', 'incomplete', 'not-live', 'quarantined', 'repeat',
        'seen-before', 'unknown-subject', 'wrong-workflow'));
"""


def upgrade() -> None:
    """Apply the change."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take the change back; verdicts that only this revision knows become ``incomplete``."""
    op.execute(DOWNGRADE)
