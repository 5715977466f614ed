"""What no prediction can do better than: the noise of the votes themselves, estimated from their counts."""

from __future__ import annotations

import numpy as np

from alservice.backfill.plan import Target
from alservice.errors import BadVotes
from alservice.science.pmf import binomial_pmf, entropy
from alservice.shapes import FloatArray, IntArray


def vote_noise(target: Target, counts: IntArray, *, min_votes: int) -> float | None:
    """Return the RMSE that a perfect prediction would have, from the votes' own noise; None on a whole tree.

    The variance of k/N is estimated without bias by (k/N)(1 - k/N)/(N - 1), galaxy by galaxy.

    Raises
    ------
    BadVotes
        No galaxy has enough votes.
    """
    if target.answer is None:
        return None
    asked = counts.sum(axis=1).astype(np.float64)
    judged = asked >= max(min_votes, 2)
    if not judged.any():
        raise BadVotes(f"no galaxy has {min_votes} votes on {target.tree.questions[0].name}")
    share = counts[judged, target.answer] / asked[judged]
    return float(np.sqrt((share * (1 - share) / (asked[judged] - 1)).mean()))


def likelihood_floor(target: Target, counts: IntArray) -> float:
    """Return a lower bound of the NLL per vote (nats) that a perfect prediction is expected to have.

    A prediction that knows the true fractions pays the entropy of the votes. Answer after answer those are binomial,
    of the votes that earlier answers left, and the entropy of a binomial is concave in its probability (Shepp & Olkin
    1981): put in the observed share for the true one, and its mean can only be too small.

    Parameters
    ----------
    counts
        (N, A) votes on the target's answers.

    Raises
    ------
    BadVotes
        There is no vote at all.
    """
    if not counts.any():
        raise BadVotes("the test galaxies have no votes")
    nats = 0.0
    for answers in target.tree.slices:
        votes = counts[:, answers]
        left = votes[:, ::-1].cumsum(axis=1)[:, ::-1]
        nats += _binomial_entropies(votes[:, :-1].ravel(), left[:, :-1].ravel()).sum()
    return float(nats / counts.sum())


def _binomial_entropies(k: IntArray, n: IntArray) -> FloatArray:
    """Return the entropy (nats) of n votes with probability k/n, each; 0 of no votes."""
    pairs, places = np.unique(np.stack([k, n], axis=1), axis=0, return_inverse=True)
    known = np.zeros(len(pairs))
    for votes in np.unique(pairs[:, 1][pairs[:, 1] > 0]).tolist():
        rows = pairs[:, 1] == votes
        known[rows] = entropy(binomial_pmf(pairs[rows, 0] / votes, votes))
    nats: FloatArray = known[places.ravel()]
    return nats
