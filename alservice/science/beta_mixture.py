"""Quantiles and probabilities of equal-weight mixtures of Beta distributions, by quadrature.

The posterior of an answer fraction is one Beta per draw; its interval must hold the spread between draws too,
so it is a quantile of the mixture. The densities are summed on nodes of w, with logit(x) = 2 sinh(w):
bell-shaped in w even where a Beta is infinite at 0 or 1, and never narrower than 1 / sqrt(a + b). At 1.6
nodes per such width the trapezoid sum over all nodes is exact to rounding, and sums up to a node are good to
1e-3 of a component.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from alservice.science.pmf import row_slices
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


def mixture_quantiles(a: FloatArray, b: FloatArray, levels: Sequence[float]) -> FloatArray:
    """Return quantiles of the equal-weight mixture of Beta(a_t, b_t).

    Parameters
    ----------
    a, b
        (R, T) finite positive shapes; one mixture of T components per row.
    levels
        L probabilities within (0, 1).

    Returns
    -------
    FloatArray
        (R, L) float64 fractions, within 1e-3 of the exact quantile or, between components that hardly
        overlap, within 1e-3 in probability.
    """
    quantiles = np.empty((len(a), len(levels)))
    for rows, cumulative in _cumulatives(a, b):
        for column, level in enumerate(levels):
            quantiles[rows, column] = cumulative.quantile(level)
    return quantiles


def mixture_cdf(a: FloatArray, b: FloatArray, x: float) -> FloatArray:
    """Return P(fraction < x) under the equal-weight mixture of Beta(a_t, b_t): (R,), within 1e-3."""
    probability = np.empty(len(a))
    for rows, cumulative in _cumulatives(a, b):
        probability[rows] = cumulative.probability_below(x)
    return probability


def _cumulatives(a: FloatArray, b: FloatArray) -> Iterator[tuple[IntArray, _Cumulative]]:
    """Yield rows, and their cumulative distribution on as many nodes as their sharpest component needs."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    widening = np.maximum((a + b) / _MAX_PRECISION, 1)
    a, b = a / widening, b / widening
    # Rows of similar sharpness share nodes: an octave in precision is a factor 1.4 in nodes.
    octave = np.ceil(np.log2(np.maximum((a + b).max(axis=1), _MIN_PRECISION)))
    end = math.asinh(_LOGIT_END / 2)
    for value in np.unique(octave):
        members = np.flatnonzero(octave == value)
        w = np.linspace(-end, end, math.ceil(2 * end * _NODES_PER_WIDTH * 2 ** (value / 2)))
        for piece in row_slices(len(members), a.shape[1] * len(w)):
            rows = members[piece]
            yield rows, _accumulate(a[rows], b[rows], w)


def _accumulate(a: FloatArray, b: FloatArray, w: FloatArray) -> _Cumulative:
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
    weight: FloatArray = 1 / (below_nodes + on_nodes + above_nodes) / a.shape[1]
    mixed = (weight[:, None, :].astype(np.float32) @ density.reshape(*a.shape, -1))[:, 0, :].astype(np.float64)
    padded = np.pad(mixed, ((0, 0), (1, 1)), mode="edge")
    # Cubic through four neighbours, integrated over the middle cell.
    cells = (13 * (mixed[:, :-1] + mixed[:, 1:]) - padded[:, :-3] - padded[:, 3:]) * (step / 24)
    start = (weight * below_nodes).sum(axis=1, keepdims=True)
    return _Cumulative(w=w, density=mixed, below=np.cumsum(np.concatenate([start, cells], axis=1), axis=1))


def _fraction(w: FloatArray) -> FloatArray:
    fraction: FloatArray = 1 / (1 + np.exp(-2 * np.sinh(w)))
    return fraction
