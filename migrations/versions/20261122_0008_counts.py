"""Counts kept where rows are written: subjects by state, classifications by source."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

UPGRADE = """
-- Nobody writes between the first count and the trigger that goes on from it.
LOCK TABLE classifications, subjects IN SHARE ROW EXCLUSIVE MODE;

CREATE TABLE ingest_totals (
    campaign_id BIGINT NOT NULL,
    source TEXT NOT NULL,
    classifications BIGINT NOT NULL,
    CONSTRAINT pk_ingest_totals PRIMARY KEY (campaign_id, source),
    CONSTRAINT ck_ingest_totals_counts CHECK (classifications >= 0),
    CONSTRAINT fk_ingest_totals_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaigns (id)
);

INSERT INTO ingest_totals (campaign_id, source, classifications)
SELECT campaign_id, source, sum(classifications) FROM ingest_hours GROUP BY 1, 2;

CREATE OR REPLACE FUNCTION count_ingest_hours() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ingest_hours (campaign_id, hour, source, classifications)
    SELECT campaign_id, date_trunc('hour', received_at, 'UTC'), source, count(*)
    FROM arrived GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (campaign_id, hour, source)
        DO UPDATE SET classifications = ingest_hours.classifications + excluded.classifications;
    INSERT INTO ingest_totals (campaign_id, source, classifications)
    SELECT campaign_id, source, count(*) FROM arrived GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (campaign_id, source)
        DO UPDATE SET classifications = ingest_totals.classifications + excluded.classifications;
    RETURN NULL;
END $$;

CREATE TABLE subject_counts (
    campaign_id BIGINT NOT NULL,
    state TEXT NOT NULL,
    slot SMALLINT NOT NULL,
    subjects BIGINT NOT NULL,
    CONSTRAINT pk_subject_counts PRIMARY KEY (campaign_id, state, slot),
    CONSTRAINT ck_subject_counts_state CHECK (state IN (
        'created', 'creating', 'failed', 'live', 'planned', 'retired', 'verified', 'withdrawn')),
    CONSTRAINT fk_subject_counts_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaigns (id)
);

INSERT INTO subject_counts (campaign_id, state, slot, subjects)
SELECT campaign_id, state, 0, count(*) FROM subjects GROUP BY 1, 2;

CREATE FUNCTION count_new_subjects() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO subject_counts (campaign_id, state, slot, subjects)
    SELECT campaign_id, state, pg_backend_pid() % 32, count(*) FROM came GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (campaign_id, state, slot)
        DO UPDATE SET subjects = subject_counts.subjects + excluded.subjects;
    RETURN NULL;
END $$;

CREATE FUNCTION count_moved_subjects() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO subject_counts (campaign_id, state, slot, subjects)
    SELECT campaign_id, state, pg_backend_pid() % 32, sum(n)
    FROM (SELECT campaign_id, state, 1 AS n FROM came UNION ALL SELECT campaign_id, state, -1 FROM gone) AS moved
    GROUP BY 1, 2 HAVING sum(n) <> 0 ORDER BY 1, 2
    ON CONFLICT (campaign_id, state, slot)
        DO UPDATE SET subjects = subject_counts.subjects + excluded.subjects;
    RETURN NULL;
END $$;

CREATE FUNCTION keep_subjects() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the upload ledger keeps its rows: % is refused', TG_OP
        USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE TRIGGER count_new AFTER INSERT ON subjects
    REFERENCING NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION count_new_subjects();

CREATE TRIGGER count_moved AFTER UPDATE ON subjects
    REFERENCING OLD TABLE AS gone NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION count_moved_subjects();

CREATE TRIGGER keep BEFORE DELETE OR TRUNCATE ON subjects
    FOR EACH STATEMENT EXECUTE FUNCTION keep_subjects();
"""

DOWNGRADE = """
DROP TRIGGER keep ON subjects;

DROP TRIGGER count_moved ON subjects;

DROP TRIGGER count_new ON subjects;

DROP FUNCTION keep_subjects, count_moved_subjects, count_new_subjects;

CREATE OR REPLACE FUNCTION count_ingest_hours() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ingest_hours (campaign_id, hour, source, classifications)
    SELECT campaign_id, date_trunc('hour', received_at, 'UTC'), source, count(*)
    FROM arrived GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (campaign_id, hour, source)
        DO UPDATE SET classifications = ingest_hours.classifications + excluded.classifications;
    RETURN NULL;
END $$;

DROP TABLE subject_counts, ingest_totals;
"""


def upgrade() -> None:
    """Apply the change; every row that is there is counted once."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take the change back: counts are made by looking at every row again."""
    op.execute(DOWNGRADE)
