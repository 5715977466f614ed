"""Do votes fall as often as predicted? Scores of predicted vote-count distributions against the votes.

A distribution is a row of a pmf array (B, V): p(k) for k = 0..N votes of that galaxy, 0 beyond its own N.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from alservice.science.bootstrap import Estimate, bootstrap_sums, percentile_estimate
from alservice.science.pmf import beta_binomial_log_pmf, binomial_pmf, row_slices
from alservice.shapes import FloatArray, IntArray


def binomial_mixture_pmf(rho: FloatArray, n: IntArray) -> FloatArray:
    """Return the pmf of votes averaged over binomial draws (Walmsley et al. 2020, eq. 10).

    Parameters
    ----------
    rho
        (B, T) draws of the answer probability.
    n
        (B,) votes cast on the question.

    Returns
    -------
    FloatArray
        (B, max n + 1) float64.
    """
    return _mixture_pmf(n, rho.shape[1], lambda rows, votes: binomial_pmf(rho[rows], votes))


def beta_binomial_mixture_pmf(a: FloatArray, b: FloatArray, n: IntArray) -> FloatArray:
    """Return the pmf of an answer's votes averaged over Dirichlet draws.

    Parameters
    ----------
    a, b
        (B, T) concentrations of the answer and of all others.
    n
        (B,) votes cast on the question.

    Returns
    -------
    FloatArray
        (B, max n + 1) float64.
    """
    return _mixture_pmf(n, a.shape[1], lambda rows, votes: np.exp(beta_binomial_log_pmf(a[rows], b[rows], votes)))


def coverage_counts(
    pmf: FloatArray, centre: FloatArray, votes: IntArray, tolerances: Sequence[float]
) -> tuple[FloatArray, FloatArray]:
    """Return each galaxy's terms of the expected and actual counts (Walmsley et al. 2020, eq. 11 and 12).

    Parameters
    ----------
    pmf
        (B, V) predicted distributions of k.
    centre
        (B,) predicted votes k_hat, not rounded.
    votes
        (B, 2) observed k and N.
    tolerances
        K maximum errors of the vote fraction; votes j with abs(j - k_hat) < N tolerance are within it.

    Returns
    -------
    tuple of FloatArray
        (B, K) probability within each tolerance, and (B, K) 1 where the observed k is within it, else 0.
    """
    distance = np.abs(np.arange(pmf.shape[1]) - centre[:, None])
    width = votes[:, 1, None] * np.asarray(tolerances)
    expected = np.stack([(pmf * (distance < w[:, None])).sum(axis=1) for w in width.T], axis=1)
    actual = np.abs(votes[:, 0] - centre)[:, None] < width
    return expected, actual.astype(np.float64)


def crps(pmf: FloatArray, k: IntArray) -> FloatArray:
    """Return the continuous ranked probability score of each observed count, in votes; 0 is perfect.

    Parameters
    ----------
    pmf
        (B, V) predicted distributions.
    k
        (B,) observed votes.
    """
    step = np.arange(pmf.shape[1]) >= k[:, None]
    distance = np.cumsum(pmf, axis=1) - step
    score: FloatArray = np.vecdot(distance, distance)
    return score


def pit_bounds(pmf: FloatArray, k: IntArray) -> tuple[FloatArray, FloatArray]:
    """Return the predicted probability of fewer votes than observed, and of as many: F(k - 1) and p(k), (B,) each."""
    rows = np.arange(len(pmf))
    at = pmf[rows, k]
    return np.cumsum(pmf, axis=1)[rows, k] - at, at


def uniformity(u: FloatArray) -> tuple[float, float]:
    """Return how far values are from uniform in [0, 1], and how likely uniform ones are to be as far.

    Parameters
    ----------
    u
        (B,) independent values such as a randomised PIT, B > 0.

    Returns
    -------
    tuple of float
        The Kolmogorov-Smirnov distance, and its p-value by Kolmogorov's series with Stephens' (1970) correction for
        finite B.
    """
    n = len(u)
    ordered, steps = np.sort(u), np.arange(n + 1) / n
    distance = float(max((steps[1:] - ordered).max(), (ordered - steps[:-1]).max()))
    scaled = (math.sqrt(n) + 0.12 + 0.11 / math.sqrt(n)) * distance
    if scaled < 0.3:  # 1 to 9 digits, where the series below converges slowly
        return distance, 1.0
    j = np.arange(1, 101)
    p = 2 * float(np.sum((-1.0) ** (j - 1) * np.exp(-2 * (j * scaled) ** 2)))
    return distance, min(max(p, 0.0), 1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReliabilityBin:
    """Galaxies predicted alike, and what volunteers said of them.

    Parameters
    ----------
    n_galaxies
        Galaxies whose predicted fraction lies in the bin; at least one.
    predicted, observed
        Mean predicted and mean observed fraction.
    error
        Standard error of the mean difference; 0 for a single galaxy.
    """

    n_galaxies: int
    predicted: float
    observed: float
    error: float


def reliability_curve(predicted: FloatArray, observed: FloatArray, *, n_bins: int = 10) -> tuple[ReliabilityBin, ...]:
    """Return mean observed against mean predicted fractions in equal bins of the predicted one; empty ones left out.

    Parameters
    ----------
    predicted, observed
        (B,) fractions in [0, 1].
    """
    place = np.minimum((predicted * n_bins).astype(np.int64), n_bins - 1)
    n = np.bincount(place, minlength=n_bins)
    difference = np.asarray(observed - predicted, dtype=np.float64)
    filled = np.flatnonzero(n)
    sums = np.stack(
        [np.bincount(place, weights=v, minlength=n_bins) for v in (predicted, observed, difference, difference**2)]
    )[:, filled]
    means = sums / n[filled]
    spread = np.sqrt(np.maximum(means[3] - means[2] ** 2, 0) / np.maximum(n[filled] - 1, 1))
    return tuple(
        ReliabilityBin(n_galaxies=int(count), predicted=float(p), observed=float(o), error=float(e))
        for count, p, o, e in zip(n[filled], means[0], means[1], spread, strict=True)
    )


def _mixture_pmf(n: IntArray, n_draws: int, pmf_of: Callable[[IntArray, int], FloatArray]) -> FloatArray:
    mixture = np.zeros((len(n), int(n.max(initial=0)) + 1))
    for votes in np.unique(n):
        members = np.flatnonzero(n == votes)
        for piece in row_slices(len(members), n_draws * (int(votes) + 1)):
            rows = members[piece]
            mixture[rows, : votes + 1] = pmf_of(rows, int(votes)).mean(axis=1)
    return mixture


THRESHOLD = 0.8
"""Volunteers' fraction of one answer above which they count as confident."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfidentFigures:
    """One question on its confident galaxies, with bootstrap intervals over them."""

    n_galaxies: int
    accuracy: Estimate
    precision: Estimate
    recall: Estimate
    f1: Estimate


def confident_figures(
    predicted: FloatArray,
    observed: FloatArray,
    *,
    rng: np.random.Generator,
    threshold: float = THRESHOLD,
    repeats: int = 1000,
    confidence: float = 0.95,
) -> ConfidentFigures | None:
    """Return accuracy, precision, recall and F1 of one question; None without a confident galaxy.

    Parameters
    ----------
    predicted, observed
        (B, A) fractions of the question's A answers; of galaxies with enough votes.
    """
    sure = observed.max(axis=1, initial=0) > threshold
    n_answers = observed.shape[1]
    if not sure.any():
        return None
    cells = observed[sure].argmax(axis=1) * n_answers + predicted[sure].argmax(axis=1)
    # One column per cell of the confusion matrix: every figure is a function of its sums.
    terms = np.eye(n_answers**2)[cells]
    figures = _figures(terms.sum(axis=0), n_answers)
    samples = _figures(bootstrap_sums(terms, repeats=repeats, rng=rng), n_answers)
    accuracy, precision, recall, f1 = (
        percentile_estimate(float(value), drawn, confidence) for value, drawn in zip(figures, samples, strict=True)
    )
    return ConfidentFigures(n_galaxies=int(sure.sum()), accuracy=accuracy, precision=precision, recall=recall, f1=f1)


def _figures(cells: FloatArray, n_answers: int) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return accuracy, precision, recall, F1 of confusion matrices (..., A * A), rows the volunteers' classes."""
    matrix = cells.reshape(*cells.shape[:-1], n_answers, n_answers)
    right = np.diagonal(matrix, axis1=-2, axis2=-1)
    support, claimed = matrix.sum(axis=-1), matrix.sum(axis=-2)
    weight = support / support.sum(axis=-1, keepdims=True)
    # A class nobody claimed has no right claims either: its precision counts as 0, as is usual.
    precision = right / np.maximum(claimed, 1)
    recall = right / np.maximum(support, 1)
    f1 = 2 * right / np.maximum(support + claimed, 1)
    accuracy = right.sum(axis=-1) / support.sum(axis=-1)
    return accuracy, (weight * precision).sum(-1), (weight * recall).sum(-1), (weight * f1).sum(-1)
