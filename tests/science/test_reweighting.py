"""Unbiased estimates from selected galaxies: exact on pools small enough to draw in every order."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alservice.errors import BadInput
from alservice.science.reweighting import Weighted, inclusion_ratio, lure, lure_weights, step_probabilities

POOLS = st.lists(st.tuples(st.floats(-3, 3), st.floats(0, 10)), min_size=3, max_size=6)


def chance_of(log_weights, order):
    """Return the probability of one whole order, and the steps' chances."""
    chances = step_probabilities(log_weights, np.array(order))
    return float(np.prod(chances)), chances


@given(POOLS, st.data())
def test_the_estimate_is_unbiased_over_every_order(pool, data) -> None:
    """Weighted by how likely each order is, the estimates average to the pool's mean: to rounding."""
    log_weights, losses = np.array(pool).T
    n_drawn = data.draw(st.integers(2, len(pool)))
    mean, total = 0.0, 0.0
    for order in permutations(range(len(pool)), n_drawn):
        chance, chances = chance_of(log_weights, order)
        mean += chance * lure(losses[list(order)], chances, len(pool)).value
        total += chance
    assert total == pytest.approx(1)
    assert mean == pytest.approx(losses.mean(), rel=1e-9, abs=1e-9)


@given(st.integers(2, 30), st.data())
def test_a_uniform_draw_gives_the_plain_mean(n_pool, data) -> None:
    """Every weight is 1, and the value is the mean of what was drawn."""
    n_drawn = data.draw(st.integers(2, n_pool))
    losses = np.random.default_rng(n_drawn).normal(size=n_drawn)
    chances = 1 / (n_pool - np.arange(n_drawn))
    np.testing.assert_allclose(lure_weights(chances, n_pool), 1)
    assert lure(losses, chances, n_pool).value == pytest.approx(losses.mean())


def test_the_whole_pool_is_known_exactly() -> None:
    """Whatever the order was, the mean has no variance."""
    losses = np.array([3.0, 1.0, 2.0])
    chances = step_probabilities(np.array([0.0, 2.0, -1.0]), np.array([1, 0, 2]))
    whole = lure(losses, chances, 3)
    assert (whole.value, whole.variance, whole.low) == (2.0, 0.0, 2.0)


def test_value_and_variance_over_seeds_of_a_pool() -> None:
    """Selected by loss, the naive mean is far off; LURE is not, and its variance is the one seen over seeds."""
    rng = np.random.default_rng(5)
    losses = rng.gamma(2, 1, 400)
    log_weights = np.log(losses + 0.3)
    values, variances, naive = [], [], []
    for seed in range(1500):
        keys = log_weights + np.random.default_rng(seed).gumbel(size=400)
        order = np.argsort(-keys)[:60]
        estimate = lure(losses[order], step_probabilities(log_weights, order), 400)
        values.append(estimate.value)
        variances.append(estimate.variance)
        naive.append(losses[order].mean())
    error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values) - losses.mean()) < 4 * error
    assert np.mean(naive) - losses.mean() > 50 * error
    assert np.mean(variances) == pytest.approx(np.var(values), rel=0.12)
    covered = np.abs(np.array(values) - losses.mean()) < 1.96 * np.sqrt(variances)
    assert 0.90 < covered.mean() < 0.98


def test_a_ratio_by_inclusion_probabilities_over_seeds() -> None:
    """Drawn one by one with known probabilities, the weighted ratio finds the pool's, with its variance."""
    rng = np.random.default_rng(6)
    votes = rng.integers(5, 40, 2000)
    nats = votes * rng.gamma(2, 0.1, 2000)
    probabilities = np.clip(nats / nats.max(), 0.02, 1)
    estimates = []
    for seed in range(400):
        drawn = np.random.default_rng(seed).random(2000) < probabilities
        estimates.append(inclusion_ratio(nats[drawn], votes[drawn], probabilities[drawn]))
    values = np.array([e.value for e in estimates])
    assert values.mean() == pytest.approx(nats.sum() / votes.sum(), rel=0.01)
    assert np.mean([e.variance for e in estimates]) == pytest.approx(values.var(), rel=0.2)


def test_a_dominant_galaxy_does_not_cancel_the_rest() -> None:
    """Chances after it stay those of the others."""
    chances = step_probabilities(np.array([60.0, 0.0, 0.0]), np.array([0, 2]))
    np.testing.assert_allclose(chances, [1, 0.5])


@pytest.mark.parametrize(
    "call",
    [
        lambda: step_probabilities(np.zeros(3), np.array([1, 1])),
        lambda: step_probabilities(np.array([0.0, -np.inf]), np.array([1])),
        lambda: lure_weights(np.array([0.5, 0.0]), 5),
        lambda: lure_weights(np.array([0.5, 1.5]), 5),
        lambda: lure_weights(np.ones(3), 2),
        lambda: lure(np.ones(1), np.ones(1), 5),
        lambda: lure(np.array([1.0, np.nan]), np.ones(2), 5),
        lambda: inclusion_ratio(np.ones(2), np.zeros(2), np.ones(2)),
        lambda: inclusion_ratio(np.ones(2), np.ones(2), np.array([0.0, 1.0])),
    ],
)
def test_impossible_draws_are_refused(call) -> None:
    """Repeats, no weight, chances outside (0, 1], too few losses."""
    with pytest.raises(BadInput):
        call()


def test_the_interval_is_the_normal_one() -> None:
    """Value plus and minus 1.96 standard errors, the square root of the variance, on either side."""
    found = Weighted(value=3.0, variance=0.25)
    assert found.high == pytest.approx(3 + 1.959964 * 0.5, abs=1e-6)
    assert found.low == pytest.approx(3 - 1.959964 * 0.5, abs=1e-6)


def test_two_draws_by_hand() -> None:
    """Of three galaxies with losses 1, 2, 4 the second and the third were drawn, with chances 1/2 and 3/4."""
    weights = [1 + (1 / 2) * (1 / (3 * 0.5) - 1), 1 + 1 * (1 / (2 * 0.75) - 1)]
    np.testing.assert_allclose(lure_weights(np.array([0.5, 0.75]), 3), weights)
    found = lure(np.array([2.0, 4.0]), np.array([0.5, 0.75]), 3)
    assert found.value == pytest.approx((2 * weights[0] + 4 * weights[1]) / 2)
    # One estimate per step: 2 / (3 / 2), and 4 / (3 * 3 / 4) with the first galaxy's 2 / 3 known; shares 1/4 and 3/4.
    steps, shares = np.array([2 / 1.5, 4 / 2.25 + 2 / 3]), np.array([0.25, 0.75])
    assert found.value == pytest.approx(float(shares @ steps))
    scatter = float((shares**2 * (steps - found.value) ** 2).sum())
    assert found.variance == pytest.approx(scatter / (1 - float((shares**2).sum())))


def test_a_ratio_by_hand() -> None:
    """Two galaxies: sums weighted by inverse probabilities, variance of the residuals."""
    y, x, p = np.array([3.0, 1.0]), np.array([2.0, 1.0]), np.array([0.5, 0.25])
    found = inclusion_ratio(y, x, p)
    assert found.value == pytest.approx((6 + 4) / (4 + 4))
    residuals = y - 1.25 * x
    assert found.variance == pytest.approx((0.5 / 0.25 * residuals[0] ** 2 + 0.75 / 0.0625 * residuals[1] ** 2) / 64)
