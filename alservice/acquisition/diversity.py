"""Batches without near-copies: thinning candidates by their distance in embedding space.

Candidates are walked by falling key, and one is taken unless a galaxy taken before lies within `min_distance`. For
keys ln w + Gumbel noise this keeps inclusion probabilities exact. Given all other galaxies' keys, galaxy i is taken
if and only if its own exceeds a threshold: the walk above its key does not know of it, so it is taken unless that
part of the walk took a neighbour of it, or all `size` galaxies; and both only become truer as its key falls. So

    kappa_i = max(key of the first neighbour of i that the walk takes without i,
                  key of the last galaxy that the walk takes without i)

and P(key_i > kappa_i) = 1 - exp(-exp(ln w_i - kappa_i)) weights the draw without bias, as without thinning
(conditional Poisson argument of priority sampling: Duffield, Lund, Thorup 2007, J. ACM 54, 32). No walk has to be
repeated: without i, the walk goes on as it does with it, until the first candidate that i alone kept out.
"""

from __future__ import annotations

import math

import numpy as np

from alservice.errors import BadInput
from alservice.shapes import FloatArray, IntArray

_NOBODY, _SEVERAL = -1, -2


def thin(keys: FloatArray, embeddings: FloatArray, *, size: int, min_distance: float) -> tuple[IntArray, FloatArray]:
    """Walk candidates by falling key and take up to `size` of which no two are near.

    Parameters
    ----------
    keys
        (M + 1,) keys, falling; the last is of the best galaxy that is no candidate, or -inf if there is none.
    embeddings
        (M, E) of the candidates.
    size
        Galaxies wanted.
    min_distance
        Two taken galaxies lie further apart than this (Euclidean, embedding units).

    Returns
    -------
    tuple
        Places (n,) of the galaxies taken, in order, and the threshold (n,) that each one's key had to exceed; n is
        smaller than `size` where the candidates run out.
    """
    vectors = np.asarray(embeddings, dtype=np.float32)
    squares = np.vecdot(vectors, vectors)
    keeper = np.full(len(vectors), _NOBODY)
    taken: list[int] = []
    thresholds: list[float] = []
    floor = float(keys[len(vectors)])
    for place in range(len(vectors)):
        if keeper[place] >= 0:
            alone = int(keeper[place])
            thresholds[alone] = max(thresholds[alone], float(keys[place]))
        if keeper[place] != _NOBODY:
            continue
        if len(taken) == size:
            floor = float(keys[place])
            break
        below = slice(place + 1, None)
        near = _is_near(vectors[below], squares[below], vectors[place], squares[place], min_distance)
        view = keeper[below]
        view[near] = np.where(view[near] == _NOBODY, len(taken), _SEVERAL)
        taken.append(place)
        thresholds.append(-math.inf)
    return np.array(taken, dtype=np.int64), np.maximum(np.array(thresholds), floor)


def survey_distance(embeddings: FloatArray, share: float) -> float:
    """Return the distance within which a galaxy has about this share of the survey.

    It depends on a sample of the survey alone and not on the draw, which inclusion probabilities rest on.

    Parameters
    ----------
    embeddings
        (M, E) of a uniform sample of the survey, M >= 2.
    share
        Quantile of the distances between its galaxies, within (0, 1).

    Raises
    ------
    BadInput
        If the sample has fewer than two galaxies.
    """
    if len(embeddings) < 2:
        raise BadInput(f"a sample of {len(embeddings)} galaxies has no distances")
    vectors = np.asarray(embeddings, dtype=np.float64)
    pairs = [np.linalg.norm(vectors[i + 1 :] - vector, axis=1) for i, vector in enumerate(vectors)]
    return float(np.quantile(np.concatenate(pairs), share))


def _is_near(
    vectors: FloatArray, squares: FloatArray, centre: FloatArray, square: FloatArray, min_distance: float
) -> IntArray:
    """Return the rows within the distance of a centre.

    The quick form of the distance loses digits to cancellation: rows that it puts near or close to near are looked
    at again, so that copies are at distance 0 exactly.
    """
    quick = squares + square - 2 * (vectors @ centre)
    rows = np.flatnonzero(quick <= min_distance**2 + 1e-4 * (squares + square))
    near: IntArray = rows[np.linalg.norm(vectors[rows] - centre, axis=1) <= min_distance]
    return near
