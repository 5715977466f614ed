"""Backfill: replay the loop over recorded votes and measure what each policy saves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alservice.lazy import lazily

if TYPE_CHECKING:
    from alservice.backfill.options import BackfillOptions
    from alservice.backfill.plan import Backfill, BackfillPlan, Round
    from alservice.backfill.run import run_backfill
    from alservice.backfill.savings import Curves, Saving
else:
    __getattr__ = lazily(
        __name__,
        {
            "Backfill": "alservice.backfill.plan",
            "BackfillOptions": "alservice.backfill.options",
            "BackfillPlan": "alservice.backfill.plan",
            "Curves": "alservice.backfill.savings",
            "Round": "alservice.backfill.plan",
            "Saving": "alservice.backfill.savings",
            "run_backfill": "alservice.backfill.run",
        },
    )

__all__ = [
    "Backfill",
    "BackfillOptions",
    "BackfillPlan",
    "Curves",
    "Round",
    "Saving",
    "run_backfill",
]
