"""The champion's loss on the galaxies it chose itself, brought back to the whole pool by inclusion probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from alservice.acquisition.batch_records import Acquired, Arm
from alservice.campaigns.cycle import Cycle
from alservice.campaigns.cycle_store import AcquisitionStore, ModelStore, SnapshotStore
from alservice.campaigns.records import CampaignRow, CycleStatistics, Model
from alservice.learning.training import ReadSnapshot
from alservice.prediction.service import PredictCatalogue, Scope
from alservice.science.evaluation import mixture_nll
from alservice.science.posterior import concat, take
from alservice.science.reweighting import inclusion_ratio
from alservice.science.training_sets import TallySet
from alservice.science.tree import load_tree
from alservice.shapes import FloatArray

MIN_GALAXIES = 5
"""Voted galaxies of the arm below which nothing is estimated."""


@dataclass(frozen=True, kw_only=True)
class EstimateSelected:
    """Judge the champion, which has not been trained on them yet, on the votes of this cycle's informative arm."""

    acquisitions: AcquisitionStore
    models: ModelStore
    snapshots: SnapshotStore
    predict: PredictCatalogue
    read_snapshot: ReadSnapshot

    def run(self, campaign: CampaignRow, cycle: Cycle) -> dict[str, Any] | None:
        """Return and record NLL per vote (nats): plain over the arm, and weighted to its pool with an interval.

        None without a champion, or when too few galaxies of the arm have votes.
        """
        if cycle.champion_id is None:
            return None
        drawn = {a.galaxy_id: a for a in self.acquisitions.get(cycle.id) or () if a.arm == Arm.INFORMATIVE}
        tree = load_tree(campaign.campaign.tree)
        tallies = self.read_snapshot.run(cycle, tree)
        voted = tallies.only([galaxy_id in drawn for galaxy_id in tallies.galaxy_ids])
        if len(voted.galaxy_ids) < MIN_GALAXIES:
            return None
        champion = self.models.get(cycle.champion_id)
        nll = mixture_nll(tree, self._concentrations(campaign, cycle, champion, voted), voted.counts).sum(axis=1)
        document = _estimate(nll, voted, drawn)
        statistics = CycleStatistics(cycle_id=cycle.id, cycle_number=cycle.number, kind="selected", document=document)
        self.snapshots.save_statistics(statistics, ())
        return document

    def _concentrations(self, campaign: CampaignRow, cycle: Cycle, champion: Model, voted: TallySet) -> FloatArray:
        shards = self.predict.run(campaign.campaign, cycle.catalogue_id, champion, Scope.CATALOGUE)
        wanted = {galaxy_id: row for row, galaxy_id in enumerate(voted.galaxy_ids)}
        parts = []
        for posterior in self.predict.posteriors(shards):
            rows = [row for row, galaxy_id in enumerate(posterior.galaxy_ids) if galaxy_id in wanted]
            if rows:
                parts.append(take(posterior, np.array(rows)))
        found = concat(parts)
        order = np.argsort([wanted[galaxy_id] for galaxy_id in found.galaxy_ids])
        return found.concentrations[order]


def _estimate(nll: FloatArray, voted: TallySet, drawn: dict[str, Acquired]) -> dict[str, Any]:
    votes = voted.counts.sum(axis=1)
    chances = np.array([drawn[galaxy_id].inclusion_probability for galaxy_id in voted.galaxy_ids])
    weighted = inclusion_ratio(nll, votes, chances)
    return {
        "drawn": len(drawn),
        "voted": len(voted.galaxy_ids),
        "naive": float(nll.sum() / votes.sum()),
        "weighted": weighted.value,
        "low": weighted.low,
        "high": weighted.high,
    }
