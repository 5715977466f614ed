"""Candidate against champion -> gate decision, recorded with the promotion it causes in one transaction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alservice.campaigns.cycle import Cycle
from alservice.campaigns.cycle_store import ModelStore
from alservice.campaigns.records import CampaignRow
from alservice.errors import NotFound
from alservice.ids import seed_of
from alservice.learning.evaluation import JudgeModel
from alservice.learning.gate import GateDecision, decide
from alservice.science.evaluation import Assessment, assess
from alservice.science.tree import Tree, load_tree


@dataclass(frozen=True, kw_only=True)
class DecideGate:
    """Let the statistical gate decide, and act on it."""

    models: ModelStore
    judge: JudgeModel

    def run(self, campaign: CampaignRow, cycle: Cycle, *, actor: str) -> tuple[GateDecision, Cycle]:
        """Decide, then promote, keep or hold; return the decision and the cycle after it.

        Raises
        ------
        NotFound
            The cycle has no candidate.
        """
        if cycle.candidate_id is None:
            raise NotFound(f"cycle {cycle.number} has no candidate to judge", cycle=cycle.number)
        tree = load_tree(campaign.campaign.tree)
        champion_id = cycle.champion_id
        decision = decide(
            campaign.campaign.gate,
            champion=None if champion_id is None else self._assess(campaign, cycle, champion_id, tree),
            candidate=self._assess(campaign, cycle, cycle.candidate_id, tree),
            rng=np.random.default_rng(seed_of(campaign.campaign.seed, "gate", cycle.number)),
        )
        return decision, self.models.settle(cycle, decision, actor=actor)

    def _assess(self, campaign: CampaignRow, cycle: Cycle, model_id: int, tree: Tree) -> Assessment:
        judged = self.judge.run(campaign, cycle, self.models.get(model_id), tree)
        return assess(tree, judged.posterior, judged.tallies.counts)
