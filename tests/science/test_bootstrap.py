"""Resampled galaxies: sums that are paired, and intervals that are central."""

import numpy as np
import pytest

from alservice.science.bootstrap import bootstrap_sums, percentile_estimate


def test_columns_see_the_same_galaxies() -> None:
    """A column and its double differ by the factor in every sample, and a constant one sums to N."""
    values = np.random.default_rng(1).normal(size=(40, 1))
    sums = bootstrap_sums(np.hstack([values, 2 * values, np.ones((40, 1))]), repeats=300, rng=np.random.default_rng(2))
    assert sums.shape == (300, 3)
    np.testing.assert_allclose(sums[:, 1], 2 * sums[:, 0])
    np.testing.assert_array_equal(sums[:, 2], 40)


def test_samples_have_the_mean_and_the_error_of_the_sum() -> None:
    """Each sample is N galaxies with replacement: mean of the sum, and sqrt(N) times the spread about it."""
    values = np.random.default_rng(3).gamma(2, 1, size=(60, 1))
    sums = bootstrap_sums(values, repeats=4000, rng=np.random.default_rng(4))[:, 0]
    error = np.sqrt(60) * values.std()
    assert sums.mean() == pytest.approx(values.sum(), abs=4 * error / np.sqrt(4000))
    assert sums.std() == pytest.approx(error, rel=0.05)


def test_samples_differ_from_each_other() -> None:
    """Also beyond the rows that are drawn at a time."""
    sums = bootstrap_sums(np.arange(3000.0)[:, None], repeats=700, rng=np.random.default_rng(5))[:, 0]
    assert len(np.unique(sums)) > 690


@pytest.mark.parametrize(("confidence", "low", "high"), [(0.9, 5, 95), (0.5, 25, 75)])
def test_an_interval_leaves_out_as_much_on_either_side(confidence: float, low: float, high: float) -> None:
    """Of a hundred and one values from 0 to 100, quantiles are their own percent."""
    found = percentile_estimate(7, np.random.default_rng(6).permutation(np.arange(101.0)), confidence)
    assert (found.value, found.low, found.high) == (7, pytest.approx(low), pytest.approx(high))
