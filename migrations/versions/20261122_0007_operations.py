"""Operations: leases of campaigns, totals of calls to the world, and cycles that only train."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE leases (
    campaign_id BIGINT NOT NULL,
    token TEXT NOT NULL,
    actor TEXT NOT NULL,
    place TEXT NOT NULL,
    pid INTEGER NOT NULL,
    started_s DOUBLE PRECISION NOT NULL,
    acquired_at timestamptz NOT NULL,
    heartbeat_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT pk_leases PRIMARY KEY (campaign_id),
    CONSTRAINT fk_leases_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaigns (id),
    CONSTRAINT ck_leases_times CHECK (acquired_at <= heartbeat_at AND heartbeat_at <= expires_at)
);

CREATE TABLE call_totals (
    adapter TEXT NOT NULL,
    call TEXT NOT NULL,
    outcome TEXT NOT NULL,
    calls BIGINT NOT NULL,
    seconds DOUBLE PRECISION NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT pk_call_totals PRIMARY KEY (adapter, call, outcome),
    CONSTRAINT ck_call_totals_counts CHECK (calls >= 0 AND seconds >= 0)
);

ALTER TABLE cycles
    ADD COLUMN kind TEXT NOT NULL DEFAULT 'full',
    ADD CONSTRAINT ck_cycles_kind CHECK (kind IN ('full', 'retrain'));

ALTER TABLE cycles ALTER COLUMN kind DROP DEFAULT;
"""

DOWNGRADE = """
ALTER TABLE cycles DROP COLUMN kind;

DROP TABLE leases, call_totals;
"""


def upgrade() -> None:
    """Apply the change."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take the change back: cycles that only trained become like any other."""
    op.execute(DOWNGRADE)
