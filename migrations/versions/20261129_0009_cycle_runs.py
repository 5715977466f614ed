"""Runs that worked on a cycle."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE cycle_runs (
    cycle_id BIGINT NOT NULL,
    run_id TEXT NOT NULL,
    flow TEXT NOT NULL,
    name TEXT NOT NULL,
    began_at timestamptz NOT NULL,
    CONSTRAINT pk_cycle_runs PRIMARY KEY (cycle_id, run_id),
    CONSTRAINT fk_cycle_runs_cycle_id FOREIGN KEY (cycle_id) REFERENCES cycles (id)
);

CREATE INDEX ix_cycle_runs_newest ON cycle_runs (cycle_id, flow, began_at);
"""

DOWNGRADE = """
DROP TABLE cycle_runs;
"""


def upgrade() -> None:
    """Apply the change."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take the change back: which run worked on which cycle is forgotten."""
    op.execute(DOWNGRADE)
