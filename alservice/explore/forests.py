"""Baseline for searches: rarity by an isolation forest and interest by a random forest (Lochner and Bassett 2021).

As Astronomaly's default: the rarest are rated first; then a galaxy's score moves from its rarity to the interest that
the forest expects, the nearer it lies to rated ones.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from alservice.errors import BadInput
from alservice.explore.table import missing
from alservice.science.interest import MAX_RATING, squared_distances
from alservice.shapes import FloatArray, IntArray

MOST: Final = 200_000
"""Galaxies that a baseline looks at: an isolation forest walks its trees for each."""

_TREES = 100
_LEAST: Final = 0.1
"""Smallest factor on a rarity: of galaxies right beside a dull one."""


def rarity(vectors: FloatArray, *, seed: int) -> FloatArray:
    """Return the rarity (N,) of galaxies at vectors (N, K), from 0 to `MAX_RATING`.

    Raises
    ------
    BadInput
        There are more than `MOST`.
    BadConfig
        scikit-learn is not installed.
    """
    try:
        from sklearn.ensemble import IsolationForest
    except ImportError as error:
        raise missing(error) from None
    if len(vectors) > MOST:
        raise BadInput(f"forests compare {MOST:,} galaxies at most, not {len(vectors):,}", field="method")
    points = np.asarray(vectors, dtype=np.float32)
    forest = IsolationForest(n_estimators=_TREES, random_state=seed % (1 << 32), n_jobs=1).fit(points)
    found = -forest.score_samples(points)
    scaled: FloatArray = MAX_RATING * (found - found.min()) / max(float(np.ptp(found)), 1e-12)
    return scaled


def joint_scores(
    vectors: FloatArray, rarities: FloatArray, places: IntArray, ratings: FloatArray, *, seed: int
) -> FloatArray:
    """Return scores (N,) of rarity and expected interest together: rarity alone before the first rating.

    ``S tanh(delta - 1 + arctanh(U))`` with rarity S, expected interest U scaled to 0.1 to 1 and
    ``delta = exp(d / d0)`` of the distance d to the nearest rated galaxy, d0 being its mean (equation 1 there).
    """
    from sklearn.ensemble import RandomForestRegressor

    if not len(places):
        return rarities
    points = np.asarray(vectors, dtype=np.float32)
    forest = RandomForestRegressor(n_estimators=_TREES, random_state=seed % (1 << 32), n_jobs=1)
    expected = forest.fit(points[places], ratings).predict(points)
    usual = np.clip(_LEAST + (1 - _LEAST) * expected / MAX_RATING, _LEAST, 1 - 1e-9)
    nearest = np.concatenate(
        [
            np.sqrt(squared_distances(points[first : first + 8192], points[places]).min(axis=1))
            for first in range(0, len(points), 8192)
        ]
    )
    delta = np.exp(nearest / max(float(nearest.mean()), 1e-12))
    found: FloatArray = rarities * np.tanh(delta - 1 + np.arctanh(usual))
    return found
