"""The registry's history of promotions, and what is measured of a cycle beside its models."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE promotions (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    campaign_id BIGINT NOT NULL,
    model_id BIGINT NOT NULL,
    replaced_id BIGINT,
    kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT pk_promotions PRIMARY KEY (id),
    CONSTRAINT ck_promotions_kind CHECK (kind IN ('gate', 'person', 'rollback')),
    CONSTRAINT fk_promotions_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaigns (id),
    CONSTRAINT fk_promotions_model_id FOREIGN KEY (model_id) REFERENCES models (id),
    CONSTRAINT fk_promotions_replaced_id FOREIGN KEY (replaced_id) REFERENCES models (id)
);

CREATE INDEX ix_promotions_campaign_id ON promotions (campaign_id);

INSERT INTO promotions (campaign_id, model_id, replaced_id, kind, actor, reason, at)
SELECT campaign_id, (detail->>'model')::bigint,
    lag((detail->>'model')::bigint) OVER (PARTITION BY campaign_id ORDER BY id),
    'gate', actor, 'promoted before promotions had reasons', at
FROM events WHERE kind = 'model.moved' AND detail->>'to' = 'champion' ORDER BY id;

CREATE TABLE cycle_statistics (
    cycle_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    document JSONB NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT pk_cycle_statistics PRIMARY KEY (cycle_id, kind),
    CONSTRAINT ck_cycle_statistics_kind CHECK (kind IN ('drift', 'selected', 'shadow')),
    CONSTRAINT fk_cycle_statistics_cycle_id FOREIGN KEY (cycle_id) REFERENCES cycles (id)
);
"""


def upgrade() -> None:
    """Apply the change."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take the change back; events keep the promotions, what was measured of cycles is lost."""
    op.execute("DROP TABLE promotions, cycle_statistics")
