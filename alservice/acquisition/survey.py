"""A uniform sample of the survey, as one model sees it: the target of EPIG and the yardstick of distances."""

from __future__ import annotations

import numpy as np

from alservice.errors import NotFound
from alservice.ids import stable_fraction
from alservice.science.posterior import Posterior, concat, take
from alservice.shapes import BoolArray


class SurveySample:
    """Draws the same galaxies whatever the order and the shards they are offered in.

    Parameters
    ----------
    size
        Galaxies wanted; memory is bounded by them.
    seed
        Of the sample.
    """

    def __init__(self, size: int, *, seed: int) -> None:
        self._size = size
        self._seed = seed
        self._kept: Posterior | None = None

    def offer(self, posterior: Posterior, unbiased: BoolArray) -> None:
        """Take one shard, of which only the unbiased galaxies (n,) can be drawn; each galaxy is offered once."""
        rows = np.flatnonzero(unbiased)
        if len(rows):
            # Of this shard first: only what can still win is joined to what is kept.
            best = self._best(take(posterior, rows))
            self._kept = best if self._kept is None else self._best(concat([self._kept, best]))

    def draw(self) -> Posterior:
        """Return the sample, fewer galaxies than wanted where the survey has no more; raises `NotFound` for none."""
        if self._kept is None:
            raise NotFound("no unbiased galaxy of the survey has a posterior to sample")
        return self._kept

    def _best(self, posterior: Posterior) -> Posterior:
        keys = [stable_fraction(f"{self._seed}:survey", galaxy_id) for galaxy_id in posterior.galaxy_ids]
        return take(posterior, np.argsort(keys, kind="stable")[: self._size])
