"""Bayesian linear regression in closed form: a number per galaxy from its features, with an error bar.

y = w.x + noise, w of a normal prior with precision alpha, noise of precision beta; both maximise the evidence (MacKay
1992, "Bayesian interpolation", equations 2.7 to 2.16; Bishop 2006, section 3.5). Error bars are then scaled so that
each galaxy's residual, predicted from all others, has a mean square of one standard deviation (Sundararajan and Keerthi
2001 for the residuals in closed form): the evidence trusts a linear model that images need not follow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from alservice.errors import BadInput, NumericalFault
from alservice.science.bootstrap import Estimate, bootstrap_sums, percentile_estimate
from alservice.shapes import FloatArray

_ROUNDS: Final = 200
_CONVERGED: Final = 1e-8
_LARGEST_RATIO: Final = 1e12
"""Between the precisions of noise and prior: beyond it features fit the target exactly, or not at all."""

_REPEATS: Final = 1000

HALF_WIDTHS: Final = {0.5: 0.674489750196082, 0.68: 0.994457883209753, 0.9: 1.6448536269514722, 0.95: 1.959963984540054}
"""Of central intervals of a normal distribution, in its standard deviations, by what they hold."""

LEVELS: Final = tuple(HALF_WIDTHS)
"""Central intervals whose coverage is judged."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LinearPosterior:
    """What is known of the weights after N galaxies.

    Parameters
    ----------
    weights, covariance
        (F,) mean and (F, F) covariance of the weights, the constant's last, in standard deviations of the target.
    noise
        Standard deviation about the line, in the same.
    centre, unit
        Mean and standard deviation of the target that was learned from, in its own unit.
    widening
        Factor on all error bars.
    """

    weights: FloatArray
    covariance: FloatArray
    noise: float
    centre: float
    unit: float
    widening: float

    def predict(self, features: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation (N,) each of a new galaxy's value, for features (N, F)."""
        spread = np.einsum("nf,fg,ng->n", features, self.covariance, features) + self.noise**2
        mean: FloatArray = self.centre + self.unit * (features @ self.weights)
        return mean, self.unit * self.widening * np.sqrt(spread)


def fit_linear(features: FloatArray, values: FloatArray) -> LinearPosterior:
    """Return the posterior of the weights after galaxies with known values.

    Parameters
    ----------
    features
        (N, F), the constant 1 last, as `alservice.science.laplace.Features` gives them.
    values
        (N,) in any unit.

    Raises
    ------
    BadInput
        Fewer than three galaxies, or all with the same value.
    NumericalFault
        A feature or a value is not finite.
    """
    x, y = np.asarray(features, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if len(y) < 3 or x.shape[:1] != y.shape:
        raise BadInput(f"a regression needs at least three galaxies, with features each, not {len(y)}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise NumericalFault("a feature or a value is not finite")
    centre, unit = float(y.mean()), float(y.std())
    if unit <= 1e-12 * max(1.0, abs(centre)):
        raise BadInput(f"all {len(y)} galaxies have the value {centre:g}: there is nothing to learn")
    scaled = (y - centre) / unit
    squares, vectors = np.linalg.eigh(x.T @ x)
    squares = np.maximum(squares, 0.0)
    projected = vectors.T @ (x.T @ scaled)
    alpha, beta = _evidence(squares, projected, float(scaled @ scaled), len(y))
    weights = vectors @ (beta * projected / (alpha + beta * squares))
    covariance = (vectors / (alpha + beta * squares)) @ vectors.T
    return LinearPosterior(
        weights=weights,
        covariance=covariance,
        noise=1 / math.sqrt(beta),
        centre=centre,
        unit=unit,
        widening=_widening(x, scaled, weights, covariance, beta),
    )


def _evidence(squares: FloatArray, projected: FloatArray, total: float, n: int) -> tuple[float, float]:
    """Return the precisions of prior and noise that maximise the evidence, by MacKay's fixed point."""
    alpha, beta = 1.0, 1.0
    for _ in range(_ROUNDS):
        known = float((beta * squares / (alpha + beta * squares)).sum())
        weights = beta * projected / (alpha + beta * squares)
        length = float(weights @ weights)
        misfit = max(total - 2 * float(weights @ projected) + float(squares @ weights**2), 0.0)
        before = alpha, beta
        beta = min(max(n - known, 0.5) / max(misfit, n / _LARGEST_RATIO), _LARGEST_RATIO)
        alpha = min(known / max(length, 1e-300), _LARGEST_RATIO)
        if max(abs(alpha / before[0] - 1), abs(beta / before[1] - 1)) < _CONVERGED:
            break
    return alpha, beta


def _widening(x: FloatArray, y: FloatArray, weights: FloatArray, covariance: FloatArray, beta: float) -> float:
    """Return the root mean square of residuals that leave their galaxy out, in predicted standard deviations.

    With leverage h = beta x' C x, the residual from all others is r / (1 - h) and its variance 1 / (beta (1 - h)).
    """
    leverage = np.clip(beta * np.einsum("nf,fg,ng->n", x, covariance, x), 0.0, 1 - 1e-9)
    squared = (y - x @ weights) ** 2 * beta / (1 - leverage)
    return float(np.sqrt(squared.mean()))


@dataclass(frozen=True, kw_only=True, slots=True)
class ValueFigures:
    """How predicted values compare with known ones, on galaxies that were not learned from.

    Parameters
    ----------
    n_galaxies
        N.
    rmse
        Root mean square error in the target's unit, with its central 95 % interval over galaxies.
    mae
        Mean absolute error in the same.
    explained
        1 less the squared error in that of the best constant (the known values' own mean).
    nll
        Nats per galaxy of the known value, in its unit.
    coverage
        Of each central interval in `LEVELS`, the share of galaxies within.
    """

    n_galaxies: int
    rmse: Estimate
    mae: float
    explained: float | None
    nll: float
    coverage: tuple[float, ...]


def value_figures(
    mean: FloatArray, deviation: FloatArray, known: FloatArray, *, rng: np.random.Generator
) -> ValueFigures:
    """Return the figures of predictions, mean and standard deviation (N,) each, beside known values (N,).

    Raises
    ------
    BadInput
        There are no galaxies.
    """
    if len(known) == 0:
        raise BadInput("no galaxy has both a predicted and a known value")
    error = mean - known
    squared = error**2
    sums = bootstrap_sums(squared[:, None], repeats=_REPEATS, rng=rng)
    spread = float(((known - known.mean()) ** 2).mean())
    score = np.abs(error) / deviation
    return ValueFigures(
        n_galaxies=len(known),
        rmse=percentile_estimate(math.sqrt(squared.mean()), np.sqrt(sums[:, 0] / len(known)), 0.95),
        mae=float(np.abs(error).mean()),
        explained=None if spread == 0 else 1 - float(squared.mean()) / spread,
        nll=float((0.5 * score**2 + np.log(deviation) + 0.5 * math.log(2 * math.pi)).mean()),
        coverage=tuple(float((score <= HALF_WIDTHS[level]).mean()) for level in LEVELS),
    )
