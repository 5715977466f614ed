"""Candidate and champion on the evaluation stream: the same galaxies, the same votes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from alservice.campaigns.cycle import Cycle
from alservice.campaigns.cycle_store import CatalogueStore, ModelStore, SnapshotStore
from alservice.campaigns.records import CampaignRow, Evaluation, Model
from alservice.catalogue.measure_galaxies import MeasureGalaxies
from alservice.errors import BadVotes
from alservice.ids import seed_of
from alservice.learning.training import ReadSnapshot
from alservice.prediction.service import PredictCatalogue, Scope
from alservice.science.evaluation import assess
from alservice.science.evaluation_core import summarise
from alservice.science.metrics import Metrics
from alservice.science.posterior import Posterior, concat, take
from alservice.science.slices import slice_metrics
from alservice.science.training_sets import TallySet
from alservice.science.tree import Tree, load_tree


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A model's posterior for the evaluation members that volunteers voted on, beside their votes."""

    posterior: Posterior
    tallies: TallySet


@dataclass(frozen=True, kw_only=True)
class JudgeModel:
    """Bring a model's posterior and the votes of one snapshot together."""

    catalogues: CatalogueStore
    predict: PredictCatalogue
    read_snapshot: ReadSnapshot

    def run(self, campaign: CampaignRow, cycle: Cycle, model: Model, tree: Tree) -> Judged:
        """Return posterior and votes of the same galaxies, in order of id; predicts what is not predicted yet.

        Raises
        ------
        BadVotes
            No member of the evaluation stream has a vote yet.
        """
        tallies = self.read_snapshot.run(cycle, tree)
        galaxies = self.catalogues.by_id(cycle.catalogue_id, tallies.galaxy_ids)
        members = tallies.only([galaxy.evaluation for galaxy in galaxies])
        if not members.galaxy_ids:
            raise BadVotes(f"no evaluation member has votes in cycle {cycle.number}", cycle=cycle.number)
        shards = self.predict.run(campaign.campaign, cycle.catalogue_id, model, Scope.EVALUATION)
        posterior = concat(list(self.predict.posteriors(shards)))
        row_of = {galaxy_id: row for row, galaxy_id in enumerate(posterior.galaxy_ids)}
        rows = np.array([row_of[galaxy_id] for galaxy_id in members.galaxy_ids])
        return Judged(posterior=take(posterior, rows), tallies=members)


@dataclass(frozen=True, kw_only=True)
class EvaluateModel:
    """Measure the candidate, and the champion again on the votes there are now."""

    models: ModelStore
    snapshots: SnapshotStore
    judge: JudgeModel
    measure: MeasureGalaxies

    def run(self, campaign: CampaignRow, cycle: Cycle) -> tuple[Metrics, ...]:
        """Record and return the metrics: the candidate's first, then the champion's if there is one."""
        tree = load_tree(campaign.campaign.tree)
        ids = [i for i in (cycle.candidate_id, cycle.champion_id) if i is not None]
        return tuple(self._evaluate(campaign, cycle, self.models.get(i), tree) for i in ids)

    def _evaluate(self, campaign: CampaignRow, cycle: Cycle, model: Model, tree: Tree) -> Metrics:
        judged = self.judge.run(campaign, cycle, model, tree)
        assessment = assess(tree, judged.posterior, judged.tallies.counts)
        rng = np.random.default_rng(seed_of(campaign.campaign.seed, "evaluation", cycle.number))
        metrics = summarise(assessment, rng=rng)
        properties = self.measure.run(campaign.campaign, cycle.catalogue_id, judged.tallies, tree)
        slices = slice_metrics(assessment, properties, column=campaign.campaign.evaluation.answer, rng=rng)
        metrics = dataclasses.replace(metrics, slices=slices)
        self.snapshots.save_evaluation(
            Evaluation(cycle_id=cycle.id, cycle_number=cycle.number, model_id=model.id, metrics=metrics)
        )
        return metrics
