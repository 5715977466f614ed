"""Rescaling to expert labels and its tables, against values by hand and scikit-learn-free references."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import mannwhitneyu

from alservice.errors import BadInput
from alservice.science.experts import Rescaling, agreement, fit_rescaling, is_confident, roc


@pytest.fixture(scope="module")
def experts():
    """Return fractions and labels of experts who see bars more readily than volunteers."""
    rng = np.random.default_rng(0)
    fractions = rng.beta(0.8, 1.5, 4000)
    return fractions, rng.random(4000) < Rescaling(intercept=-2.0, slope=6.0)(fractions)


def test_the_function_behind_the_labels_is_found(experts):
    """It is the maximum of the likelihood, as a general optimiser finds it, and near the truth."""
    fitted = fit_rescaling(*experts)
    fractions, labels = experts

    def loss(weights):
        return np.logaddexp(0, np.where(labels, -1, 1) * (weights[0] + weights[1] * fractions)).sum()

    best = minimize(loss, [0.0, 0.0], tol=1e-12).x
    np.testing.assert_allclose([fitted.intercept, fitted.slope], best, rtol=1e-3)
    np.testing.assert_allclose(best, [-2, 6], atol=0.6)


def test_rescaled_fractions_count_what_experts_see(experts):
    """Over all galaxies, and in each bin of probability; plain fractions count too few."""
    fractions, labels = experts
    probabilities = fit_rescaling(fractions, labels)(fractions)
    np.testing.assert_allclose(probabilities.sum(), labels.sum(), rtol=1e-6)
    assert fractions.sum() < 0.9 * labels.sum()
    for low in np.arange(0.2, 0.9, 0.2):
        inside = (probabilities >= low) & (probabilities < low + 0.2)
        error = np.sqrt(0.25 / inside.sum())
        assert abs(labels[inside].mean() - probabilities[inside].mean()) < 4 * error


def test_labels_that_a_threshold_parts_have_a_finite_slope():
    """Two galaxies are enough, and the order stays."""
    fitted = fit_rescaling(np.array([0.1, 0.9]), np.array([False, True]))
    assert 0 < fitted.slope < 1e3
    low, high = fitted(np.array([0.1, 0.9]))
    assert low < 0.1
    assert high > 0.9


def test_the_area_is_the_chance_of_the_right_order():
    """Ties count by half, as the rank test has it."""
    rng = np.random.default_rng(1)
    scores, labels = rng.integers(0, 10, 200) / 10, rng.random(200) < 0.3
    found = roc(scores, labels)
    expected = mannwhitneyu(scores[labels], scores[~labels]).statistic / (labels.sum() * (~labels).sum())
    assert found.area == pytest.approx(expected)
    assert (found.false_rate[0], found.true_rate[0], found.false_rate[-1], found.true_rate[-1]) == (0, 0, 1, 1)
    hand = roc(np.array([0.9, 0.8, 0.8, 0.1]), np.array([True, True, False, False]))
    np.testing.assert_array_equal(hand.true_rate, [0, 0.5, 1, 1])
    np.testing.assert_array_equal(hand.false_rate, [0, 0, 0.5, 1])


def test_the_matrix_by_hand():
    """A half counts as yes; shares of nothing are no numbers."""
    found = agreement(np.array([0.5, 0.9, 0.2, 0.4, 0.6]), np.array([True, False, False, True, True]))
    assert (found.true_yes, found.false_yes, found.false_no, found.true_no) == (2, 1, 1, 1)
    assert (found.accuracy, found.precision, found.recall) == (0.6, 2 / 3, 2 / 3)
    assert found.expected_yes == pytest.approx(2.6)
    assert found.brier == pytest.approx((0.25 + 0.81 + 0.04 + 0.36 + 0.16) / 5)
    assert is_confident(np.array([0.1, 0.2, 0.5, 0.79, 0.8])).tolist() == [True, True, False, False, True]
    nothing = agreement(np.empty(0), np.empty(0, dtype=bool))
    assert np.isnan([nothing.accuracy, nothing.precision, nothing.recall, nothing.brier]).all()


@pytest.mark.parametrize(
    ("fractions", "labels", "message"),
    [
        ([0.1, 0.2], [True, True], "all 2 galaxies the same label"),
        ([0.1, 1.2], [True, False], "not within 0 and 1"),
        ([0.1, np.nan], [True, False], "not within 0 and 1"),
        ([0.1], [True, False], "one per galaxy"),
    ],
)
def test_what_cannot_be_rescaled_is_refused(fractions, labels, message):
    """The message says why."""
    with pytest.raises(BadInput, match=message):
        fit_rescaling(np.array(fractions), np.array(labels))
