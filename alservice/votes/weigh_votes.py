"""Counted classifications -> weighted tallies beside raw ones; training uses the raw ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alservice.campaigns.records import CampaignRow
from alservice.science.training_sets import TallySet
from alservice.science.tree import Tree
from alservice.shapes import FloatArray
from alservice.votes.ingest import ClassificationStore
from alservice.votes.weights import Sensitivity, sensitivity, volunteer_weights, vote_list


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class WeightedTallies:
    """Votes as counted, and as weighted by agreement.

    Parameters
    ----------
    raw
        (N, A) votes; the stored tallies.
    weighted
        (N, A) float64 sums of weights, at most the votes.
    """

    raw: TallySet
    weighted: FloatArray
    sensitivity: Sensitivity


@dataclass(frozen=True, kw_only=True)
class WeighVotes:
    """Weigh the votes of a campaign by how well their volunteers agree with others."""

    classifications: ClassificationStore

    def run(self, campaign: CampaignRow, tree: Tree) -> WeightedTallies:
        """Return both tallies and how much they differ; nothing is stored."""
        votes = vote_list(self.classifications.sittings(campaign.id), tree)
        found = volunteer_weights(votes, tree)
        return WeightedTallies(
            raw=TallySet(galaxy_ids=votes.galaxy_ids, counts=votes.counts(tree).astype(np.int64)),
            weighted=votes.counts(tree, found.weights),
            sensitivity=sensitivity(tree, votes, found),
        )
