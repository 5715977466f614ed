"""Mixture quantiles and probabilities against scipy's Beta distribution."""

import numpy as np
import pytest
from scipy import stats

from alservice.science.pmf import mixture_cdf, mixture_quantiles

LEVELS = (0.05, 0.5, 0.95)


def mixtures(log10_precision, spread, n_rows=60, n_draws=12, seed=0):
    """Return Beta shapes whose components differ by `spread` in logit."""
    rng = np.random.default_rng(seed)
    precision = 10 ** rng.uniform(*log10_precision, (n_rows, 1)) * np.exp(0.3 * rng.normal(size=(n_rows, n_draws)))
    logit = 3 * rng.normal(size=(n_rows, 1)) + spread * rng.normal(size=(n_rows, n_draws))
    mean = 1 / (1 + np.exp(-logit))
    return mean * precision, (1 - mean) * precision


@pytest.mark.parametrize("spread", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("log10_precision", [(-2, 0), (0, 2), (2, 3), (3, 5.5)])
def test_quantiles_have_their_level_below_them(log10_precision, spread):
    """The exact mixture probability below each quantile is its level, from U-shaped to needle-sharp."""
    a, b = mixtures(log10_precision, spread)
    quantiles = mixture_quantiles(a, b, LEVELS)
    for column, level in enumerate(LEVELS):
        x = quantiles[:, column]
        below = stats.beta.cdf(x[:, None], a, b).mean(axis=1)
        # Where the probability jumps, at an end or between sharp components, the fraction must be right instead.
        steep = [stats.beta.cdf(np.clip(x + e, 0, 1)[:, None], a, b).mean(axis=1) for e in (-1e-3, 1e-3)]
        right = (np.abs(below - level) < 1e-3) | ((steep[0] <= level) & (level <= steep[1]))
        assert right.all()


def test_quantiles_of_one_component_are_the_betas():
    """A mixture of equals is that Beta."""
    a, b = np.array([[2.0] * 5, [40.0] * 5]), np.array([[7.0] * 5, [4.0] * 5])
    expected = stats.beta.ppf(LEVELS, a[:, :1], b[:, :1])
    np.testing.assert_allclose(mixture_quantiles(a, b, LEVELS), expected, atol=5e-4)


def test_quantiles_hold_the_spread_between_draws():
    """Two sharp draws that disagree give a wide interval, which the median of their intervals would not."""
    a, b = np.array([[200.0, 800.0]]), np.array([[800.0, 200.0]])
    low, _, high = mixture_quantiles(a, b, LEVELS)[0]
    assert low < 0.21
    assert high > 0.79


def test_probability_beyond_the_nodes_is_reported_at_the_end():
    """A component with all its probability at 0 has quantiles that are 0 to any use."""
    quantiles = mixture_quantiles(np.full((1, 3), 1e-30), np.full((1, 3), 5.0), LEVELS)
    assert (quantiles < 1e-12).all()


@pytest.mark.parametrize("x", [0.001, 0.2, 0.97])
def test_probabilities_equal_scipy(x):
    """The mixture's probability below x is the mean over its components."""
    a, b = mixtures((-1, 4), 0.5)
    np.testing.assert_allclose(mixture_cdf(a, b, x), stats.beta.cdf(x, a, b).mean(axis=1), atol=1e-3)


def test_rows_do_not_depend_on_their_neighbours():
    """Rows that share nodes give the same numbers alone."""
    a, b = mixtures((-1, 4), 0.5)
    together = mixture_quantiles(a, b, LEVELS)
    alone = np.concatenate([mixture_quantiles(a[i : i + 1], b[i : i + 1], LEVELS) for i in range(len(a))])
    np.testing.assert_allclose(together, alone, atol=1e-6)
