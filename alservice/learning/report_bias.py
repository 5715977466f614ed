"""The champion's surprise at each evaluation galaxy's votes -> which properties of galaxies explain it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from alservice.campaigns.cycle_store import CycleStore, ModelStore, SnapshotStore
from alservice.campaigns.records import CampaignRow
from alservice.catalogue.measure_galaxies import MeasureGalaxies
from alservice.errors import NotFound
from alservice.ids import seed_of
from alservice.learning.bias_core import BiasReport, Explanation
from alservice.learning.evaluation import JudgeModel
from alservice.science.evaluation import assess
from alservice.science.slices import slice_metrics
from alservice.science.tree import load_tree
from alservice.shapes import FloatArray


class Explain(Protocol):
    """Fits the surprise (N,) nats per vote as a sum of curves, one per property (N,)."""

    def __call__(self, properties: Mapping[str, FloatArray], surprise: FloatArray, *, seed: int) -> Explanation:
        """Return the curves."""


@dataclass(frozen=True, kw_only=True)
class ReportBias:
    """Explain the champion on the votes of the newest snapshot."""

    cycles: CycleStore
    models: ModelStore
    snapshots: SnapshotStore
    judge: JudgeModel
    measure: MeasureGalaxies
    explain: Explain

    def run(self, campaign: CampaignRow) -> BiasReport:
        """Return the explanation, and the metrics of the same galaxies in slices.

        Raises
        ------
        NotFound
            The campaign has no champion, or no snapshot of votes yet.
        """
        champion = self.models.champion(campaign.id)
        frozen = [c for c in self.cycles.list(campaign.id) if self.snapshots.of_cycle(c.id) is not None]
        if champion is None or not frozen:
            raise NotFound(f"campaign {campaign.campaign.name} has no champion with votes to be judged on")
        cycle, tree = frozen[-1], load_tree(campaign.campaign.tree)
        judged = self.judge.run(campaign, cycle, champion, tree)
        assessment = assess(tree, judged.posterior, judged.tallies.counts)
        properties = self.measure.run(campaign.campaign, cycle.catalogue_id, judged.tallies, tree)
        surprise = assessment.nll.sum(axis=1) / assessment.votes.sum(axis=1)
        seed = seed_of(campaign.campaign.seed, "bias", cycle.number)
        return BiasReport(
            campaign=campaign.campaign.name,
            cycle=cycle.number,
            model=champion.digest,
            explanation=self.explain(properties, surprise, seed=seed),
            slices=slice_metrics(
                assessment,
                properties,
                column=campaign.campaign.evaluation.answer,
                rng=np.random.default_rng(seed),
            ),
        )
