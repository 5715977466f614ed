"""The web service: tokens, answered requests, pauses, votes per hour, and indexes of its pages."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE tokens (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    name TEXT NOT NULL,
    scope TEXT NOT NULL,
    digest TEXT NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    CONSTRAINT pk_tokens PRIMARY KEY (id),
    CONSTRAINT uq_tokens_name UNIQUE (name),
    CONSTRAINT uq_tokens_digest UNIQUE (digest),
    CONSTRAINT ck_tokens_scope CHECK (scope IN ('ingest', 'operate', 'read'))
);

CREATE TABLE answered_requests (
    token_id BIGINT NOT NULL,
    key TEXT NOT NULL,
    request_digest TEXT NOT NULL,
    status INTEGER,
    answer TEXT,
    claimed_at timestamptz NOT NULL,
    CONSTRAINT pk_answered_requests PRIMARY KEY (token_id, key),
    CONSTRAINT fk_answered_requests_token_id FOREIGN KEY (token_id) REFERENCES tokens (id)
);

CREATE TABLE campaign_pauses (
    campaign_id BIGINT NOT NULL,
    reason TEXT NOT NULL,
    actor TEXT NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT pk_campaign_pauses PRIMARY KEY (campaign_id),
    CONSTRAINT fk_campaign_pauses_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaigns (id)
);

CREATE TABLE ingest_hours (
    campaign_id BIGINT NOT NULL,
    hour timestamptz NOT NULL,
    source TEXT NOT NULL,
    classifications BIGINT NOT NULL,
    CONSTRAINT pk_ingest_hours PRIMARY KEY (campaign_id, hour, source),
    CONSTRAINT ck_ingest_hours_counts CHECK (classifications >= 0),
    CONSTRAINT fk_ingest_hours_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaigns (id)
);

INSERT INTO ingest_hours (campaign_id, hour, source, classifications)
SELECT campaign_id, date_trunc('hour', received_at, 'UTC'), source, count(*) FROM classifications GROUP BY 1, 2, 3;

CREATE FUNCTION count_ingest_hours() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ingest_hours (campaign_id, hour, source, classifications)
    SELECT campaign_id, date_trunc('hour', received_at, 'UTC'), source, count(*)
    FROM arrived GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (campaign_id, hour, source)
        DO UPDATE SET classifications = ingest_hours.classifications + excluded.classifications;
    RETURN NULL;
END $$;

CREATE TRIGGER count_hours AFTER INSERT ON classifications
    REFERENCING NEW TABLE AS arrived FOR EACH STATEMENT EXECUTE FUNCTION count_ingest_hours();

CREATE INDEX ix_subjects_campaign_id_state ON subjects (campaign_id, state);

CREATE INDEX ix_events_cycle_id_id ON events (cycle_id, id);
"""

DOWNGRADE = """
DROP INDEX ix_events_cycle_id_id;

DROP INDEX ix_subjects_campaign_id_state;

DROP TRIGGER count_hours ON classifications;

DROP FUNCTION count_ingest_hours;

DROP TABLE ingest_hours, campaign_pauses, answered_requests, tokens;
"""


def upgrade() -> None:
    """Apply the change."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take the change back, with all tokens."""
    op.execute(DOWNGRADE)
