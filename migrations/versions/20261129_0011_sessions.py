"""The web service's edge: sessions in rows, tokens that rotate or are one campaign's, webhooks opened by tokens."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

UPGRADE = """
ALTER TABLE tokens
    ADD COLUMN campaign_id BIGINT,
    ADD COLUMN previous_digest TEXT,
    ADD COLUMN previous_until timestamptz,
    ADD CONSTRAINT fk_tokens_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaigns (id),
    ADD CONSTRAINT uq_tokens_previous_digest UNIQUE (previous_digest),
    ADD CONSTRAINT ck_tokens_campaign CHECK (campaign_id IS NULL OR scope = 'ingest'),
    ADD CONSTRAINT ck_tokens_previous CHECK ((previous_digest IS NULL) = (previous_until IS NULL));

CREATE TABLE web_sessions (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    token_id BIGINT NOT NULL,
    digest TEXT NOT NULL,
    created_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    address TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    CONSTRAINT pk_web_sessions PRIMARY KEY (id),
    CONSTRAINT uq_web_sessions_digest UNIQUE (digest),
    CONSTRAINT fk_web_sessions_token_id FOREIGN KEY (token_id) REFERENCES tokens (id)
);

CREATE INDEX ix_web_sessions_token_id ON web_sessions (token_id);

-- Hashes of logins, from which no token can be made: each webhook keeps its address and is given a token anew.
ALTER TABLE webhooks DROP COLUMN digest;
"""

DOWNGRADE = """
ALTER TABLE webhooks ADD COLUMN digest TEXT NOT NULL DEFAULT 'none';

ALTER TABLE webhooks ALTER COLUMN digest DROP DEFAULT;

DROP TABLE web_sessions;

ALTER TABLE tokens DROP COLUMN campaign_id, DROP COLUMN previous_digest, DROP COLUMN previous_until;
"""


def upgrade() -> None:
    """Apply the change; logins of webhooks end."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take the change back, with all sessions; webhooks open to nobody until a login is issued."""
    op.execute(DOWNGRADE)
