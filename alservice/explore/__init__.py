"""Explore: a campaign's catalogue as its champion sees it, by choice of posteriors and by likeness."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alservice.lazy import lazily

if TYPE_CHECKING:
    from alservice.explore.anomalies import AnomalyService
    from alservice.explore.choice import Choice, Condition
    from alservice.explore.index import Index
    from alservice.explore.service import ExploreService, Likeness, Similar
    from alservice.explore.table import Found
else:
    __getattr__ = lazily(
        __name__,
        {
            "AnomalyService": "alservice.explore.anomalies",
            "Choice": "alservice.explore.choice",
            "Condition": "alservice.explore.choice",
            "ExploreService": "alservice.explore.service",
            "Found": "alservice.explore.table",
            "Index": "alservice.explore.index",
            "Likeness": "alservice.explore.service",
            "Similar": "alservice.explore.service",
        },
    )

__all__ = [
    "AnomalyService",
    "Choice",
    "Condition",
    "ExploreService",
    "Found",
    "Index",
    "Likeness",
    "Similar",
]
