"""Batches chosen together: what galaxies would teach beside each other, from posterior draws that they share.

Draw t is one network for every galaxy, so that T draws span a space of T dimensions in which any two galaxies can be
compared. Votes on galaxy i add Z_i Z_i' / T to the precision there, with Z_i (T, A) the deviations of the draws' answer
probabilities from their mean, in standard errors of the expected votes; a batch leaves M = 1 + sum_i Z_i Z_i' / T. A
greedy batch maximises ln det M, what its votes tell of the networks (Kirsch et al. 2019, arXiv:1906.08158, in normal
approximation), or minimises trace(C / M), the variance that is left of the fractions of a sample of the survey.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alservice.errors import BadInput
from alservice.science.posterior import answer_probabilities, check_concentrations, check_weights
from alservice.science.tree import Tree
from alservice.shapes import FloatArray, IntArray

_SMALLEST = 1e-6
"""Mean probability of an answer that no standard error is smaller than."""


def vote_deviations(tree: Tree, concentrations: FloatArray, votes: float, weights: FloatArray) -> FloatArray:
    """Return what the votes on each galaxy would tell the draws apart by: float32 (N, T, A), in standard errors.

    Parameters
    ----------
    tree
        The tree of the Q questions and A answers.
    concentrations
        (N, T, A) posterior draws.
    votes
        Expected classifications of a galaxy.
    weights
        (Q,) how many votes each vote on a question counts as.

    Raises
    ------
    NumericalFault
        If a concentration is not finite and positive (rows are named).
    BadInput
        If shapes do not fit the tree, or a weight is negative or not finite.
    """
    shares, asked, precision = _moments(tree, concentrations)
    mean = np.maximum(shares.mean(axis=1), _SMALLEST)
    expected = votes * asked.mean(axis=1)
    # Over-dispersion: n votes about a fraction that scatters with precision s tell as much as these.
    effective = expected * (1 + precision) / (np.maximum(expected, 1) + precision) * check_weights(tree, weights)
    scale = np.sqrt(effective[:, tree.question_of_answer] / mean)
    deviations: FloatArray = ((shares - shares.mean(axis=1, keepdims=True)) * scale[:, None]).astype(np.float32)
    return deviations


def survey_covariance(tree: Tree, target: FloatArray, weights: FloatArray) -> FloatArray:
    """Return how far draws differ on the fractions of a sample of the survey: (T, T), mean over galaxies.

    Each question counts by its weight and by the share of volunteers that it is expected to be asked of.

    Parameters
    ----------
    target
        (M, T, A) draws of a uniform sample of the survey.
    """
    shares, asked, _ = _moments(tree, target)
    scale = np.sqrt(asked.mean(axis=1) * check_weights(tree, weights))[:, tree.question_of_answer]
    deviations = (shares - shares.mean(axis=1, keepdims=True)) * scale[:, None]
    covariance: FloatArray = np.tensordot(deviations, deviations, axes=((0, 2), (0, 2))) / len(deviations)
    return covariance


def batch_gains(deviations: FloatArray, target: FloatArray | None = None) -> FloatArray:
    """Return what each galaxy alone would add.

    Parameters
    ----------
    deviations
        (N, T, A) of `vote_deviations`.
    target
        (T, T) of `survey_covariance`; None for what votes tell of the networks.

    Returns
    -------
    FloatArray
        (N,) float64, not negative: nats, or with a target the variance of the survey's fractions that it takes away.
    """
    return _Pool.of(deviations, target).gains()


def greedy_batch(deviations: FloatArray, size: int, *, target: FloatArray | None = None) -> IntArray:
    """Return the places of up to `size` galaxies, each the one that adds most to those before it.

    Parameters
    ----------
    deviations, target
        As `batch_gains`; among equal gains the first galaxy is taken.

    Raises
    ------
    BadInput
        Shapes do not fit.
    """
    pool, taken = _Pool.of(deviations, target), np.zeros(len(deviations), dtype=bool)
    places: list[int] = []
    for _ in range(min(size, len(deviations))):
        best = int(np.argmax(np.where(taken, -1, pool.gains())))
        taken[best] = True
        places.append(best)
        pool.take(best)
    return np.array(places, dtype=np.int64)


@dataclass(slots=True, eq=False)
class _Pool:
    """Galaxies beside a growing batch: z, and z divided by M, both (N, T, A) over the root of T."""

    z: FloatArray
    solved: FloatArray
    target: FloatArray | None

    @classmethod
    def of(cls, deviations: FloatArray, target: FloatArray | None) -> _Pool:
        if deviations.ndim != 3 or (target is not None and target.shape != (deviations.shape[1],) * 2):
            raise BadInput(f"deviations {deviations.shape} and a target that do not fit")
        # A question that weighs nothing adds nothing.
        told = np.abs(deviations).max(axis=(0, 1), initial=0) > 0
        z = np.asarray(deviations[..., told], dtype=np.float64) / np.sqrt(deviations.shape[1])
        return cls(z=z, solved=z.copy(), target=target)

    def gains(self) -> FloatArray:
        remaining = np.eye(self.z.shape[2]) + self.z.swapaxes(1, 2) @ self.solved
        if self.target is None:
            nats: FloatArray = 0.5 * np.linalg.slogdet(remaining)[1]
            return np.maximum(nats, 0)
        seen = self.solved.swapaxes(1, 2) @ (self.target @ self.solved)
        gains: FloatArray = np.trace(np.linalg.solve(remaining, seen), axis1=1, axis2=2) / self.z.shape[1]
        return np.maximum(gains, 0)

    def take(self, place: int) -> None:
        """Add a galaxy to the batch: M grows by its z z'."""
        own, within = self.z[place], self.solved[place]
        share = np.linalg.solve(np.eye(own.shape[1]) + own.T @ within, within.T)
        # (T, A) (A, T) products only: M itself is never made.
        self.solved -= share.T @ (within.T @ self.z)


def _moments(tree: Tree, concentrations: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return shares (N, T, A), probabilities of being asked (N, T, Q) and mean precisions (N, Q)."""
    concentrations = np.asarray(concentrations, dtype=np.float64)
    check_concentrations(concentrations)
    if concentrations.ndim != 3 or concentrations.shape[2] != tree.n_answers:
        raise BadInput(f"tree {tree.name!r} has {tree.n_answers} answers, not {concentrations.shape[-1]}")
    shares = answer_probabilities(tree, concentrations)
    totals = np.stack([concentrations[..., answers].sum(axis=-1) for answers in tree.slices], axis=-1)
    return shares, tree.asked_probability(shares), totals.mean(axis=1)
