"""From vote fractions to what experts would say: rescaling by logistic regression, and tables of the agreement.

Walmsley et al. 2020, appendix A: the share of volunteers who see a bar is no probability that an expert does; a
logistic function of it, fitted where both are known, is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from alservice.errors import BadInput, NumericalFault
from alservice.shapes import BoolArray, FloatArray

_RIDGE: Final = 1e-3
"""Precision of a normal prior on the slope: where a threshold parts the labels, likelihood alone has no maximum."""

_STEPS: Final = 100
_SETTLED: Final = 1e-10

CONFIDENT: Final = 0.8
"""Probability of a label from which it counts as confident, as Walmsley's tables have it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rescaling:
    """Probability that an expert says yes, 1 / (1 + exp(-(intercept + slope * fraction)))."""

    intercept: float
    slope: float

    def __call__(self, fractions: FloatArray) -> FloatArray:
        """Return the probabilities (N,) of vote fractions (N,)."""
        probabilities: FloatArray = np.exp(-np.logaddexp(0, -(self.intercept + self.slope * fractions)))
        return probabilities


def fit_rescaling(fractions: FloatArray, labels: BoolArray) -> Rescaling:
    """Return the logistic function that makes expert labels most likely, by Newton's method.

    Parameters
    ----------
    fractions
        (N,) share of volunteers, or predicted share, within 0 and 1.
    labels
        (N,) what experts said.

    Raises
    ------
    BadInput
        The arrays do not go together, a fraction is none, or experts gave all galaxies the same label.
    NumericalFault
        The fit does not settle.
    """
    _check(fractions, labels)
    x = np.stack([np.ones(len(fractions)), fractions - fractions.mean()], axis=1)
    y, weights, ridge = labels.astype(np.float64), np.zeros(2), np.array([0.0, _RIDGE])
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-(x @ weights)))
        gradient = x.T @ (y - p) - ridge * weights
        hessian = (x * (p * (1 - p))[:, None]).T @ x + np.diag(ridge + 1e-12)
        step = np.linalg.solve(hessian, gradient)
        step *= min(1.0, 5 / np.abs(step).max()) if step.any() else 1.0
        weights += step
        if np.abs(step).max() < _SETTLED * max(1.0, float(np.abs(weights).max())):
            return Rescaling(intercept=float(weights[0] - weights[1] * fractions.mean()), slope=float(weights[1]))
    raise NumericalFault("rescaling: the logistic regression does not settle", slope=float(weights[1]))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Roc:
    """Receiver operating characteristic: rates at falling thresholds, from none to all galaxies called yes.

    Parameters
    ----------
    false_rate, true_rate
        (M,) share of the no's, and of the yes's, whose score is at or above each threshold.
    area
        Chance that a yes has a higher score than a no, ties by half.
    """

    false_rate: FloatArray
    true_rate: FloatArray
    area: float


def roc(scores: FloatArray, labels: BoolArray) -> Roc:
    """Return the characteristic of scores (N,) for labels (N,); raises `BadInput` as `fit_rescaling`."""
    _check(scores, labels)
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    true = np.append(0, np.cumsum(labels[order])[ends]) / labels.sum()
    false = np.append(0, np.cumsum(~labels[order])[ends]) / (~labels).sum()
    return Roc(false_rate=false, true_rate=true, area=float(np.trapezoid(true, false)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """What a yes from 0.5 on makes of expert labels.

    Parameters
    ----------
    true_yes, false_yes, false_no, true_no
        The confusion matrix, in galaxies.
    expected_yes
        Sum of the probabilities: how many yes's are predicted, whatever the threshold.
    brier
        Mean squared difference of probability and label.
    """

    true_yes: int
    false_yes: int
    false_no: int
    true_no: int
    expected_yes: float
    brier: float

    @property
    def n_galaxies(self) -> int:
        """Galaxies in the matrix."""
        return self.true_yes + self.false_yes + self.false_no + self.true_no

    @property
    def accuracy(self) -> float:
        """Share of right labels; NaN without galaxies."""
        return _share(self.true_yes + self.true_no, self.n_galaxies)

    @property
    def precision(self) -> float:
        """Share of the yes's that experts call yes."""
        return _share(self.true_yes, self.true_yes + self.false_yes)

    @property
    def recall(self) -> float:
        """Share of the experts' yes's that are called yes."""
        return _share(self.true_yes, self.true_yes + self.false_no)


def agreement(probabilities: FloatArray, labels: BoolArray) -> Agreement:
    """Return how probabilities of yes (N,) agree with labels (N,); all zeros where N is 0."""
    said = probabilities >= 0.5
    errors = (probabilities - labels) ** 2
    return Agreement(
        true_yes=int((said & labels).sum()),
        false_yes=int((said & ~labels).sum()),
        false_no=int((~said & labels).sum()),
        true_no=int((~said & ~labels).sum()),
        expected_yes=float(probabilities.sum()),
        brier=float(errors.mean()) if len(errors) else float("nan"),
    )


def is_confident(probabilities: FloatArray) -> BoolArray:
    """Return (N,) whether either label has a probability of `CONFIDENT` or more."""
    confident: BoolArray = np.maximum(probabilities, 1 - probabilities) >= CONFIDENT
    return confident


def _check(values: FloatArray, labels: BoolArray) -> None:
    if values.shape != labels.shape or values.ndim != 1:
        raise BadInput(f"fractions {values.shape} and labels {labels.shape} must be one per galaxy")
    if not np.isfinite(values).all() or (len(values) and (values.min() < 0 or values.max() > 1)):
        raise BadInput("a fraction is not within 0 and 1")
    if not 0 < labels.sum() < len(labels):
        raise BadInput(f"experts gave all {len(labels)} galaxies the same label: there is nothing to tell apart")


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
