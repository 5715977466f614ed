"""Catalogues that grow: imports on record, galaxies that wait for the end of one, versions that share galaxies."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

UPGRADE = """
ALTER TABLE catalogues
    ADD COLUMN base_id BIGINT,
    ADD CONSTRAINT fk_catalogues_base_id FOREIGN KEY (base_id) REFERENCES catalogues (id);

CREATE TABLE catalogue_imports (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    campaign_id BIGINT NOT NULL,
    key TEXT,
    source TEXT NOT NULL,
    rows_done INTEGER NOT NULL,
    catalogue_id BIGINT,
    n_added INTEGER NOT NULL,
    n_replaced INTEGER NOT NULL,
    n_known INTEGER NOT NULL,
    n_failed INTEGER NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    CONSTRAINT pk_catalogue_imports PRIMARY KEY (id),
    CONSTRAINT fk_catalogue_imports_campaign_id FOREIGN KEY (campaign_id) REFERENCES campaigns (id),
    CONSTRAINT fk_catalogue_imports_catalogue_id FOREIGN KEY (catalogue_id) REFERENCES catalogues (id),
    CONSTRAINT ck_catalogue_imports_counts CHECK (
        rows_done >= 0 AND n_added >= 0 AND n_replaced >= 0 AND n_known >= 0 AND n_failed >= 0
    )
);

CREATE UNIQUE INDEX uq_catalogue_imports_running ON catalogue_imports (campaign_id, key) WHERE finished_at IS NULL;

CREATE INDEX ix_catalogue_imports_catalogue_id ON catalogue_imports (catalogue_id);

CREATE TABLE waiting_galaxies (
    import_id BIGINT NOT NULL,
    galaxy_id TEXT COLLATE "C" NOT NULL,
    row INTEGER NOT NULL,
    place BIGINT NOT NULL,
    ra_deg DOUBLE PRECISION,
    dec_deg DOUBLE PRECISION,
    image_key TEXT NOT NULL,
    unbiased BOOLEAN NOT NULL,
    evaluation BOOLEAN NOT NULL,
    CONSTRAINT pk_waiting_galaxies PRIMARY KEY (import_id, galaxy_id),
    CONSTRAINT fk_waiting_galaxies_import_id FOREIGN KEY (import_id) REFERENCES catalogue_imports (id)
);

CREATE TABLE waiting_votes (
    import_id BIGINT NOT NULL,
    row INTEGER NOT NULL,
    key TEXT NOT NULL,
    CONSTRAINT pk_waiting_votes PRIMARY KEY (import_id, row),
    CONSTRAINT fk_waiting_votes_import_id FOREIGN KEY (import_id) REFERENCES catalogue_imports (id)
);

INSERT INTO catalogue_imports (
    campaign_id, source, rows_done, catalogue_id, n_added, n_replaced, n_known, n_failed, started_at, finished_at
)
SELECT campaign_id, source, n_galaxies + n_failed, id, n_galaxies, 0, 0, n_failed, created_at, created_at
FROM catalogues ORDER BY id;

ALTER TABLE catalogue_faults ADD COLUMN import_id BIGINT;

UPDATE catalogue_faults SET import_id = catalogue_imports.id
FROM catalogue_imports WHERE catalogue_imports.catalogue_id = catalogue_faults.catalogue_id;

ALTER TABLE catalogue_faults
    DROP COLUMN catalogue_id,
    ALTER COLUMN import_id SET NOT NULL,
    ADD CONSTRAINT fk_catalogue_faults_import_id FOREIGN KEY (import_id) REFERENCES catalogue_imports (id);

CREATE INDEX ix_catalogue_faults_import_id ON catalogue_faults (import_id);
"""

DOWNGRADE = """
-- Versions that share galaxies become catalogues with galaxies of their own.
INSERT INTO galaxies (catalogue_id, row, galaxy_id, ra_deg, dec_deg, image_key, unbiased, evaluation)
SELECT catalogues.id, row, galaxy_id, ra_deg, dec_deg, image_key, unbiased, evaluation
FROM catalogues JOIN galaxies ON galaxies.catalogue_id = catalogues.base_id
WHERE galaxies.row < catalogues.n_galaxies;

DELETE FROM galaxies USING catalogues
WHERE catalogues.id = galaxies.catalogue_id AND galaxies.row >= catalogues.n_galaxies;

ALTER TABLE catalogue_faults ADD COLUMN catalogue_id BIGINT;

UPDATE catalogue_faults SET catalogue_id = catalogue_imports.catalogue_id
FROM catalogue_imports WHERE catalogue_imports.id = catalogue_faults.import_id;

DELETE FROM catalogue_faults WHERE catalogue_id IS NULL;

ALTER TABLE catalogue_faults
    DROP COLUMN import_id,
    ALTER COLUMN catalogue_id SET NOT NULL,
    ADD CONSTRAINT fk_catalogue_faults_catalogue_id FOREIGN KEY (catalogue_id) REFERENCES catalogues (id);

CREATE INDEX ix_catalogue_faults_catalogue_id ON catalogue_faults (catalogue_id);

DROP TABLE waiting_votes;

DROP TABLE waiting_galaxies;

DROP TABLE catalogue_imports;

ALTER TABLE catalogues DROP COLUMN base_id;
"""


def upgrade() -> None:
    """Apply the change; each catalogue becomes the work of one import."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take the change back: imports are forgotten, and versions hold their galaxies each for itself."""
    op.execute(DOWNGRADE)
