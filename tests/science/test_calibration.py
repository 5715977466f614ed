"""Scores of predicted vote counts against their definitions, and under votes that follow the prediction."""

import numpy as np
import pytest
from scipy import stats

from alservice.science.calibration import (
    beta_binomial_mixture_pmf,
    binomial_mixture_pmf,
    coverage_counts,
    crps,
    pit_bounds,
    reliability_curve,
    uniformity,
)

N = np.array([0, 3, 7, 7, 1])


def randomised_pit(pmf, k, rng):
    """Return F(k - 1) + v p(k) with uniform v: uniform in [0, 1] if the votes follow the prediction."""
    below, at = pit_bounds(pmf, k)
    return below + rng.random(len(pmf)) * at


def test_mixtures_average_the_draws_and_stop_at_each_galaxys_votes():
    """A row is the mean pmf for its own N, zero beyond, and sums to 1."""
    rng = np.random.default_rng(0)
    rho = rng.random((5, 4))
    pmf = binomial_mixture_pmf(rho, N)
    a, b = rng.gamma(2, 1, (5, 4)), rng.gamma(2, 1, (5, 4))
    beta_pmf = beta_binomial_mixture_pmf(a, b, N)
    k = np.arange(8)
    for row, n in enumerate(N):
        np.testing.assert_allclose(pmf[row], stats.binom.pmf(k, n, rho[row][:, None]).mean(axis=0), atol=1e-14)
        expected = stats.betabinom.pmf(k, n, a[row][:, None], b[row][:, None]).mean(axis=0)
        np.testing.assert_allclose(beta_pmf[row], expected, atol=1e-12)
    np.testing.assert_allclose(pmf.sum(axis=1), 1)


def test_crps_is_the_squared_distance_of_cumulative_functions():
    """A certain right prediction scores 0; a certain wrong one scores its distance in votes."""
    certain = np.eye(6)[[2, 2, 2]]
    np.testing.assert_allclose(crps(certain, np.array([2, 4, 0])), [0, 2, 2])
    uniform = np.full((1, 2), 0.5)
    np.testing.assert_allclose(crps(uniform, np.array([0])), [0.25])


def test_pit_is_uniform_for_votes_that_follow_the_prediction_and_only_then():
    """A Kolmogorov-Smirnov test accepts a calibrated model and rejects an overconfident one."""
    rng = np.random.default_rng(1)
    rho = rng.beta(2, 2, (4000, 1)) * np.ones(5)
    n = np.full(4000, 20)
    k = rng.binomial(n, rho[:, 0])
    assert stats.kstest(randomised_pit(binomial_mixture_pmf(rho, n), k, rng), "uniform").pvalue > 1e-3
    over_dispersed = rng.binomial(n, rng.beta(8 * rho[:, 0], 8 * (1 - rho[:, 0])))
    assert stats.kstest(randomised_pit(binomial_mixture_pmf(rho, n), over_dispersed, rng), "uniform").pvalue < 1e-6


def test_pit_lies_between_the_neighbouring_probabilities():
    """U is F(k - 1) plus a random part of p(k)."""
    pmf = np.array([[0.2, 0.5, 0.3]] * 200)
    u = randomised_pit(pmf, np.full(200, 1), np.random.default_rng(0))
    assert ((u >= 0.2) & (u <= 0.7)).all()
    assert u.std() > 0.1


def test_coverage_counts_votes_strictly_within_the_tolerance():
    """Eq. 11 and 12 by hand: N = 10, k_hat = 5, tolerance 0.1 leaves j = 5 alone, 0.2 leaves 4 to 6."""
    pmf = np.arange(11.0)[None] / 55
    expected, actual = coverage_counts(pmf, np.array([5.0]), np.array([[6, 10]]), (0.1, 0.2))
    np.testing.assert_allclose(expected, [[5 / 55, 15 / 55]])
    np.testing.assert_array_equal(actual, [[0, 1]])


def test_crps_equals_brute_force_over_the_counts():
    """E|X - k| - E|X - X'| / 2, another definition of the same score, vote by vote."""
    rng = np.random.default_rng(5)
    pmf = rng.dirichlet(np.ones(8), 20)
    k = rng.integers(0, 8, 20)
    votes = np.arange(8)
    apart = np.abs(votes[:, None] - votes)
    expected = (pmf * apart[k]).sum(axis=1) - 0.5 * np.einsum("bi,ij,bj->b", pmf, apart, pmf)
    np.testing.assert_allclose(crps(pmf, k), expected, atol=1e-12)


@pytest.mark.parametrize(("n", "power"), [(5, 1.0), (40, 1.0), (500, 1.0), (500, 1.4), (3, 9.0)])
def test_uniformity_is_the_kolmogorov_smirnov_test(n, power):
    """The distance is scipy's, the p-value its exact one within two hundredths."""
    u = np.random.default_rng(n).random(n) ** power
    distance, p = uniformity(u)
    exact = stats.kstest(u, "uniform")
    assert distance == pytest.approx(exact.statistic, abs=1e-12)
    assert p == pytest.approx(exact.pvalue, abs=0.02)


def test_evenly_spread_values_are_as_uniform_as_can_be():
    """The p-value of the smallest possible distance is 1, where its series does not converge."""
    assert uniformity((np.arange(1000) + 0.5) / 1000) == (pytest.approx(0.0005), 1.0)


def test_reliability_bins_hold_the_galaxies_predicted_alike():
    """Two bins by hand: means of both, the standard error of their difference, empty bins left out."""
    bins = reliability_curve(np.array([0.1, 0.2, 0.9, 1.0]), np.array([0.0, 0.2, 0.8, 0.7]), n_bins=2)
    assert [b.n_galaxies for b in bins] == [2, 2]
    assert [b.predicted for b in bins] == pytest.approx([0.15, 0.95])
    assert [b.observed for b in bins] == pytest.approx([0.1, 0.75])
    assert bins[0].error == pytest.approx(np.std([-0.1, 0.0], ddof=1) / np.sqrt(2))
    (single,) = reliability_curve(np.array([0.31]), np.array([0.5]))
    assert (single.n_galaxies, single.error) == (1, 0.0)
    assert reliability_curve(np.empty(0), np.empty(0)) == ()
