"""Batches: votes asked per galaxy instead of per batch, and the arm of easy galaxies."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

UPGRADE = """
ALTER TABLE acquired
    ADD COLUMN n_votes INTEGER,
    DROP CONSTRAINT ck_acquired_arm,
    ADD CONSTRAINT ck_acquired_arm CHECK (arm IN ('easy', 'evaluation', 'informative', 'random')),
    ADD CONSTRAINT ck_acquired_n_votes CHECK (n_votes >= 1);

UPDATE acquired SET n_votes = acquisitions.n_votes FROM acquisitions WHERE acquisitions.cycle_id = acquired.cycle_id;

ALTER TABLE acquired ALTER COLUMN n_votes SET NOT NULL;

ALTER TABLE acquisitions DROP COLUMN n_votes;

-- A policy names the score as well as the rule now.
UPDATE campaign_versions
SET document = jsonb_set(document, '{acquisition,policy}', CASE document #>> '{acquisition,policy}'
    WHEN 'top' THEN '"bald"' WHEN 'power' THEN '"power_bald"' WHEN 'softmax' THEN '"softmax_bald"' END::jsonb)
WHERE document #>> '{acquisition,policy}' IN ('top', 'power', 'softmax');
"""

DOWNGRADE = """
ALTER TABLE acquisitions ADD COLUMN n_votes INTEGER;

UPDATE acquisitions SET n_votes = coalesce(
    (SELECT max(acquired.n_votes) FROM acquired WHERE acquired.cycle_id = acquisitions.cycle_id), 1);

ALTER TABLE acquisitions
    ALTER COLUMN n_votes SET NOT NULL,
    ADD CONSTRAINT ck_acquisitions_n_votes CHECK (n_votes >= 1);

UPDATE acquired SET arm = 'random', rank = rank + coalesce(
    (SELECT max(other.rank) FROM acquired other WHERE other.cycle_id = acquired.cycle_id AND other.arm = 'random'), 0)
WHERE arm = 'easy';

ALTER TABLE acquired
    DROP COLUMN n_votes,
    DROP CONSTRAINT ck_acquired_arm,
    ADD CONSTRAINT ck_acquired_arm CHECK (arm IN ('evaluation', 'informative', 'random'));

UPDATE campaign_versions
SET document = jsonb_set(document, '{acquisition,policy}', CASE document #>> '{acquisition,policy}'
    WHEN 'bald' THEN '"top"' WHEN 'power_bald' THEN '"power"' WHEN 'softmax_bald' THEN '"softmax"' END::jsonb)
WHERE document #>> '{acquisition,policy}' IN ('bald', 'power_bald', 'softmax_bald');
"""


def upgrade() -> None:
    """Apply the change; galaxies drawn before were all asked for their batch's votes."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take the change back; easy galaxies count as random ones, and a batch asks for its largest number of votes."""
    op.execute(DOWNGRADE)
