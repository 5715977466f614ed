"""Classification on confident galaxies against hand-made confusion and the usual definitions."""

import numpy as np
import pytest

from alservice.science.calibration import THRESHOLD, confident_figures


def one_hot(classes, sure=0.9, n=3):
    """Return fractions whose largest is `sure`, at these classes."""
    rest = (1 - sure) / (n - 1)
    return np.where(np.arange(n) == np.asarray(classes)[:, None], sure, rest)


def reference(observed, predicted, n=3):
    """Return support-weighted precision, recall and F1 by their definitions, class by class."""
    figures = np.zeros(3)
    for c in range(n):
        support, claimed = np.sum(observed == c), np.sum(predicted == c)
        right = np.sum((observed == c) & (predicted == c))
        precision = right / claimed if claimed else 0.0
        recall = right / support if support else 0.0
        f1 = 2 * precision * recall / (precision + recall) if right else 0.0
        figures += support / len(observed) * np.array([precision, recall, f1])
    return figures


def test_figures_are_the_usual_definitions():
    """Random classes, some never predicted: weighted by the volunteers' classes, recall is accuracy."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        observed, predicted = rng.integers(0, 3, 40), rng.integers(0, rng.integers(1, 4), 40)
        found = confident_figures(one_hot(predicted, 0.5), one_hot(observed), rng=rng, repeats=10)
        assert found.n_galaxies == 40
        assert found.accuracy.value == pytest.approx(np.mean(observed == predicted))
        values = [found.precision.value, found.recall.value, found.f1.value]
        np.testing.assert_allclose(values, reference(observed, predicted), atol=1e-12)
        assert found.recall.value == pytest.approx(found.accuracy.value)


def test_only_confident_galaxies_count():
    """At the threshold volunteers are not sure, above it they are; nobody sure gives no figures."""
    fractions = np.array([[THRESHOLD, 1 - THRESHOLD], [0.81, 0.19], [0.05, 0.95], [0.5, 0.5]])
    predicted = np.array([[0.1, 0.9], [0.6, 0.4], [0.3, 0.7], [0.1, 0.9]])
    found = confident_figures(predicted, fractions, rng=np.random.default_rng(0))
    assert found.n_galaxies == 2
    assert (found.accuracy.value, found.accuracy.low, found.f1.value) == (1, 1, 1)
    assert confident_figures(predicted[:1], fractions[:1], rng=np.random.default_rng(0)) is None
    assert confident_figures(predicted[:0], fractions[:0], rng=np.random.default_rng(0)) is None


def test_intervals_are_those_of_resampled_galaxies():
    """With 90 of 100 right the interval of the accuracy is about the binomial one."""
    observed = np.zeros(100, dtype=int)
    predicted = np.where(np.arange(100) < 90, 0, 1)
    found = confident_figures(one_hot(predicted), one_hot(observed), rng=np.random.default_rng(1), repeats=4000)
    assert found.accuracy.low == pytest.approx(0.84, abs=0.015)
    assert found.accuracy.high == pytest.approx(0.955, abs=0.015)
