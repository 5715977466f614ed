"""Steps that were sent to another work pool, and when they were last heard of."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE sent_steps (
    campaign_id BIGINT NOT NULL,
    cycle_id BIGINT NOT NULL,
    step TEXT NOT NULL,
    token TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    sent_at timestamptz NOT NULL,
    worker TEXT,
    place TEXT,
    heard_at timestamptz,
    CONSTRAINT pk_sent_steps PRIMARY KEY (campaign_id),
    CONSTRAINT fk_sent_steps_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaigns (id),
    CONSTRAINT fk_sent_steps_cycle_id FOREIGN KEY (cycle_id) REFERENCES cycles (id),
    CONSTRAINT ck_sent_steps_step CHECK (step IN (
        'acquiring', 'collecting', 'evaluating', 'gated', 'held', 'kept', 'planned', 'predicting', 'promoted',
        'publishing', 'training')),
    CONSTRAINT ck_sent_steps_attempt CHECK (attempt >= 1),
    CONSTRAINT ck_sent_steps_heard CHECK (
        (heard_at IS NULL) = (worker IS NULL) AND (worker IS NULL) = (place IS NULL))
);
"""

DOWNGRADE = "DROP TABLE sent_steps"


def upgrade() -> None:
    """Apply the change."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take the change back: runs that were sent a step before are refused."""
    op.execute(DOWNGRADE)
