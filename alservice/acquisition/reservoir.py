"""The best of a stream of galaxies by their keys, in memory bounded by how many are kept."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from alservice.shapes import BoolArray, FloatArray


class Candidate(NamedTuple):
    """A galaxy in the running for one arm of a batch.

    Parameters
    ----------
    key, noise
        What it competes with, and what breaks ties.
    score_nats
        NaN where the arm has none.
    is_easy
        Whether the easy arm could draw it.
    """

    key: float
    noise: float
    galaxy_id: str
    score_nats: float
    is_easy: bool


class Reservoir:
    """The `size` candidates with the largest keys so far, with their embeddings where there are any."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._heap: list[Candidate] = []
        self._embeddings: dict[str, FloatArray] = {}

    def offer(
        self,
        keys: FloatArray,
        noise: FloatArray,
        galaxy_ids: Sequence[str],
        scores_nats: FloatArray,
        easy: BoolArray,
        embeddings: FloatArray | None = None,
    ) -> None:
        """Keep what is among the best; a key of -inf never is."""
        if self.size == 0:
            return
        floor = self._heap[0].key if len(self._heap) == self.size else -math.inf
        for i in np.flatnonzero((keys >= floor) & (keys > -np.inf)).tolist():
            new = Candidate(float(keys[i]), float(noise[i]), galaxy_ids[i], float(scores_nats[i]), bool(easy[i]))
            if embeddings is not None:
                self._embeddings[new.galaxy_id] = embeddings[i].copy()  # a view would keep its shard in memory
            if len(self._heap) < self.size:
                heapq.heappush(self._heap, new)
            else:
                self._embeddings.pop(heapq.heappushpop(self._heap, new).galaxy_id, None)

    def ranked(self) -> list[Candidate]:
        """Return what was kept, best first."""
        return sorted(self._heap, reverse=True)

    def embeddings_of(self, candidates: Sequence[Candidate]) -> FloatArray:
        """Return the embeddings (n, E) of candidates that were kept."""
        return np.stack([self._embeddings[candidate.galaxy_id] for candidate in candidates])
