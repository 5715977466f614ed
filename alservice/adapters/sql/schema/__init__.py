"""Tables of the service: what must hold is a constraint here, so that no bug or race elsewhere can break it.

The partial indexes ``uq_cycles_open`` and ``uq_models_champion`` allow one open cycle and one champion per
campaign. `migrations/` builds the same tables; a test compares the two on a real Postgres.
"""

from __future__ import annotations

from alservice.adapters.sql.schema.catalogues import (
    campaign_versions,
    campaigns,
    catalogue_faults,
    catalogues,
    galaxies,
    image_shards,
)
from alservice.adapters.sql.schema.classifications import (
    classifications,
    ingest_cursors,
    quarantined_rows,
    tallies,
    workflow_versions,
)
from alservice.adapters.sql.schema.cycles import acquired, acquisitions, cycles, gate_decisions
from alservice.adapters.sql.schema.events import APPEND_ONLY, events
from alservice.adapters.sql.schema.metadata import metadata
from alservice.adapters.sql.schema.models import evaluations, models, posterior_shards, training_snapshots
from alservice.adapters.sql.schema.operations import call_totals, leases
from alservice.adapters.sql.schema.subjects import subjects

__all__ = [
    "APPEND_ONLY",
    "acquired",
    "acquisitions",
    "call_totals",
    "campaign_versions",
    "campaigns",
    "catalogue_faults",
    "catalogues",
    "classifications",
    "cycles",
    "evaluations",
    "events",
    "galaxies",
    "gate_decisions",
    "image_shards",
    "ingest_cursors",
    "leases",
    "metadata",
    "models",
    "posterior_shards",
    "quarantined_rows",
    "subjects",
    "tallies",
    "training_snapshots",
    "workflow_versions",
]
