"""Two feeds of the same votes, side by side: where their tallies differ, and by how much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from alservice.science.training_sets import TallySet
from alservice.science.tree import Tree
from alservice.science.votes import totals
from alservice.shapes import IntArray


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedDifference:
    """One question of one galaxy on which the feeds differ: votes per answer, in tree order."""

    galaxy_id: str
    question: str
    classifications: tuple[int, ...]
    reductions: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedComparison:
    """What both feeds say of a campaign.

    Parameters
    ----------
    counts_from
        The feed that the campaign's tallies come from.
    galaxies
        Galaxies with votes in either feed.
    totals
        Question to votes, of classifications and of reductions.
    unread
        Reductions that could not be counted, by reason.
    """

    counts_from: str
    galaxies: int
    differences: tuple[FeedDifference, ...]
    totals: Mapping[str, tuple[int, int]]
    unread: Mapping[str, int]

    @property
    def is_equal(self) -> bool:
        """Whether the feeds agree on everything, and all of both could be read."""
        return not self.differences and not self.unread

    def document(self) -> dict[str, Any]:
        """Return the record as a JSON document."""
        return {**asdict(self), "is_equal": self.is_equal}


def compare_feeds(
    tree: Tree, classifications: TallySet, reductions: TallySet, *, counts_from: str, unread: Mapping[str, int]
) -> FeedComparison:
    """Return the questions on which two sets of tallies differ, by galaxy and in tree order."""
    ids = sorted({*classifications.galaxy_ids, *reductions.galaxy_ids})
    ours, theirs = _aligned(classifications, ids), _aligned(reductions, ids)
    differs = np.logical_or.reduceat(ours != theirs, [part.start for part in tree.slices], axis=1)
    sums = totals(tree, ours.sum(axis=0)).tolist(), totals(tree, theirs.sum(axis=0)).tolist()
    return FeedComparison(
        counts_from=counts_from,
        galaxies=len(ids),
        differences=tuple(
            FeedDifference(
                galaxy_id=ids[row],
                question=tree.questions[index].name,
                classifications=tuple(ours[row, tree.slices[index]].tolist()),
                reductions=tuple(theirs[row, tree.slices[index]].tolist()),
            )
            for row, index in np.argwhere(differs).tolist()
        ),
        totals={question.name: (a, b) for question, a, b in zip(tree.questions, *sums, strict=True)},
        unread=dict(unread),
    )


def _aligned(tallies: TallySet, ids: list[str]) -> IntArray:
    """Return votes (N, A) for these galaxies, zeros where there are none."""
    place = {galaxy: row for row, galaxy in enumerate(ids)}
    votes = np.zeros((len(ids), tallies.counts.shape[1]), dtype=np.int64)
    votes[[place[galaxy] for galaxy in tallies.galaxy_ids]] = tallies.counts
    return votes
