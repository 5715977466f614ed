"""Tables of the service: what must hold is a constraint here, so that no bug or race elsewhere can break it.

The partial indexes ``uq_cycles_open`` and ``uq_models_champion`` allow one open cycle and one champion per
campaign. `migrations/` builds the same tables; a test compares the two on a real Postgres.
"""

from __future__ import annotations

from alservice.storage.schema.catalogues import (
    campaign_versions,
    campaigns,
    catalogue_faults,
    catalogues,
    galaxies,
    image_shards,
)
from alservice.storage.schema.classifications import (
    classifications,
    ingest_cursors,
    quarantined_rows,
    tallies,
    tally_faults,
    workflow_versions,
)
from alservice.storage.schema.counts import ingest_hours, ingest_totals, subject_counts
from alservice.storage.schema.cycles import acquired, acquisitions, cycles, gate_decisions
from alservice.storage.schema.events import APPEND_ONLY, events
from alservice.storage.schema.feeds import exports, reductions, webhooks
from alservice.storage.schema.metadata import metadata
from alservice.storage.schema.models import (
    cycle_statistics,
    evaluations,
    models,
    posterior_shards,
    promotions,
    training_snapshots,
)
from alservice.storage.schema.operations import call_totals, cycle_runs, leases, sent_steps
from alservice.storage.schema.subjects import subjects
from alservice.storage.schema.web import answered_requests, campaign_pauses, tokens, web_sessions

__all__ = [
    "APPEND_ONLY",
    "acquired",
    "acquisitions",
    "answered_requests",
    "call_totals",
    "campaign_pauses",
    "campaign_versions",
    "campaigns",
    "catalogue_faults",
    "catalogues",
    "classifications",
    "cycle_runs",
    "cycle_statistics",
    "cycles",
    "evaluations",
    "events",
    "exports",
    "galaxies",
    "gate_decisions",
    "image_shards",
    "ingest_cursors",
    "ingest_hours",
    "ingest_totals",
    "leases",
    "metadata",
    "models",
    "posterior_shards",
    "promotions",
    "quarantined_rows",
    "reductions",
    "sent_steps",
    "subject_counts",
    "subjects",
    "tallies",
    "tally_faults",
    "tokens",
    "training_snapshots",
    "web_sessions",
    "webhooks",
    "workflow_versions",
]
