"""What was decided about galaxies that may stop before their full number of votes, and the models that decided it."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE stops (
    subject_id BIGINT NOT NULL,
    cycle_id BIGINT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    votes INTEGER NOT NULL,
    stopped_votes INTEGER,
    mark TEXT NOT NULL,
    model_id BIGINT,
    detail JSONB NOT NULL,
    decided_at timestamptz NOT NULL,
    CONSTRAINT pk_stops PRIMARY KEY (subject_id),
    CONSTRAINT ck_stops_state CHECK (state IN ('asked-again', 'asking', 'stopped')),
    CONSTRAINT ck_stops_counts CHECK (votes >= 0 AND stopped_votes >= 0),
    CONSTRAINT ck_stops_stopped_votes CHECK (state <> 'stopped' OR stopped_votes IS NOT NULL),
    CONSTRAINT fk_stops_subject_id FOREIGN KEY (subject_id) REFERENCES subjects (id),
    CONSTRAINT fk_stops_cycle_id FOREIGN KEY (cycle_id) REFERENCES cycles (id),
    CONSTRAINT fk_stops_model_id FOREIGN KEY (model_id) REFERENCES models (id)
);

CREATE INDEX ix_stops_cycle_id ON stops (cycle_id);

CREATE TABLE fused_models (
    cycle_id BIGINT NOT NULL,
    model_id BIGINT,
    document JSONB NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT pk_fused_models PRIMARY KEY (cycle_id),
    CONSTRAINT fk_fused_models_cycle_id FOREIGN KEY (cycle_id) REFERENCES cycles (id),
    CONSTRAINT fk_fused_models_model_id FOREIGN KEY (model_id) REFERENCES models (id)
);
"""

DOWNGRADE = """
DROP TABLE fused_models;

DROP TABLE stops;
"""


def upgrade() -> None:
    """Apply the change."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take the change back: every galaxy is asked its full number again."""
    op.execute(DOWNGRADE)
