"""How many votes volunteers will give: a forecast from counted classifications per day, with its interval.

The sum of H days to come has mean H m and variance S H (1 + H / D): S is the long-run variance of a day, which holds
the likeness of neighbouring days and weeks (Newey and West 1987, Econometrica 55, 703, Bartlett weights over a week),
and H / D the error of the mean m of D days. A lognormal distribution of that mean and variance gives the interval:
counts are positive and have long tails upwards. In simulations of 7 to 28 days the 90 % interval holds 87 to 94 % of
independent and weekly worlds, and 62 to 79 % where each day's level carries over to the next with 0.6: four weeks are
too short to see how far such a level may still drift.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist
from typing import Final

import numpy as np

from alservice.errors import BadConfig, BadInput, NumericalFault
from alservice.shapes import FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, slots=True)
class CostModel:
    """Rates that turn labels into time.

    Parameters
    ----------
    votes_per_galaxy
        Classifications asked for each labelled galaxy.
    classifications_per_day
        What volunteers give the project; measured from the ledger, or assumed and said so.
    training_s, predicted_per_s
        Seconds of one training, and galaxies predicted per second, on the machine that did the measuring.
    trainings
        Trainings in all.
    """

    votes_per_galaxy: float
    classifications_per_day: float
    training_s: float
    predicted_per_s: float
    trainings: int

    def __post_init__(self) -> None:
        rates = (self.votes_per_galaxy, self.classifications_per_day, self.training_s, self.predicted_per_s)
        if min(rates) <= 0 or self.trainings < 1:
            raise BadConfig(f"a cost needs positive rates and at least one training: {self}")

    def cost(self, *, labels: float, survey: int) -> Cost:
        """Return the cost of labelling so many galaxies of a survey and predicting all of it after each training."""
        votes = labels * self.votes_per_galaxy
        machine_s = self.trainings * (self.training_s + survey / self.predicted_per_s)
        return Cost(votes=votes, volunteer_days=votes / self.classifications_per_day, machine_hours=machine_s / 3600)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Votes (classifications), days of all volunteers together, and hours of the machine."""

    votes: float
    volunteer_days: float
    machine_hours: float


MIN_DAYS: Final = 7
"""Days of history below which nothing is forecast: a week has quiet and busy days."""

HISTORY_DAYS: Final = 28
"""Days looked back: four weeks, so that each weekday counts alike and last year does not count."""

_LAGS: Final = 7


@dataclass(frozen=True, kw_only=True, slots=True)
class VoteForecast:
    """Classifications that are expected within a horizon.

    Parameters
    ----------
    horizon_days, history_days
        Days forecast, and days learnt from.
    per_day
        Mean classifications per day.
    mean, low, high
        Classifications within the horizon: expected, and the ends of the interval.
    confidence
        Probability that the sum lies between the ends.
    """

    horizon_days: float
    history_days: int
    per_day: float
    mean: float
    low: float
    high: float
    confidence: float


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetProposal:
    """What a cycle may ask of volunteers, and how long what it does ask will take.

    Parameters
    ----------
    forecast
        Classifications until the campaign's deadline.
    galaxies
        Galaxies that its lower end pays for at the campaign's votes per galaxy.
    asked
        Classifications that the campaign's batch asks for.
    days_needed
        Whole days after which the forecast's lower end reaches them; None beyond a year.
    """

    forecast: VoteForecast
    galaxies: int
    asked: int
    days_needed: int | None

    def text(self) -> str:
        """Return the proposal in a few lines."""
        f = self.forecast
        days = "more than a year" if self.days_needed is None else f"{self.days_needed} days"
        expected = f"{f.mean:.0f} expected, {f.low:.0f} to {f.high:.0f} with {f.confidence:.0%} confidence"
        lines = (
            f"{f.per_day:.0f} classifications a day over the last {f.history_days} days",
            f"until the deadline, {f.horizon_days:g} days: {expected}",
            f"budget: {f.low:.0f} classifications, {self.galaxies} galaxies at the campaign's votes per galaxy",
            f"deadline: the batch asks for {self.asked}, which takes {days}",
        )
        return "\n".join(lines)


def forecast_votes(daily: IntArray, horizon_days: float, *, confidence: float = 0.9) -> VoteForecast:
    """Forecast the classifications of the days to come.

    Parameters
    ----------
    daily
        (D,) counted classifications of the last days, oldest first; days without any count as 0.
    horizon_days
        Days to come, need not be whole.
    confidence
        Of the interval, within (0, 1).

    Raises
    ------
    BadInput
        If there are fewer than 7 days, a count is negative, or horizon or confidence are out of range.
    """
    counts = np.asarray(daily, dtype=np.float64)
    if counts.ndim != 1 or len(counts) < MIN_DAYS or not (counts >= 0).all():
        raise BadInput(f"a forecast needs at least {MIN_DAYS} days of counts, none negative, not {len(counts)}")
    if not (0 < horizon_days < math.inf and 0 < confidence < 1):
        raise BadInput(f"a forecast needs days > 0 and a confidence in (0, 1): {horizon_days}, {confidence}")
    mean = float(counts.mean()) * horizon_days
    variance = _long_run_variance(counts) * horizon_days * (1 + horizon_days / len(counts))
    low, high = _interval(mean, variance, confidence)
    return VoteForecast(
        horizon_days=horizon_days,
        history_days=len(counts),
        per_day=float(counts.mean()),
        mean=mean,
        low=low,
        high=high,
        confidence=confidence,
    )


def days_until(daily: IntArray, votes: int, *, confidence: float = 0.9, limit_days: int = 365) -> int | None:
    """Return the whole days after which the forecast's lower end reaches so many votes, None beyond the limit."""
    for days in range(1, limit_days + 1):
        if forecast_votes(daily, days, confidence=confidence).low >= votes:
            return days
    return None


def _long_run_variance(counts: FloatArray) -> float:
    """Return the variance of a day's count that sums of days grow by."""
    n = len(counts)
    deviation = counts - counts.mean()
    lags = min(_LAGS, n // 4)
    autocovariance = [float(deviation[lag:] @ deviation[: n - lag]) / n for lag in range(lags + 1)]
    weighted = sum(2 * (1 - lag / (lags + 1)) * autocovariance[lag] for lag in range(1, lags + 1))
    # The estimated mean takes a share of the variance at every lag; the weights sum to lags + 1.
    likeness = (autocovariance[0] + weighted) * n / (n - lags - 1)
    # Busy weekends make days compensate; still nothing is steadier than chance.
    return max(likeness, float(counts.mean()))


def _interval(mean: float, variance: float, confidence: float) -> tuple[float, float]:
    if mean == 0:
        return 0.0, 0.0
    spread = math.log1p(variance / mean**2)
    centre, reach = math.log(mean) - spread / 2, NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(spread)
    return math.exp(centre - reach), math.exp(centre + reach)


def allocate_votes(information_nats: FloatArray, tiers: Sequence[int], budget: int) -> IntArray:
    """Return the votes to ask of each galaxy: one of the tiers.

    Parameters
    ----------
    information_nats
        (N, K) what each number of votes would teach about each galaxy.
    tiers
        K numbers of votes to choose from, growing; the first is asked of every galaxy, whatever the budget.
    budget
        Votes to spend on all galaxies together. What teaches nothing is not bought, so votes may be left over.

    Returns
    -------
    IntArray
        (N,) votes; ties go to the galaxy that comes first.

    Raises
    ------
    BadInput
        If tiers are not growing integers from 0 up, or shapes do not fit.
    NumericalFault
        If a galaxy's information is not finite; rows are named.
    """
    information, steps = np.asarray(information_nats, dtype=np.float64), np.asarray(tiers)
    if steps.ndim != 1 or not len(steps) or steps.dtype.kind not in "iu" or steps[0] < 0 or (np.diff(steps) <= 0).any():
        raise BadInput(f"tiers must be growing numbers of votes, not {list(tiers)}")
    if information.ndim != 2 or information.shape[1] != len(steps):
        raise BadInput(f"{len(steps)} tiers need information of (galaxies, {len(steps)}), not {information.shape}")
    bad = np.flatnonzero(~np.isfinite(information).all(axis=1))
    if len(bad):
        raise NumericalFault(f"information of row {bad[0]} is not finite", rows=bad[:20].tolist())
    votes = np.full(len(information), steps[0], dtype=np.int64)
    left = budget - int(votes.sum())
    climbs = [(-rate, row, tier) for row, curve in enumerate(information) for rate, tier in _hull(curve, steps)]
    for _, row, tier in sorted(climbs):
        # What did not fit leaves its galaxy where it stood: a higher climb from there costs more and fits no better.
        cost = int(steps[tier] - votes[row])
        if cost <= left:
            votes[row] = steps[tier]
            left -= cost
    return votes


def _hull(curve: FloatArray, steps: IntArray) -> list[tuple[float, int]]:
    """Return the climbs of a curve's concave hull that teach something: nats per vote, falling, and tier reached."""
    corners = [0]
    for tier in range(1, len(steps)):
        # A corner below the line from the one before it to the new one is no corner of the hull.
        while len(corners) > 1 and _rate(curve, steps, corners[-2], corners[-1]) <= _rate(
            curve, steps, corners[-1], tier
        ):
            corners.pop()
        corners.append(tier)
    climbs = [(_rate(curve, steps, a, b), b) for a, b in pairwise(corners)]
    return [(rate, tier) for rate, tier in climbs if rate > 0]


def _rate(curve: FloatArray, steps: IntArray, a: int, b: int) -> float:
    return float((curve[b] - curve[a]) / (steps[b] - steps[a]))
