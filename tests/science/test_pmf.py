"""Vote-count probabilities against scipy and full enumeration."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import gammaln

from alservice.science.pmf import (
    beta_binomial_log_pmf,
    binomial_pmf,
    compositions,
    dirichlet_multinomial_entropy,
    entropy,
    log_rising,
    log_rising_table,
    n_compositions,
    row_slices,
    sequence_log_probability,
)

RHO = np.array([0, 1e-12, 1e-6, 0.01, 0.3, 0.5, 0.9, 1 - 1e-6, 1 - 1e-12, 1])


@pytest.mark.parametrize("n", [0, 1, 40, 1000])
def test_binomial_pmf_equals_scipy(n):
    """Probabilities agree with scipy from rho = 0 to 1, ends included."""
    expected = stats.binom.pmf(np.arange(n + 1), n, RHO[:, None])
    np.testing.assert_allclose(binomial_pmf(RHO, n), expected, rtol=1e-11, atol=1e-300)


@pytest.mark.parametrize("a", [1e-20, 1e-3, 0.5, 7.9, 8.1, 300.0])
@pytest.mark.parametrize("k", [0, 1, 0.5, 44, 1000])
def test_rising_factorials_equal_log_gamma_differences(a, k):
    """Where ln Gamma does not cancel, the ratio agrees with scipy's."""
    assert log_rising(a, k) == pytest.approx(gammaln(a + k) - gammaln(a), rel=1e-12, abs=1e-10)


def test_rising_factorials_do_not_cancel_at_large_concentrations():
    """At a = 1e12 the ratio is a^k to twelve digits, where ln Gamma differences have lost ten."""
    assert log_rising(1e12, 3) == pytest.approx(3 * math.log(1e12) + 3e-12, rel=1e-15)


def test_table_of_rising_factorials_equals_single_values():
    """The cumulative table and the series agree for every k."""
    a = np.array([1e-8, 0.2, 3.0, 1e5])
    np.testing.assert_allclose(log_rising_table(a, 60), log_rising(a[:, None], np.arange(61)), rtol=1e-12)


def test_beta_binomial_equals_scipy():
    """One answer against the rest follows scipy's beta-binomial."""
    a, b = np.array([0.05, 0.7, 30.0]), np.array([4.0, 0.7, 2.0])
    expected = stats.betabinom.logpmf(np.arange(41), 40, a[:, None], b[:, None])
    np.testing.assert_allclose(beta_binomial_log_pmf(a, b, 40), expected, atol=1e-9)


@pytest.mark.parametrize(("n", "parts"), [(0, 2), (1, 3), (5, 2), (6, 4)])
def test_compositions_are_every_outcome_once(n, parts):
    """All rows sum to n, none repeats, and there are C(n + A - 1, A - 1)."""
    outcomes = compositions(n, parts)
    assert (outcomes >= 0).all()
    assert (outcomes.sum(axis=1) == n).all()
    assert len({tuple(row) for row in outcomes.tolist()}) == len(outcomes) == n_compositions(n, parts)


def test_state_probabilities_equal_scipy():
    """With its multinomial coefficient, the sequence probability is scipy's Dirichlet-multinomial."""
    alpha = np.array([[[0.3, 2.0, 5.0], [10.0, 0.1, 1.0]]])
    states = compositions(7, 3)
    coefficient = gammaln(8) - gammaln(states + 1).sum(axis=1)
    ours = coefficient + sequence_log_probability(alpha, 7, states)
    for draw in range(2):
        expected = [stats.dirichlet_multinomial.logpmf(state, alpha[0, draw], 7) for state in states]
        np.testing.assert_allclose(ours[0, draw], expected, atol=1e-10)


@given(
    alpha=st.lists(st.floats(1e-3, 1e4), min_size=2, max_size=4),
    n=st.integers(0, 9),
)
def test_closed_form_entropy_equals_enumeration(alpha, n):
    """The O(A n) entropy is the sum over all outcomes."""
    alpha = np.array(alpha)
    outcomes = compositions(n, len(alpha))
    coefficient = gammaln(n + 1) - gammaln(outcomes + 1).sum(axis=1)
    log_p = coefficient + sequence_log_probability(alpha[None, None], n, outcomes)[0, 0]
    assert dirichlet_multinomial_entropy(alpha, n) == pytest.approx(-np.sum(np.exp(log_p) * log_p), abs=1e-9)


def test_entropy_counts_impossible_states_as_nothing():
    """0 ln 0 is 0, along any axis."""
    pmf = np.array([[1.0, 0.0], [0.5, 0.5]])
    np.testing.assert_allclose(entropy(pmf), [0, math.log(2)])
    np.testing.assert_allclose(entropy(pmf.T, axis=0), [0, math.log(2)])


def test_row_slices_cover_all_rows_in_bounded_pieces():
    """Every row is in one slice, and no slice holds more than the budget unless one row does."""
    slices = list(row_slices(1000, 2**14))
    assert [row for piece in slices for row in range(1000)[piece]] == list(range(1000))
    assert max(piece.stop - piece.start for piece in slices) * 2**14 <= 2**20
    assert len(list(row_slices(3, 2**30))) == 3
