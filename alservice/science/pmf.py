"""Probabilities of vote counts in float64: binomial and Dirichlet-multinomial, without ln Gamma.

Only ratios Gamma(a + k) / Gamma(a) are ever needed. Summed or differenced directly they stay exact where the
difference of two ln Gamma would cancel: at concentrations of 1e8 as at 1e-8.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from alservice.shapes import FloatArray, IntArray

_SHIFT = 8
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)
"""Coefficients of 1/x, 1/x^3, .. in ln Gamma; from x = 8 on, the next term is below 2e-14."""

_CHUNK_ELEMENTS = 2**20
"""Array elements worked on at a time (8 MiB of float64): small enough for a cache, large enough for numpy."""


def row_slices(n_rows: int, elements_per_row: int) -> Iterator[slice]:
    """Cut rows into slices of bounded work, so that memory does not grow with the number of galaxies."""
    step = max(1, _CHUNK_ELEMENTS // max(1, elements_per_row))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def log_factorials(n: int) -> FloatArray:
    """Return ln k! for k = 0..n, float64 (n + 1,)."""
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1, dtype=np.float64)))])


def log_choose(n: int) -> FloatArray:
    """Return the logarithms of the binomial coefficients C(n, k) for k = 0..n, float64 (n + 1,)."""
    log_factorial = log_factorials(n)
    choices: FloatArray = log_factorial[n] - log_factorial - log_factorial[::-1]
    return choices


def log_rising_table(a: FloatArray, n: int) -> FloatArray:
    """Return ln Gamma(a + k) - ln Gamma(a) for every k = 0..n at once.

    Parameters
    ----------
    a
        (...) positive.
    n
        Largest k.

    Returns
    -------
    FloatArray
        (..., n + 1) float64, the cumulative sum of ln(a + i).
    """
    a = np.asarray(a, dtype=np.float64)
    table = np.zeros((*a.shape, n + 1))
    np.cumsum(np.log(a[..., None] + np.arange(n)), axis=-1, out=table[..., 1:])
    return table


def log_rising(a: FloatArray | float, k: FloatArray | IntArray | float) -> FloatArray:
    """Return ln Gamma(a + k) - ln Gamma(a) elementwise; k need not be an integer.

    Stirling's series after a shift by 8, differenced before it is summed.

    Parameters
    ----------
    a, k
        Broadcastable; a > 0 and a + k > 0.

    Returns
    -------
    FloatArray
        float64, within 1e-12 of the exact value, relative or absolute.
    """
    a = np.asarray(a, dtype=np.float64)
    k = np.asarray(k, dtype=np.float64)
    low, high = a + _SHIFT, a + k + _SHIFT
    shifted = np.ones(np.broadcast_shapes(a.shape, k.shape))
    for i in range(_SHIFT):
        shifted *= (a + k + i) / (a + i)
    stirling: FloatArray = (low - 0.5) * np.log1p(k / low) + k * (np.log(high) - 1)
    stirling += _stirling_series(high) - _stirling_series(low) - np.log(shifted)
    return stirling


def _stirling_series(x: FloatArray) -> FloatArray:
    inverse_square = 1 / (x * x)
    total = np.zeros_like(x)
    for coefficient in reversed(_STIRLING):
        total = total * inverse_square + coefficient
    return total / x


def entropy(pmf: FloatArray, *, axis: int = -1) -> FloatArray:
    """Return the entropy of probabilities along an axis, in nats; 0 ln 0 is 0."""
    terms = pmf * np.log(np.where(pmf > 0, pmf, 1.0))
    total: FloatArray = terms.sum(axis=axis)
    return -total


def binomial_pmf(rho: FloatArray, n: int) -> FloatArray:
    """Return the binomial probabilities of k = 0..n votes, exact at rho = 0 and 1.

    Parameters
    ----------
    rho
        (...) probability that one volunteer gives the answer.
    n
        Votes cast.

    Returns
    -------
    FloatArray
        (..., n + 1) float64.
    """
    rho = np.asarray(rho, dtype=np.float64)
    k = np.arange(n + 1)
    inside = np.where((rho > 0) & (rho < 1), rho, 0.5)[..., None]
    pmf: FloatArray = np.exp(log_choose(n) + k * np.log(inside) + (n - k) * np.log1p(-inside))
    pmf[rho == 0] = k == 0
    pmf[rho == 1] = k == n
    return pmf


def beta_binomial_log_pmf(a: FloatArray, b: FloatArray, n: int) -> FloatArray:
    """Return ln p(k) for k = 0..n votes of n, when the answer's probability is Beta(a, b).

    Parameters
    ----------
    a, b
        (...) positive concentrations of the answer and of all others.
    n
        Votes cast on the question.

    Returns
    -------
    FloatArray
        (..., n + 1) float64 nats.
    """
    log_pmf = log_choose(n) + log_rising_table(a, n) + log_rising_table(b, n)[..., ::-1]
    log_pmf -= log_rising(np.add(a, b, dtype=np.float64), n)[..., None]
    return log_pmf


def dirichlet_multinomial_entropy(alpha: FloatArray, n: int) -> FloatArray:
    """Return the exact entropy of the votes on one question, at a cost of O(A n).

    There are C(n + A - 1, A - 1) outcomes, but ln p separates into one term per answer, whose expectation
    needs only that answer's beta-binomial marginal.

    Parameters
    ----------
    alpha
        (..., A) concentrations.
    n
        Votes cast.

    Returns
    -------
    FloatArray
        (...) float64 nats.
    """
    log_factorial = log_factorials(n)
    alpha = np.asarray(alpha, dtype=np.float64)
    # The others are summed, not subtracted from the total, which would cancel for a dominant answer.
    others = alpha @ (1 - np.eye(alpha.shape[-1]))
    terms = np.exp(beta_binomial_log_pmf(alpha, others, n))
    terms *= log_rising_table(alpha, n) - log_factorial
    nats: FloatArray = log_rising(alpha.sum(axis=-1), n) - log_factorial[n] - terms.sum(axis=(-2, -1))
    return nats


def n_compositions(n: int, parts: int) -> int:
    """Return how many ways n votes can fall on the answers of one question."""
    return math.comb(n + parts - 1, parts - 1)


def compositions(n: int, parts: int) -> IntArray:
    """Return every way n votes can fall on `parts` answers: int64 (S, parts), each row sums to n."""
    # Stars and bars: the bars stand at parts - 1 of n + parts - 1 places, the votes lie between them.
    places = n + parts - 1
    bars = np.array(list(itertools.combinations(range(places), parts - 1)), dtype=np.int64)
    return np.diff(bars.reshape(-1, parts - 1), prepend=-1, append=places, axis=1) - 1


def sequence_log_probability(alpha: FloatArray, n: int, counts: IntArray) -> FloatArray:
    """Return ln of the Dirichlet-multinomial probability without its multinomial coefficient.

    Parameters
    ----------
    alpha
        (N, T, A) concentrations of one question.
    n
        Votes in every state.
    counts
        (S, A) states for all galaxies, or (N, S, A) states per galaxy.

    Returns
    -------
    FloatArray
        (N, T, S) float64 nats.
    """
    per_galaxy = np.broadcast_to(counts, (alpha.shape[0], *counts.shape[-2:]))
    total = np.repeat(-log_rising(alpha.sum(axis=-1), n)[..., None], counts.shape[-2], axis=-1)
    for answer in range(alpha.shape[-1]):
        rising = log_rising_table(alpha[..., answer], n)
        total += np.take_along_axis(rising, per_galaxy[:, None, :, answer], axis=-1)
    return total
