"""Tables of the service: what must hold is a constraint here, so that no bug or race elsewhere can break it.

Each stage declares its own; this module knows all of them. The partial indexes ``uq_cycles_open`` and
``uq_models_champion`` allow one open cycle and one champion per campaign. `migrations/` builds the same tables; a test
compares the two on a real Postgres.
"""

from __future__ import annotations

from typing import Final

from alservice.acquisition import schema as acquisition
from alservice.campaigns import schema as campaigns
from alservice.catalogue import schema as catalogue
from alservice.explore import schema as explore
from alservice.ops import schema as ops
from alservice.registry import schema as registry
from alservice.storage.postgres import metadata
from alservice.subjects import schema as subjects
from alservice.votes import schema as votes

SCHEMAS: Final = (campaigns, catalogue, registry, acquisition, subjects, votes, explore, ops)
"""Modules that declare tables."""

__all__ = ["SCHEMAS", "metadata"]
