"""Selections of galaxies, and galaxies that people ask for."""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE selections (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    campaign_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    n INTEGER NOT NULL,
    source JSONB NOT NULL,
    galaxy_ids JSONB NOT NULL,
    actor TEXT NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT pk_selections PRIMARY KEY (id),
    CONSTRAINT uq_selections_campaign_id_name UNIQUE (campaign_id, name),
    CONSTRAINT ck_selections_counts CHECK (n >= 0),
    CONSTRAINT fk_selections_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaigns (id)
);

CREATE TABLE requests (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    campaign_id BIGINT NOT NULL,
    galaxy_id TEXT COLLATE "C" NOT NULL,
    votes INTEGER NOT NULL,
    cost INTEGER NOT NULL,
    selection TEXT NOT NULL,
    reason TEXT NOT NULL,
    actor TEXT NOT NULL,
    created_at timestamptz NOT NULL,
    cycle_id BIGINT,
    outcome TEXT,
    CONSTRAINT pk_requests PRIMARY KEY (id),
    CONSTRAINT ck_requests_counts CHECK (votes >= 1 AND cost >= 0),
    CONSTRAINT ck_requests_outcome CHECK (cycle_id IS NULL OR outcome IS NOT NULL),
    CONSTRAINT fk_requests_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaigns (id),
    CONSTRAINT fk_requests_cycle_id FOREIGN KEY (cycle_id) REFERENCES cycles (id)
);

CREATE INDEX ix_requests_campaign_id_galaxy_id ON requests (campaign_id, galaxy_id);

CREATE INDEX ix_requests_cycle_id ON requests (cycle_id);

CREATE UNIQUE INDEX uq_requests_waiting ON requests (campaign_id, galaxy_id) WHERE outcome IS NULL;

ALTER TABLE acquired DROP CONSTRAINT ck_acquired_arm,
    ADD CONSTRAINT ck_acquired_arm CHECK (arm IN ('easy', 'evaluation', 'informative', 'random', 'requested'));
"""

DOWNGRADE = """
DELETE FROM acquired WHERE arm = 'requested';

ALTER TABLE acquired DROP CONSTRAINT ck_acquired_arm,
    ADD CONSTRAINT ck_acquired_arm CHECK (arm IN ('easy', 'evaluation', 'informative', 'random'));

DROP TABLE requests;

DROP TABLE selections;
"""


def upgrade() -> None:
    """Apply the change."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take the change back: selections, requests and what batches drew for them are lost."""
    op.execute(DOWNGRADE)
