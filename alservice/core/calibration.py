"""Do votes fall as often as predicted? Scores of predicted vote-count distributions against the votes.

A distribution is a row of a pmf array (B, V): p(k) for k = 0..N votes of that galaxy, 0 beyond its own N.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from alservice.core.vote_pmf import beta_binomial_log_pmf, binomial_pmf, row_slices
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


def randomised_pit(pmf: FloatArray, k: IntArray, rng: np.random.Generator) -> FloatArray:
    """Return F(k - 1) + v p(k) with uniform v: uniform in [0, 1] if the votes follow the prediction.

    Parameters
    ----------
    pmf
        (B, V) predicted distributions.
    k
        (B,) observed votes.
    rng
        Source of v.
    """
    rows = np.arange(len(pmf))
    at = pmf[rows, k]
    return np.cumsum(pmf, axis=1)[rows, k] - at + rng.random(len(pmf)) * at


def _mixture_pmf(n: IntArray, n_draws: int, pmf_of: Callable[[IntArray, int], FloatArray]) -> FloatArray:
    mixture = np.zeros((len(n), int(n.max(initial=0)) + 1))
    for votes in np.unique(n):
        members = np.flatnonzero(n == votes)
        for piece in row_slices(len(members), n_draws * (int(votes) + 1)):
            rows = members[piece]
            mixture[rows, : votes + 1] = pmf_of(rows, int(votes)).mean(axis=1)
    return mixture
