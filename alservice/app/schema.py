"""Tables of the service: what must hold is a constraint here, so that no bug or race elsewhere can break it.

The partial indexes ``uq_cycles_open`` and ``uq_models_champion`` allow one open cycle and one champion per
campaign. `migrations/` builds the same tables; a test compares the two on a real Postgres.
"""

from __future__ import annotations

from alservice.storage.postgres import metadata

__all__ = ["metadata"]
