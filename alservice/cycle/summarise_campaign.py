"""Recorded cycles -> the table that people read, with first and last champion compared on the same votes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from alservice.campaigns.cycle import Cycle, CycleKind
from alservice.campaigns.cycle_store import CatalogueStore, CycleStore, ModelStore, SnapshotStore
from alservice.campaigns.records import CampaignRow, Model
from alservice.cycle.table import Change, CycleLine, CycleTable
from alservice.ids import seed_of
from alservice.learning.evaluation import JudgeModel
from alservice.science.bootstrap import bootstrap_sums, percentile_estimate
from alservice.science.evaluation import mixture_nll
from alservice.science.metrics import Metrics
from alservice.science.tree import Tree, load_tree
from alservice.shapes import FloatArray
from alservice.states import ModelState

COVERAGE_TOLERANCE = 0.10
"""Tolerance on the vote fraction of the coverage error in the table."""


@dataclass(frozen=True, kw_only=True)
class SummariseCampaign:
    """Read what cycles recorded; only the comparison of champions is computed anew."""

    cycles: CycleStore
    models: ModelStore
    snapshots: SnapshotStore
    catalogues: CatalogueStore
    judge: JudgeModel

    def run(self, campaign: CampaignRow) -> CycleTable:
        """Return the table of all cycles of a campaign."""
        tree = load_tree(campaign.campaign.tree)
        cycles = self.cycles.list(campaign.id)
        metrics = {(e.cycle_id, e.model_id): e.metrics for e in self.snapshots.evaluations(campaign.id)}
        return CycleTable(
            campaign=campaign.campaign.name,
            lines=tuple(self._line(campaign, tree, cycle, metrics) for cycle in cycles),
            change=self._change(campaign, tree, cycles),
        )

    def _line(
        self, campaign: CampaignRow, tree: Tree, cycle: Cycle, metrics: Mapping[tuple[int, int], Metrics]
    ) -> CycleLine:
        snapshot = self.snapshots.of_cycle(cycle.id)
        decision = self.models.decision(cycle.id)
        candidate = metrics.get((cycle.id, cycle.candidate_id or 0))
        champion = metrics.get((cycle.id, cycle.champion_id or 0))
        estimate = candidate.nll_per_vote if candidate else None
        return CycleLine(
            cycle=cycle.number,
            kind=_kind(cycle),
            state=str(cycle.state),
            votes=snapshot.n_votes if snapshot else None,
            galaxies_labelled=self._labelled(cycle),
            galaxies_evaluated=candidate.n_galaxies if candidate else None,
            nll_per_vote=estimate.value if estimate else None,
            nll_low=estimate.low if estimate else None,
            nll_high=estimate.high if estimate else None,
            champion_nll_per_vote=champion.nll_per_vote.value if champion else None,
            rmse_smooth=candidate.answer(campaign.campaign.evaluation.answer).rmse if candidate else None,
            rmse_bar=candidate.answer(_bar(tree)).rmse if candidate and _bar(tree) else None,
            coverage_error=_coverage_error(candidate, campaign.campaign.evaluation.answer) if candidate else None,
            verdict=decision.verdict if decision else None,
        )

    def _labelled(self, cycle: Cycle) -> int | None:
        if cycle.candidate_id is None:
            return None
        n_galaxies = self.models.get(cycle.candidate_id).card.get("n_galaxies")
        return None if n_galaxies is None else int(n_galaxies)

    def _change(self, campaign: CampaignRow, tree: Tree, cycles: Sequence[Cycle]) -> Change | None:
        """Compare the first champion with the last on the last snapshot, galaxies resampled in pairs."""
        champions = [m for m in self.models.list(campaign.id) if m.state in {ModelState.CHAMPION, ModelState.RETIRED}]
        judged = [c for c in cycles if self.snapshots.of_cycle(c.id) is not None]
        if len(champions) < 2 or not judged:
            return None
        first, last = champions[0], champions[-1]
        before, votes = self._nll(campaign, judged[-1], first, tree)
        after, _ = self._nll(campaign, judged[-1], last, tree)
        rng = np.random.default_rng(seed_of(campaign.campaign.seed, "change"))
        sums = bootstrap_sums(np.stack([after - before, votes], axis=1), repeats=2000, rng=rng)
        total = votes.sum()
        difference = percentile_estimate(float((after - before).sum() / total), sums[:, 0] / sums[:, 1], 0.95)
        return Change(
            first_cycle=first.cycle_number,
            last_cycle=last.cycle_number,
            first=float(before.sum() / total),
            last=float(after.sum() / total),
            difference=difference.value,
            low=difference.low,
            high=difference.high,
        )

    def _nll(self, campaign: CampaignRow, cycle: Cycle, model: Model, tree: Tree) -> tuple[FloatArray, FloatArray]:
        """Return summed NLL (N,) nats and votes (N,) per evaluation galaxy."""
        judged = self.judge.run(campaign, cycle, model, tree)
        counts = judged.tallies.counts
        nll = mixture_nll(tree, judged.posterior.concentrations, counts)
        return nll.sum(axis=1), counts.sum(axis=1).astype(np.float64)


def _kind(cycle: Cycle) -> str:
    if cycle.kind is CycleKind.RETRAIN:
        return "retrain"
    return "bootstrap" if cycle.champion_id is None else "active"


def _bar(tree: Tree) -> str:
    """Return the tree's first bar answer, empty where it does not ask."""
    return next((column for column in tree.columns if column.startswith("bar_")), "")


def _coverage_error(metrics: Metrics, column: str) -> float | None:
    errors = dict(zip(metrics.tolerances, metrics.answer(column).coverage_error, strict=True))
    return errors.get(COVERAGE_TOLERANCE)
