"""Tallies frozen for training and for judging: which galaxies, which votes, under which digest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from alservice.errors import BadVotes
from alservice.ids import digest_of_bytes
from alservice.shapes import IntArray


@dataclass(frozen=True, kw_only=True)
class TallySet:
    """Votes per galaxy and answer, in order of galaxy id.

    Parameters
    ----------
    galaxy_ids
        (N,) ids, ascending and unique.
    counts
        (N, A) votes in tree order; a question nobody was asked has zeros in all its answers.
    """

    galaxy_ids: tuple[str, ...]
    counts: IntArray

    def __post_init__(self) -> None:
        if self.counts.ndim != 2 or len(self.galaxy_ids) != len(self.counts):
            raise BadVotes(f"{len(self.galaxy_ids)} ids for counts of shape {self.counts.shape}")
        if any(a >= b for a, b in zip(self.galaxy_ids, self.galaxy_ids[1:], strict=False)):
            raise BadVotes("galaxy ids must ascend without repeats")

    @property
    def n_votes(self) -> int:
        """Votes in all."""
        return int(self.counts.sum())

    @property
    def digest(self) -> str:
        """Digest of ids and counts: the same votes give the same training set."""
        ids = "\n".join(self.galaxy_ids).encode()
        return digest_of_bytes(ids + b"\0" + np.ascontiguousarray(self.counts, dtype="<i8").tobytes())

    def only(self, keep: Sequence[bool]) -> TallySet:
        """Return the galaxies marked True."""
        rows = np.flatnonzero(np.asarray(keep, dtype=bool))
        return TallySet(galaxy_ids=tuple(self.galaxy_ids[i] for i in rows), counts=self.counts[rows])


def tally_set(tallies: Mapping[str, IntArray], n_answers: int) -> TallySet:
    """Return the galaxies that have at least one vote, in order of id."""
    ids = tuple(sorted(g for g, counts in tallies.items() if counts.sum() > 0))
    stacked = np.stack([tallies[g] for g in ids]) if ids else np.zeros((0, n_answers), dtype=np.int64)
    return TallySet(galaxy_ids=ids, counts=stacked)
