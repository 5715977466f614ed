"""Synthetic galaxies, and stores in memory with builders, for tests of the package and of code that uses it.

Names are loaded when they are first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from alservice.lazy import lazily

if TYPE_CHECKING:
    from alservice.testing.galaxies import synthetic_galaxies
    from alservice.testing.memory import MemoryApp, memory_campaign
    from alservice.testing.ratings import MemoryRatings
    from alservice.testing.stores import (
        MemoryBatches,
        MemoryCampaigns,
        MemoryCatalogues,
        MemoryDailyVotes,
        MemoryLedger,
        MemoryObjects,
        MemoryPosteriors,
        MemoryRequests,
        MemorySelections,
    )

__all__ = [
    "MemoryApp",
    "MemoryBatches",
    "MemoryCampaigns",
    "MemoryCatalogues",
    "MemoryDailyVotes",
    "MemoryLedger",
    "MemoryObjects",
    "MemoryPosteriors",
    "MemoryRatings",
    "MemoryRequests",
    "MemorySelections",
    "memory_campaign",
    "synthetic_galaxies",
]

_HOMES: Final = {
    "MemoryApp": "alservice.testing.memory",
    "MemoryBatches": "alservice.testing.stores",
    "MemoryCampaigns": "alservice.testing.stores",
    "MemoryCatalogues": "alservice.testing.stores",
    "MemoryDailyVotes": "alservice.testing.stores",
    "MemoryLedger": "alservice.testing.stores",
    "MemoryObjects": "alservice.testing.stores",
    "MemoryPosteriors": "alservice.testing.stores",
    "MemoryRatings": "alservice.testing.ratings",
    "MemoryRequests": "alservice.testing.stores",
    "MemorySelections": "alservice.testing.stores",
    "memory_campaign": "alservice.testing.memory",
    "synthetic_galaxies": "alservice.testing.galaxies",
}

if not TYPE_CHECKING:  # a checker sees the imports above, and that there are no others
    __getattr__ = lazily(__name__, _HOMES)
