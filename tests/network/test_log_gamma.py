"""Differences of log-gamma against scipy, from the smallest concentration to the largest."""

import numpy as np
import pytest
import torch
from scipy.special import digamma, gammaln

from alservice.network import likelihood as log_gamma
from alservice.network.likelihood import LogFactorials, log_rising

COUNTS = (0.0, 0.25, 1.0, 7.5, 44.0, 1000.0)


def grid(low, high):
    """Return every pair of a concentration and a count: float64 (n,) each."""
    a, k = torch.meshgrid(
        torch.logspace(low, high, 600, dtype=torch.float64),
        torch.tensor(COUNTS, dtype=torch.float64),
        indexing="ij",
    )
    return a.reshape(-1), k.reshape(-1)


@pytest.mark.parametrize(("dtype", "value", "slope"), [(torch.float32, 5e-6, 3e-6), (torch.float64, 1e-11, 1e-10)])
def test_value_and_slope_are_those_of_the_gamma_function(dtype, value, slope):
    """From 1e-10 to ten thousand both agree with scipy to the digits that the dtype has."""
    a, k = grid(-10, 4)
    ours, slopes = log_rising(a, k, dtype=dtype, slope=True)
    expected = gammaln((a + k).numpy()) - gammaln(a.numpy())
    np.testing.assert_allclose(ours, expected, rtol=1e-11, atol=value)
    np.testing.assert_allclose(slopes, digamma((a + k).numpy()) - digamma(a.numpy()), rtol=slope, atol=slope)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_far_concentrations_are_a_power(dtype):
    """Where gamma functions lose everything to cancellation, up to 1e38, the value is k ln a and the slope k / a."""
    a, k = grid(8, 38)
    ours, slopes = log_rising(a, k, dtype=dtype, slope=True)
    correction = k * (k - 1) / (2 * a)
    np.testing.assert_allclose(ours, k * torch.log(a) + correction, rtol=1e-12, atol=2e-6)
    np.testing.assert_allclose(slopes, k / a, rtol=1e-4, atol=1e-14)


def test_the_smallest_concentrations_do_not_overflow():
    """At the smallest normal float32 a thousand votes still have a finite value and slope."""
    a = torch.full((1,), torch.finfo(torch.float32).tiny, dtype=torch.float64)
    ours, slopes = log_rising(a, torch.full_like(a, 1000), dtype=torch.float32, slope=True)
    assert ours.item() == pytest.approx(gammaln(1000) + np.log(a.item()), rel=1e-6)
    assert slopes.item() == pytest.approx(1 / a.item(), rel=1e-5)


@pytest.mark.parametrize("share", [0.05, 0.35, 0.45])
def test_few_votes_among_many_questions_are_as_good(share):
    """Where most counts are zero only the others are worked on: the same values and slopes, and exactly 0 elsewhere."""
    a, k = grid(-3, 3)
    k = torch.where(torch.rand(len(k), generator=torch.Generator().manual_seed(0)) < share, k + 1, 0)
    ours, slopes = log_rising(a, k, dtype=torch.float64, slope=True)
    np.testing.assert_allclose(ours, gammaln((a + k).numpy()) - gammaln(a.numpy()), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(slopes, digamma((a + k).numpy()) - digamma(a.numpy()), rtol=1e-10, atol=1e-10)
    assert not ours[k == 0].any()
    assert not slopes[k == 0].any()
    alone, empty = log_rising(a, k, dtype=torch.float64, slope=False)
    assert torch.equal(alone, ours)
    assert not len(empty)


def test_without_votes_the_value_is_nothing():
    """No votes give exactly 0 and no slope, whatever the concentration."""
    a = torch.logspace(-37, 37, 300, dtype=torch.float64)
    ours, slopes = log_rising(a, torch.zeros_like(a), dtype=torch.float32, slope=True)
    assert torch.count_nonzero(ours) == 0
    assert torch.count_nonzero(slopes) == 0


def test_the_chunks_do_not_show(monkeypatch):
    """Work in pieces of seven gives the values of one piece."""
    a, k = grid(-3, 6)
    whole = log_rising(a, k, dtype=torch.float32, slope=True)
    monkeypatch.setattr(log_gamma, "_CHUNK", 7)
    for ours, expected in zip(log_rising(a, k, dtype=torch.float32, slope=True), whole, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("counts", [[[0.0, 1.0, 170.0]], [[0.5, 2.0, 3.0]], [[0.0, 1e6, 2.0]]])
def test_factorials_of_counts_whole_or_not(counts):
    """Looked up or computed, ln k! is scipy's, for counts and for their sum."""
    k = torch.tensor(counts, dtype=torch.float64)
    values = torch.cat([k, k.sum(-1, keepdim=True)], dim=-1)
    np.testing.assert_allclose(LogFactorials(k).of(values), gammaln(values.numpy() + 1), rtol=1e-12, atol=1e-12)
