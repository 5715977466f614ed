"""Fast mutual information of binomial votes: every pmf is looked up in one table and interpolated.

The mean pmf of a galaxy is linear in the pmfs of its draws. So the T draws are scattered as interpolation
weights over F nodes in rho, and one matrix product turns the weights of many galaxies into their mean pmfs
and mean entropies. Work per galaxy: three scatters per draw and F (votes + 2) multiply-adds, whatever T is.
"""

from __future__ import annotations

import math

import numpy as np

from alservice.science.pmf import binomial_pmf, entropy
from alservice.shapes import FloatArray

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
