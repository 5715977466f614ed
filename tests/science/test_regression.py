"""The linear posterior finds the line, says how sure it is, and says so as well where the line is wrong."""

import numpy as np
import pytest

from alservice.errors import BadInput, NumericalFault
from alservice.science.regression import LEVELS, fit_linear, value_figures
from alservice.shapes import FloatArray


def line(rng: np.random.Generator, n: int, *, noise: float, features: int = 6) -> tuple[FloatArray, FloatArray]:
    """Features with a constant, and values in a unit of thousands about a line."""
    x = np.concatenate([rng.normal(size=(n, features)), np.ones((n, 1))], axis=1)
    return x, 5000 + 1000 * (x[:, 0] - 0.5 * x[:, 1] + noise * rng.normal(size=n))


def test_the_line_is_found_and_the_noise_is_named() -> None:
    """Predictions err by the noise, in the target's own unit, and intervals hold what they say."""
    rng = np.random.default_rng(1)
    x, y = line(rng, 3000, noise=0.3)
    found = fit_linear(x[:400], y[:400])
    mean, deviation = found.predict(x[400:])
    figures = value_figures(mean, deviation, y[400:], rng=rng)
    assert figures.rmse.low < 300 < figures.rmse.high * 1.05
    assert figures.explained is not None
    assert figures.explained > 0.9
    np.testing.assert_allclose(deviation, 300, rtol=0.1)
    np.testing.assert_allclose(figures.coverage, LEVELS, atol=0.04)


def test_few_galaxies_and_many_features_do_not_fit_noise() -> None:
    """The evidence shrinks what the data cannot tell: no worse than the mean by more than a little."""
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2000, 41)), rng.normal(size=2000)
    x[:, -1] = 1
    found = fit_linear(x[:60], y[:60])
    mean, deviation = found.predict(x[60:])
    assert np.sqrt(((mean - y[60:]) ** 2).mean()) < 1.1
    assert ((np.abs(mean - y[60:]) / deviation) < 1.96).mean() > 0.9


def test_error_bars_widen_where_other_galaxies_foretell_badly() -> None:
    """The mean square of residuals that leave a galaxy out is one, as refitting without each shows."""
    rng = np.random.default_rng(3)
    x, y = line(rng, 30, noise=0.5)
    y[4] += 4000  # a galaxy that no line describes
    found = fit_linear(x, y)
    scaled, beta = (y - found.centre) / found.unit, found.noise**-2
    alpha_like = np.linalg.inv(found.covariance) - beta * x.T @ x
    scores = []
    for left in range(len(y)):
        rest = np.arange(len(y)) != left
        covariance = np.linalg.inv(alpha_like + beta * x[rest].T @ x[rest])
        error = scaled[left] - x[left] @ (beta * covariance @ x[rest].T @ scaled[rest])
        scores.append(error**2 / (found.noise**2 + x[left] @ covariance @ x[left]))
    assert found.widening == pytest.approx(np.sqrt(np.mean(scores)), rel=1e-6)


def test_what_cannot_be_learned_is_refused() -> None:
    """Too few galaxies, one value for all, and what is not finite."""
    x = np.ones((4, 2))
    with pytest.raises(BadInput, match="at least three galaxies"):
        fit_linear(x[:2], np.arange(2.0))
    with pytest.raises(BadInput, match="all 4 galaxies have the value 7"):
        fit_linear(x, np.full(4, 7.0))
    with pytest.raises(NumericalFault, match="not finite"):
        fit_linear(x, np.array([1.0, 2.0, np.nan, 3.0]))
    with pytest.raises(BadInput, match="no galaxy has both"):
        value_figures(np.empty(0), np.empty(0), np.empty(0), rng=np.random.default_rng(0))
