"""Probabilities of vote counts in float64: binomial and Dirichlet-multinomial, without ln Gamma.

Only ratios Gamma(a + k) / Gamma(a) are ever needed. Summed or differenced directly they stay exact where the
difference of two ln Gamma would cancel: at concentrations of 1e8 as at 1e-8.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from alservice.errors import NumericalFault
from alservice.shapes import FloatArray, IntArray

_LOGIT_END = 30.0
"""Nodes span logits -30..30, fractions 1e-13 from either end; a power law lies beyond, integrated exactly."""

_NODES_PER_WIDTH = 1.6

_MIN_PRECISION = 32.0
"""Softer components need no fewer nodes: their far tails stay this narrow in w."""

_LOG_NOTHING = -60.0
"""ln of a density too small to count: lower ones would be float32 subnormals, which cost fivefold time."""

_MAX_PRECISION = 1e6
"""Sharper components are widened to this: a standard deviation of at most 5e-4 in the fraction."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Cumulative:
    """Mixture density per unit of w, and mixture probability below, at the nodes w: (R, G) each."""

    w: FloatArray
    density: FloatArray
    below: FloatArray

    def quantile(self, level: float) -> FloatArray:
        """Return (R,) fractions with `level` below them; beyond the nodes, the end node's fraction."""
        rows = np.arange(len(self.below))
        cell = np.clip((self.below < level).sum(axis=1) - 1, 0, len(self.w) - 2)
        start, stop = self.below[rows, cell], self.below[rows, cell + 1]
        # Only the end cells can be empty, when all the probability lies beyond the nodes.
        share = np.clip((level - start) / np.where(stop > start, stop - start, 1), 0, 1)
        # The density is linear within a cell: solve the quadratic for the place that has `share` of it below.
        left, right = self.density[rows, cell], self.density[rows, cell + 1]
        root = np.sqrt((1 - share) * left * left + share * right * right)
        place = share * (left + right) / np.maximum(left + root, np.finfo(np.float64).tiny)
        return _fraction(self.w[cell] + place * (self.w[1] - self.w[0]))

    def probability_below(self, x: float) -> FloatArray:
        """Return (R,) probability that the fraction is below x, for x within (0, 1)."""
        w = math.asinh((math.log(x) - math.log1p(-x)) / 2)
        step = self.w[1] - self.w[0]
        cell = int(np.clip((w - self.w[0]) // step, 0, len(self.w) - 2))
        place = np.clip((w - self.w[cell]) / step, 0, 1)
        left, right = self.density[:, cell], self.density[:, cell + 1]
        # Where the density is zero the share does not matter.
        mass = np.where(left + right > 0, left + right, 1)
        share = place * (2 * left + (right - left) * place) / mass
        below: FloatArray = self.below[:, cell] + share * (self.below[:, cell + 1] - self.below[:, cell])
        return below


def mixture_quantiles(
    a: FloatArray, b: FloatArray, levels: Sequence[float], *, weights: FloatArray | None = None
) -> FloatArray:
    """Return quantiles of a mixture of Beta(a_t, b_t).

    Parameters
    ----------
    a, b
        (R, T) finite positive shapes; one mixture of T components per row.
    levels
        L probabilities within (0, 1).
    weights
        (R, T) weight of each component, summing to 1 over them; equal where None.

    Returns
    -------
    FloatArray
        (R, L) float64 fractions, within 1e-3 of the exact quantile or, between components that hardly
        overlap, within 1e-3 in probability.
    """
    quantiles = np.empty((len(a), len(levels)))
    for rows, cumulative in _cumulatives(a, b, weights):
        for column, level in enumerate(levels):
            quantiles[rows, column] = cumulative.quantile(level)
    return quantiles


def mixture_cdf(a: FloatArray, b: FloatArray, x: float) -> FloatArray:
    """Return P(fraction < x) under the equal-weight mixture of Beta(a_t, b_t): (R,), within 1e-3."""
    probability = np.empty(len(a))
    for rows, cumulative in _cumulatives(a, b):
        probability[rows] = cumulative.probability_below(x)
    return probability


def _cumulatives(
    a: FloatArray, b: FloatArray, weights: FloatArray | None = None
) -> Iterator[tuple[IntArray, _Cumulative]]:
    """Yield rows, and their cumulative distribution on as many nodes as their sharpest component needs."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    widening = np.maximum((a + b) / _MAX_PRECISION, 1)
    a, b = a / widening, b / widening
    share = np.full(a.shape, 1 / a.shape[1]) if weights is None else np.asarray(weights, dtype=np.float64)
    # Rows of similar sharpness share nodes: an octave in precision is a factor 1.4 in nodes.
    octave = np.ceil(np.log2(np.maximum((a + b).max(axis=1), _MIN_PRECISION)))
    end = math.asinh(_LOGIT_END / 2)
    for value in np.unique(octave):
        members = np.flatnonzero(octave == value)
        w = np.linspace(-end, end, math.ceil(2 * end * _NODES_PER_WIDTH * 2 ** (value / 2)))
        for piece in row_slices(len(members), a.shape[1] * len(w)):
            rows = members[piece]
            yield rows, _accumulate(a[rows], b[rows], share[rows], w)


def _accumulate(a: FloatArray, b: FloatArray, share: FloatArray, w: FloatArray) -> _Cumulative:
    step = w[1] - w[0]
    z = 2 * np.sinh(w)
    log_peak = a * np.log(a / (a + b)) + b * np.log(b / (a + b))
    # ln of the density per unit of w, relative to the Beta's peak in logit, as one matrix product. float32 halves
    # the time; what it loses where components are sharp is far below 1e-3 in the fraction.
    basis = np.stack([-np.logaddexp(0, -z), -np.logaddexp(0, z), np.ones_like(z), np.log(2 * np.cosh(w))])
    shapes = np.stack([a, b, -log_peak, np.ones_like(a)], axis=-1).reshape(-1, 4)
    density = shapes.astype(np.float32) @ basis.astype(np.float32)
    np.maximum(density, _LOG_NOTHING, out=density)
    np.exp(density, out=density)
    trapezoid = np.full(len(w), step, dtype=np.float32)
    trapezoid[[0, -1]] = step / 2
    below_nodes = np.exp(-_LOGIT_END * a - log_peak) / a
    above_nodes = np.exp(-_LOGIT_END * b - log_peak) / b
    on_nodes = (density @ trapezoid).reshape(a.shape)
    weight: FloatArray = share / (below_nodes + on_nodes + above_nodes)
    mixed = (weight[:, None, :].astype(np.float32) @ density.reshape(*a.shape, -1))[:, 0, :].astype(np.float64)
    padded = np.pad(mixed, ((0, 0), (1, 1)), mode="edge")
    # Cubic through four neighbours, integrated over the middle cell.
    cells = (13 * (mixed[:, :-1] + mixed[:, 1:]) - padded[:, :-3] - padded[:, 3:]) * (step / 24)
    start = (weight * below_nodes).sum(axis=1, keepdims=True)
    return _Cumulative(w=w, density=mixed, below=np.cumsum(np.concatenate([start, cells], axis=1), axis=1))


def _fraction(w: FloatArray) -> FloatArray:
    fraction: FloatArray = 1 / (1 + np.exp(-2 * np.sinh(w)))
    return fraction


MAX_ERROR_NATS = 1e-3
"""Stated bound of the difference to the exact mutual information, for 1 to 1000 votes; tests hold it."""

MAX_TABLE_VOTES = 1000
"""Up to this many votes; the table of a hundred thousand would fill gigabytes."""

_END_RESOLUTION = 1.5
"""Nodes lie denser towards rho = 0 and 1, where the entropy rho ln rho bends sharply; found by search."""

_SUBNORMAL = 1e-30
"""Smaller probabilities are zero in the table: as float32 subnormals they would slow the product tenfold."""

_ONE_THREAD = 2**18
"""Multiply-adds up to which OpenBLAS keeps a product on the calling thread."""


class BinomialTable:
    """Pmfs and entropies of binomial votes on a grid of rho, for one number of votes.

    Parameters
    ----------
    votes
        Votes to be cast, at least 1; they set the pmfs' width and so the number of nodes F.
    """

    def __init__(self, votes: int) -> None:
        self._n_nodes = 32 + math.ceil(16 * math.sqrt(votes))
        pmf = binomial_pmf(_node_rho(self._n_nodes), votes)
        pmf[pmf < _SUBNORMAL] = 0
        self._table = np.column_stack([pmf, entropy(pmf)]).astype(np.float32)

    def information(self, rho: FloatArray) -> FloatArray:
        """Return the mutual information of checked draws.

        Parameters
        ----------
        rho
            (N, T) within [0, 1]; a thousand galaxies at a time stay in a second-level cache.

        Returns
        -------
        FloatArray
            (N,) nats, within `MAX_ERROR_NATS` of the exact value on either side, hence possibly below zero.
        """
        weights = _node_weights(rho.astype(np.float32), self._n_nodes)
        # Products too small for BLAS to split: its threads wait by spinning, and on a busy machine cost sevenfold time.
        step = max(1, _ONE_THREAD // self._table.size)
        looked_up = np.concatenate([weights[i : i + step] @ self._table for i in range(0, len(weights), step)])
        looked_up /= rho.shape[1]
        # Quadratic interpolation undershoots zero by parts in 1e5 of a peak; such states carry no entropy.
        pmf = np.maximum(looked_up[:, :-1], np.float32(_SUBNORMAL))
        information: FloatArray = -np.vecdot(pmf, np.log(pmf)) - looked_up[:, -1]
        return information


def _node_rho(n_nodes: int) -> FloatArray:
    """Return rho at equal steps of the coordinate t of `_node_weights`, with 2 rho - 1 = sin(a)."""
    t = np.linspace(-1, 1, n_nodes)
    # sin(a) = t (1 + c cos(a)) is sin(a - b) = t / r with r^2 = 1 + (c t)^2 and tan(b) = c t.
    slope = _END_RESOLUTION * t
    angle = np.arctan(slope) + np.arcsin(t / np.sqrt(1 + slope * slope))
    rho = np.sin((angle + np.pi / 2) / 2) ** 2
    rho[[0, -1]] = 0, 1
    return rho


def _node_weights(rho: FloatArray, n_nodes: int) -> FloatArray:
    """Return (N, F) float32: the sum over draws of the weights that interpolate at each draw.

    Weights are quadratic Lagrange polynomials on the three nodes around a draw. The coordinate, from -1 to 1,
    is t = (2 rho - 1) / (1 + 2 c sqrt(rho (1 - rho))): smooth inside, and like a square root at both ends, as
    is the width of a binomial.
    """
    n_galaxies = len(rho)
    half = np.float32((n_nodes - 1) / 2)
    scale = np.sqrt(rho * (1 - rho))
    scale *= np.float32(2 * _END_RESOLUTION)
    scale += 1
    offset = (rho - np.float32(0.5)) / scale
    offset *= 2 * half
    offset += half
    nearest = np.clip(np.rint(offset), 1, n_nodes - 2)
    offset -= nearest
    flat = nearest.astype(np.intp)
    flat += (np.arange(n_galaxies) * n_nodes)[:, None]
    index, half_offset = flat.ravel(), (offset * np.float32(0.5)).ravel()
    half_square = 2 * half_offset * half_offset
    # One index into three views, each a node further: shifted indices would take more time than all else here.
    weights = np.zeros(n_galaxies * n_nodes + 2, dtype=np.float32)
    np.add.at(weights, index, half_square - half_offset)
    np.add.at(weights[1:], index, 1 - 2 * half_square)
    np.add.at(weights[2:], index, half_square + half_offset)
    return weights[1:-1].reshape(n_galaxies, n_nodes)


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


_DIGAMMA = (-1 / 12, 1 / 120, -1 / 252, 1 / 240, -1 / 132, 691 / 32760)
"""Coefficients of 1/x^2, 1/x^4, .. in the derivative of ln Gamma."""


def digamma(x: FloatArray) -> FloatArray:
    """Return the derivative of ln Gamma elementwise, for positive x: within 1e-13, relative or absolute."""
    x = np.asarray(x, dtype=np.float64)
    high = x + _SHIFT
    inverse_square = 1 / (high * high)
    total = np.zeros_like(high)
    for coefficient in reversed(_DIGAMMA):
        total = (total + coefficient) * inverse_square
    total += np.log(high) - 0.5 / high
    for i in range(_SHIFT):
        total -= 1 / (x + i)
    return total


_SHARPEST = 1e7
"""Precision to which sharper Betas are widened by `beta_cdf`: a standard deviation of at most 1.6e-4."""

_MOST_TERMS = 20_000
"""Terms of the continued fraction; its number grows with the root of the precision, 6,000 at 1e7."""


def beta_cdf(a: FloatArray, b: FloatArray, x: FloatArray | float) -> FloatArray:
    """Return P(fraction < x) for a fraction that follows Beta(a, b), elementwise.

    Lentz's continued fraction of the incomplete beta function (DLMF 8.17.22), on the side where it converges fast.

    Parameters
    ----------
    a, b, x
        Broadcastable; a and b finite and positive, x within [0, 1].

    Returns
    -------
    FloatArray
        float64, within 1e-8 of the exact value up to a precision a + b of 1e7.

    Raises
    ------
    NumericalFault
        If the fraction does not converge, as for shapes that are not finite.
    """
    a, b, x = np.broadcast_arrays(np.asarray(a, float), np.asarray(b, float), np.asarray(x, float))
    widening = np.maximum((a + b) / _SHARPEST, 1)
    a, b = a / widening, b / widening
    swapped = x * (a + b + 2) > a + 1
    a, b, x = np.where(swapped, b, a), np.where(swapped, a, b), np.where(swapped, 1 - x, x)
    inside = (x > 0) & (x < 1)
    own = x[inside]
    low, high = a[inside], b[inside]
    log_front = low * np.log(own) + high * np.log1p(-own) - log_beta(low, high) - np.log(low)
    tail = np.where(x > 0, 1.0, 0.0)
    tail[inside] = np.exp(log_front) * _beta_fraction(low, high, own)
    below: FloatArray = np.where(swapped, 1 - tail, tail)
    return below


def log_beta(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return ln B(a, b) = ln Gamma(a) + ln Gamma(b) - ln Gamma(a + b) elementwise, for positive a and b."""
    small, large = np.minimum(a, b), np.maximum(a, b)
    # ln Gamma(s) itself is ln Gamma(s + 1) - ln s, and Gamma(1) = 1.
    log_gamma = log_rising(np.ones_like(small), small) - np.log(small)
    value: FloatArray = log_gamma - log_rising(large, small)
    return value


def _beta_fraction(a: FloatArray, b: FloatArray, x: FloatArray) -> FloatArray:
    """Return the continued fraction (R,) of the incomplete beta function, every row until it no longer changes."""
    tiny, close = 1e-300, 3e-16
    fraction = np.empty_like(x)
    rows = np.arange(len(x))
    c = np.ones_like(x)
    d = 1 / _away_from_zero(1 - (a + b) * x / (a + 1), tiny)
    value: FloatArray = d.copy()
    for m in range(1, _MOST_TERMS):
        if not len(rows):
            return fraction
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _away_from_zero(1 + numerator * d, tiny)
            c = _away_from_zero(1 + numerator / c, tiny)
            value *= c * d
        done = np.abs(c * d - 1) <= close
        if done.any():
            fraction[rows[done]] = value[done]
            left = ~done
            rows, a, b, x = rows[left], a[left], b[left], x[left]
            c, d, value = c[left], d[left], value[left]
    raise NumericalFault(f"a Beta's distribution function does not converge for shapes {a[0]} and {b[0]}")


def _away_from_zero(values: FloatArray, tiny: float) -> FloatArray:
    away: FloatArray = np.where(np.abs(values) < tiny, tiny, values)
    return away


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
