"""Counted classifications -> a forecast of volunteers' throughput."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

import numpy as np

from alservice.acquisition.votes import HISTORY_DAYS, MIN_DAYS, VoteForecast, forecast_votes
from alservice.shapes import IntArray
from alservice.votes.ingest import ClassificationStore


@dataclass(frozen=True, kw_only=True)
class ForecastVotes:
    """Measure what a campaign's volunteers gave per day, and say what they will give."""

    classifications: ClassificationStore

    def run(self, campaign_id: int, *, at: datetime, horizon_days: float) -> VoteForecast | None:
        """Return the forecast from a moment (UTC) on; None with less than a week of history."""
        daily = self.history(campaign_id, at=at)
        return None if len(daily) < MIN_DAYS else forecast_votes(daily, horizon_days)

    def history(self, campaign_id: int, *, at: datetime) -> IntArray:
        """Return counted classifications of up to 28 whole days (UTC) before a moment, oldest first.

        It begins with the first day that has any. Later days without any count as 0: whether volunteers stayed away
        or had nothing to classify cannot be told from the ledger.
        """
        today = datetime.combine(at.astimezone(UTC).date(), time(), UTC)
        since = today - timedelta(days=HISTORY_DAYS)
        counted = self.classifications.counted_per_day(campaign_id, since=since, until=today)
        days = [(since + timedelta(days=day)).date() for day in range(HISTORY_DAYS)]
        return np.array([counted.get(day, 0) for day in days if counted and day >= min(counted)], dtype=np.int64)
