"""Forecasts of votes: right on average, honest about their width, and refusing what they cannot know."""

import numpy as np
import pytest

from alservice.acquisition.votes import days_until, forecast_votes
from alservice.errors import BadInput


def poisson(rng, days):
    """Return days of equal chance."""
    return rng.poisson(400, days)


def weekly(rng, days):
    """Return busy weekends, and a level that varies from day to day."""
    level = 300 * (1 + 0.8 * (np.arange(days) % 7 > 4))
    return rng.poisson(level * rng.gamma(8, 1 / 8, days))


def drifting(rng, days):
    """Return days like their neighbours."""
    noise = np.zeros(days)
    for day in range(1, days):
        noise[day] = 0.6 * noise[day - 1] + 0.15 * rng.normal()
    return rng.poisson(300 * np.exp(noise))


@pytest.mark.parametrize(("world", "least"), [(poisson, 0.86), (weekly, 0.83), (drifting, 0.73)])
def test_intervals_hold_what_comes(world, least):
    """Over many histories, nine in ten sums of the next six days lie within the 90 % interval; eight where days drift."""
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(400):
        days = world(rng, 34)
        forecast = forecast_votes(days[:28], 6)
        inside.append(forecast.low <= days[28:].sum() <= forecast.high)
    assert least <= np.mean(inside) <= 0.98


def test_a_forecast_scales_with_its_horizon():
    """The mean grows with the days, the interval by less than that, and its ends stay positive."""
    daily = np.random.default_rng(1).poisson(50, 28)
    one, ten = forecast_votes(daily, 1), forecast_votes(daily, 10)
    assert ten.mean == pytest.approx(10 * one.mean) == pytest.approx(10 * daily.mean())
    assert 0 < one.low < one.mean < one.high
    assert (ten.high - ten.low) / ten.mean < (one.high - one.low) / one.mean
    wider = forecast_votes(daily, 10, confidence=0.99)
    assert wider.low < ten.low < ten.high < wider.high


def test_no_votes_promise_none():
    """A silent month forecasts nothing, with certainty, and no deadline would do."""
    silent = np.zeros(28, dtype=int)
    forecast = forecast_votes(silent, 7)
    assert (forecast.mean, forecast.low, forecast.high) == (0, 0, 0)
    assert days_until(silent, 1) is None


def test_days_until_is_the_first_day_that_suffices():
    """One day less and the lower end falls short."""
    daily = np.random.default_rng(2).poisson(100, 20)
    days = days_until(daily, 1000)
    assert days is not None
    assert forecast_votes(daily, days).low >= 1000 > forecast_votes(daily, days - 1).low
    assert days > 10  # the mean alone would promise ten


@pytest.mark.parametrize(
    ("daily", "horizon", "confidence"),
    [
        (np.ones(6), 1, 0.9),
        (np.array([1, 2, 3, -1, 2, 2, 2]), 1, 0.9),
        (np.ones(7), 0, 0.9),
        (np.ones(7), 1, 1.0),
        (np.full(7, np.nan), 1, 0.9),
    ],
)
def test_what_cannot_be_forecast_is_refused(daily, horizon, confidence):
    """Less than a week, impossible counts, no horizon or no confidence."""
    with pytest.raises(BadInput, match="forecast"):
        forecast_votes(daily, horizon, confidence=confidence)
