"""A pool's mean loss from galaxies that were selected, not drawn at random: without bias, with its variance.

Two records of a draw allow it. With the *order* of the draw and each step's chances, LURE (Farquhar, Gal and
Rainforth, ICLR 2021, arXiv:2101.11665; named so by Kossen et al., arXiv:2103.05331) weights the m-th of M drawn
from N by v_m = 1 + (N - M) / (N - m) (1 / ((N - m + 1) q_m) - 1). With the *inclusion probabilities* that
`alservice.acquisition.batch` records, the inverse does it; of two galaxies of one such draw the terms are uncorrelated
(priority sampling: Duffield, Lund and Thorup, J. ACM 54, 2007), so the variance needs no pairs.

Losses must be of a model that was not trained on them: after training they are no sample of anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from alservice.errors import BadInput, BadVotes
from alservice.science.tree import Tree
from alservice.shapes import BoolArray, FloatArray, IntArray

Z: Final = 1.959963984540054
"""Two-sided 95 % point of the normal distribution."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Weighted:
    """An estimate with its variance; both in the units of what was estimated (variance in their square)."""

    value: float
    variance: float

    @property
    def low(self) -> float:
        """Lower end of the normal 95 % interval."""
        return float(self.value - Z * np.sqrt(self.variance))

    @property
    def high(self) -> float:
        """Upper end of the normal 95 % interval."""
        return float(self.value + Z * np.sqrt(self.variance))


def step_probabilities(log_weights: FloatArray, order: IntArray) -> FloatArray:
    """Return the chance (M,) of each drawn galaxy at its step, among those not drawn before.

    Drawing in order of ln w + Gumbel noise is drawing one by one with chances in proportion to w.

    Parameters
    ----------
    log_weights
        (N,) ln w of the whole pool; -inf is never drawn.
    order
        (M,) indices into the pool, first drawn first.

    Raises
    ------
    BadInput
        A galaxy was drawn twice, or one that has no weight.
    """
    log_weights = np.asarray(log_weights, dtype=np.float64)
    drawn = log_weights[order]
    if len(np.unique(order)) != len(order) or not np.isfinite(drawn).all():
        raise BadInput("an order of drawing names galaxies once each, all with a finite log weight")
    weights = np.exp(log_weights - drawn.max(initial=-np.inf))
    rest = np.delete(weights, order).sum()
    # Summed from the last drawn to the first: subtracting from the total would cancel for a dominant galaxy.
    remaining = rest + np.cumsum(weights[order][::-1])[::-1]
    chances: FloatArray = weights[order] / remaining
    return chances


def lure_weights(chances: FloatArray, n_pool: int) -> FloatArray:
    """Return the weights v_m (M,), whose mean with the losses is unbiased; all 1 for a uniform draw.

    Parameters
    ----------
    chances
        (M,) q_m, see `step_probabilities`.
    n_pool
        N, galaxies that could be drawn at the first step.

    Raises
    ------
    BadInput
        A chance is outside (0, 1], or more were drawn than there are.
    """
    chances = _checked(chances, n_pool)
    n_drawn = len(chances)
    if n_drawn == n_pool:
        return np.ones(n_drawn)
    step = np.arange(1, n_drawn + 1)
    weights: FloatArray = 1 + (n_pool - n_drawn) / (n_pool - step) * (1 / ((n_pool - step + 1) * chances) - 1)
    return weights


def lure(losses: FloatArray, chances: FloatArray, n_pool: int) -> Weighted:
    """Return the pool's mean loss from losses in the order of drawing.

    The estimate is a weighted mean, with weights g_m = N (N - M) / (M (N - m) (N - m + 1)) that sum to 1, of one
    estimate per step, a_m = L_m / (N q_m) + sum_{t<m} L_t / N. Given the steps before, each has the pool's mean as
    its expectation, so they are uncorrelated and the variance follows from their scatter:
    sum g_m^2 (a_m - mean)^2 / (1 - sum g_m^2), exact for equal g.

    Raises
    ------
    BadInput
        Losses and chances do not fit, or a chance is impossible.
    """
    losses, chances = np.asarray(losses, dtype=np.float64), _checked(chances, n_pool)
    n_drawn = len(losses)
    if losses.shape != chances.shape or n_drawn < 2 or not np.isfinite(losses).all():
        raise BadInput(f"{losses.shape} finite losses for {chances.shape} chances: two or more of each are needed")
    value = float((lure_weights(chances, n_pool) * losses).mean())
    if n_drawn == n_pool:
        return Weighted(value=value, variance=0.0)
    step = np.arange(1, n_drawn + 1)
    share = n_pool * (n_pool - n_drawn) / (n_drawn * (n_pool - step) * (n_pool - step + 1))
    estimates = losses / (n_pool * chances) + (np.cumsum(losses) - losses) / n_pool
    scatter = (share**2 * (estimates - value) ** 2).sum()
    return Weighted(value=value, variance=float(scatter / (1 - (share**2).sum())))


def inclusion_ratio(numerator: FloatArray, denominator: FloatArray, probabilities: FloatArray) -> Weighted:
    """Return the pool's summed numerator over its summed denominator, such as nats over votes.

    Each sum is weighted by inverse inclusion probabilities and unbiased; the ratio is so to first order. Its
    variance is that of the residuals: sum (1 - p) / p^2 (y - R x)^2 / (sum x / p)^2.

    Parameters
    ----------
    numerator, denominator
        (M,) of the drawn galaxies.
    probabilities
        (M,) recorded inclusion probabilities.

    Raises
    ------
    BadInput
        Shapes do not fit, a probability is outside (0, 1], or the denominator is zero everywhere.
    """
    y, x, p = (np.asarray(values, dtype=np.float64) for values in (numerator, denominator, probabilities))
    if not y.shape == x.shape == p.shape or not ((p > 0) & (p <= 1)).all() or not x.any():
        raise BadInput("a weighted ratio needs as many values as probabilities in (0, 1], and votes")
    total = (x / p).sum()
    value = (y / p).sum() / total
    variance = ((1 - p) / p**2 * (y - value * x) ** 2).sum() / total**2
    return Weighted(value=float(value), variance=float(variance))


def _checked(chances: FloatArray, n_pool: int) -> FloatArray:
    chances = np.asarray(chances, dtype=np.float64)
    if len(chances) > n_pool or not ((chances > 0) & (chances <= 1)).all():
        raise BadInput(f"{len(chances)} draws from {n_pool} galaxies need chances in (0, 1]")
    return chances


_BINS: Final = 10
"""Strata of the share of the first answer; one more has the galaxies whose first question nobody answered."""

_PRIOR: Final = 50.0
"""Galaxies that the fair part is taken to have seen before, as the whole is composed: few fair galaxies say little."""


def survey_weights(tree: Tree, counts: IntArray | FloatArray, fair: BoolArray) -> FloatArray:
    """Return weights that give a training set the composition of its fair part.

    A stratum is a tenth of the share that the first answer of the first question (Smooth, in most trees of Galaxy Zoo)
    got of its votes: everybody is asked it, and selections go by it.

    Parameters
    ----------
    counts
        (N, A) votes in tree order.
    fair
        (N,) galaxies that sample the survey without selection.

    Returns
    -------
    FloatArray
        (N,) float64 with mean 1, positive; all 1 where all galaxies are fair, or none is.

    Raises
    ------
    BadVotes
        The marks are not one per row of votes, or the columns are not the tree's.
    """
    tree.check_columns(counts)
    if fair.shape != (len(counts),):
        raise BadVotes(f"{len(counts)} rows of votes, but marks of shape {fair.shape} for the fair ones")
    first = counts[:, tree.slices[0]]
    asked = first.sum(axis=1)
    shares = np.divide(first[:, 0], asked, out=np.ones(len(first)), where=asked > 0)
    strata = np.where(asked > 0, np.minimum((_BINS * shares).astype(np.int64), _BINS - 1), _BINS)
    whole = np.bincount(strata, minlength=_BINS + 1) / len(strata)
    seen = np.bincount(strata[fair], minlength=_BINS + 1)
    fair_shares = (seen + _PRIOR * whole) / (fair.sum() + _PRIOR)
    weights: FloatArray = np.divide(fair_shares, whole, out=np.ones(_BINS + 1), where=whole > 0)[strata]
    return weights
