"""What all scores share: refusing bad rows by name, grouping galaxies by votes, and judging the result."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from alservice.errors import BadInput, BadVotes, NumericalFault
from alservice.science.tree import Tree
from alservice.shapes import BoolArray, FloatArray, IntArray

ROUNDING_NATS = 1e-8
"""A difference of entropies may fall this far below zero by rounding (1000 votes, concentrations of 1e12).

Such a value is reported as 0, a lower one raises.
"""

MOST_VOTES = 1_000_000
"""The most votes that one galaxy is scored for: their probabilities still fit into memory."""

_ROWS_NAMED = 20


def refuse_rows(bad: BoolArray, what: str, error: type[BadVotes | NumericalFault]) -> None:
    """Raise an error that names up to twenty bad rows, and says how many there are."""
    if bad.any():
        rows = np.flatnonzero(bad)
        named = rows[:_ROWS_NAMED].tolist()
        others = f", and rows {', '.join(map(str, named[1:]))}" if len(named) > 1 else ""
        raise error(f"{what} of row {named[0]} is impossible{others} ({len(rows)} such rows)", rows=named)


def real_numbers(values: object, what: str) -> FloatArray:
    """Return `values` as an array, or refuse what is ragged or no real number."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise BadInput(f"{what} must be an array with rows of one length") from error
    if array.dtype.kind not in "fiub":
        raise BadInput(f"{what} must be real numbers, not {array.dtype}")
    return array


def check_rho(rho: FloatArray) -> None:
    """Refuse draws of an answer probability that are not (N, T) within [0, 1]."""
    if rho.ndim != 2 or rho.shape[1] == 0:
        raise BadInput(f"rho must be (galaxies, draws) with at least one draw, not {rho.shape}")
    # One look at the whole is cheap; NaN fails every comparison.
    if len(rho) and not (rho.min() >= 0 and rho.max() <= 1):
        refuse_rows(~((rho.min(axis=1) >= 0) & (rho.max(axis=1) <= 1)), "rho", NumericalFault)


def check_concentrations(alpha: FloatArray) -> None:
    """Refuse concentrations that are not (N, T, A), finite and positive."""
    if alpha.ndim != 3 or alpha.shape[1] < 1 or alpha.shape[2] < 2:
        raise BadInput(f"concentrations must be (galaxies, draws, two or more answers), not {alpha.shape}")
    if len(alpha) and not (alpha.min() > 0 and alpha.max() < np.inf):
        valid = (alpha.min(axis=(1, 2)) > 0) & (alpha.max(axis=(1, 2)) < np.inf)
        refuse_rows(~valid, "concentrations", NumericalFault)


def check_weights(tree: Tree, weights: FloatArray) -> FloatArray:
    """Return science weights (Q,) as float64 if each question has one, finite and not negative."""
    weights = np.asarray(weights, dtype=np.float64)
    if weights.shape != (tree.n_questions,) or not np.all((weights >= 0) & (weights < np.inf)):
        raise BadInput(f"tree {tree.name!r} needs {tree.n_questions} finite weights, none negative, not {weights}")
    return weights


def votes_per_galaxy(votes: int | IntArray, n_galaxies: int) -> IntArray:
    """Return (N,) votes to be cast from one integer or one per galaxy, none negative or beyond `MOST_VOTES`."""
    try:
        counts = np.asarray(votes)
    except ValueError as error:
        raise BadVotes(f"votes must be one integer or {n_galaxies}, not a ragged list") from error
    is_nothing = counts.shape == (n_galaxies,) == (0,)  # an empty list has no integers to show
    if counts.shape not in {(), (n_galaxies,)} or not (counts.dtype.kind in "iu" or is_nothing):
        raise BadVotes(f"votes must be one integer or {n_galaxies}, not {counts.dtype} {counts.shape}")
    counts = np.broadcast_to(counts, (n_galaxies,))
    refuse_rows((counts < 0) | (counts > MOST_VOTES), "the number of votes", BadVotes)
    return counts


def score_by_votes(counts: IntArray, score: Callable[[IntArray, int], FloatArray], *, tolerance: float) -> FloatArray:
    """Score the galaxies of each vote count together.

    Parameters
    ----------
    counts
        (N,) votes per galaxy; without votes the score is 0.
    score
        Scores rows, all with the same number of votes.
    tolerance
        How far below zero a score may be by the error of its method (nats); it is then reported as 0.

    Raises
    ------
    NumericalFault
        If a score is not finite or further below zero; the row is named.
    """
    scores = np.zeros(len(counts))
    for n in np.unique(counts[counts > 0]):
        rows = np.flatnonzero(counts == n)
        scores[rows] = score(rows, int(n))
    refuse_rows(~((scores >= -tolerance) & (scores < np.inf)), "the score", NumericalFault)
    return np.maximum(scores, 0)
