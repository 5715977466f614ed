"""Searches for interesting galaxies: every rating is a line that stays, and who is shown what right now."""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE searches (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    campaign_id BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    owner TEXT NOT NULL,
    is_shared BOOLEAN NOT NULL,
    method TEXT NOT NULL,
    seed BIGINT NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT pk_searches PRIMARY KEY (id),
    CONSTRAINT uq_searches_campaign_id_name UNIQUE (campaign_id, name),
    CONSTRAINT ck_searches_method CHECK (method IN ('forests', 'gaussian-process')),
    CONSTRAINT fk_searches_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaigns (id)
);

CREATE TABLE ratings (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    search_id BIGINT NOT NULL,
    galaxy_id TEXT COLLATE "C" NOT NULL,
    rater TEXT NOT NULL,
    rating DOUBLE PRECISION,
    at timestamptz NOT NULL,
    CONSTRAINT pk_ratings PRIMARY KEY (id),
    CONSTRAINT ck_ratings_rating CHECK (rating BETWEEN 0 AND 5),
    CONSTRAINT fk_ratings_search_id FOREIGN KEY (search_id) REFERENCES searches (id)
);

CREATE INDEX ix_ratings_search_id ON ratings (search_id, id);

CREATE TABLE reservations (
    search_id BIGINT NOT NULL,
    galaxy_id TEXT COLLATE "C" NOT NULL,
    rater TEXT NOT NULL,
    position BIGINT NOT NULL,
    until timestamptz NOT NULL,
    CONSTRAINT pk_reservations PRIMARY KEY (search_id, galaxy_id),
    CONSTRAINT fk_reservations_search_id FOREIGN KEY (search_id) REFERENCES searches (id)
);
"""

DOWNGRADE = """
DROP TABLE reservations;

DROP TABLE ratings;

DROP TABLE searches;
"""


def upgrade() -> None:
    """Apply the change."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take the change back, with all searches and ratings."""
    op.execute(DOWNGRADE)
