"""Imports say how fluxes of FITS images became grey levels."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE catalogue_imports ADD COLUMN stretch TEXT")


def downgrade() -> None:
    op.execute("ALTER TABLE catalogue_imports DROP COLUMN stretch")
