"""Candidate and champion on the evaluation stream: the same galaxies, the same votes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from alservice.acquisition.batch import Acquired
from alservice.acquisition.policies import SelectionOverlap, compare_selections
from alservice.acquisition.store import AcquisitionStore
from alservice.campaigns.cycle import Cycle
from alservice.campaigns.policies import Arm
from alservice.campaigns.store import CampaignRow, Event
from alservice.catalogue.service import CatalogueService
from alservice.catalogue.store import CatalogueStore
from alservice.errors import BadInput, BadVotes, NotFound
from alservice.ids import seed_of
from alservice.learning.frozen import FrozenTallies
from alservice.prediction.scope import Scope, question_weights
from alservice.progress import Clock
from alservice.registry.records import CycleStatistics, Model, ModelEvaluation
from alservice.registry.store import ModelStore, SnapshotStore
from alservice.science.evaluation import Assessment, Evaluation, assess, mixture_nll, slice_metrics, summarise
from alservice.science.information import joint_information
from alservice.science.posterior import Posterior, concat, take
from alservice.science.prediction import Prediction
from alservice.science.reweighting import inclusion_ratio
from alservice.science.tree import Tree, load_tree
from alservice.science.votes import TallySet
from alservice.shapes import FloatArray
from alservice.storage import ObjectStore, arrays
from alservice.votes.store import ClassificationStore

if TYPE_CHECKING:
    from alservice.prediction.service import PredictionService


@dataclass(frozen=True, kw_only=True)
class CompareShadow:
    """Predict the catalogue with a second model, and compare both models' scores."""

    catalogues: CatalogueStore
    models: ModelStore
    snapshots: SnapshotStore
    prediction: PredictionService
    clock: Clock
    actor: str

    def run(self, campaign: CampaignRow, cycle: Cycle, shadow: Model) -> SelectionOverlap:
        """Return the overlap of two selections of a cycle's size, recorded with the cycle the first time.

        Scores are over all galaxies outside the evaluation stream, whether or not they may be asked about again.

        Raises
        ------
        NotFound
            The cycle has no champion to compare with.
        BadInput
            The shadow is the champion, or of another campaign.
        """
        if cycle.champion_id is None:
            raise NotFound(f"cycle {cycle.number} has no champion to shadow", cycle=cycle.number)
        champion = self.models.get(cycle.champion_id)
        if shadow.campaign_id != campaign.id or shadow.id == champion.id:
            raise BadInput(f"model {shadow.id} cannot be the shadow of model {champion.id}", model=shadow.id)
        tree = load_tree(campaign.settings.tree)
        first, second = (np.concatenate(list(self._scores(campaign, cycle, m, tree))) for m in (champion, shadow))
        overlap = compare_selections(first, second, campaign.settings.acquisition.batch_galaxies)
        detail = {"champion": champion.id, "shadow": shadow.id, **asdict(overlap)}
        statistics = CycleStatistics(cycle_id=cycle.id, cycle_number=cycle.number, kind="shadow", document=detail)
        event = Event(
            campaign_id=campaign.id,
            cycle_id=cycle.id,
            at=self.clock(),
            actor=self.actor,
            kind="shadow.compared",
            detail=detail,
        )
        self.snapshots.save_statistics(statistics, [event])
        return overlap

    def _scores(self, campaign: CampaignRow, cycle: Cycle, model: Model, tree: Tree) -> Iterator[FloatArray]:
        shards = self.prediction.predict(campaign.settings, cycle.catalogue_id, model, Scope.CATALOGUE)
        weights = question_weights(campaign.settings.acquisition, tree)
        votes = campaign.settings.acquisition.votes_per_galaxy
        for shard in shards:
            for found in self.prediction.predictions(campaign.settings, [shard]):
                eligible = self._eligible(cycle, found)
                if found.is_scored_for(votes, weights):
                    yield found.scores[eligible].astype(np.float64)
                else:
                    (posterior,) = self.prediction.draws(campaign.settings, [shard])
                    yield joint_information(tree, posterior.concentrations[eligible], votes, question_weights=weights)

    def _eligible(self, cycle: Cycle, found: Prediction) -> list[int]:
        galaxies = self.catalogues.by_id(cycle.catalogue_id, found.galaxy_ids)
        members = {galaxy.galaxy_id for galaxy in galaxies if galaxy.evaluation}
        return [row for row, galaxy_id in enumerate(found.galaxy_ids) if galaxy_id not in members]


MIN_GALAXIES = 5
"""Voted galaxies of the arm below which nothing is estimated."""


@dataclass(frozen=True, kw_only=True)
class EstimateSelected:
    """Judge the champion, which has not been trained on them yet, on the votes of this cycle's informative arm."""

    acquisitions: AcquisitionStore
    models: ModelStore
    snapshots: SnapshotStore
    prediction: PredictionService
    frozen: FrozenTallies
    classifications: ClassificationStore

    def run(self, campaign: CampaignRow, cycle: Cycle) -> dict[str, Any] | None:
        """Return and record NLL per vote (nats): plain over the arm, and weighted to its pool with an interval.

        Where asking may stop early only as many first votes count as every galaxy gets: how many came after them, and
        so which, depends on what the champion said.

        None without a champion, or when too few galaxies of the arm have votes.
        """
        if cycle.champion_id is None:
            return None
        drawn = {a.galaxy_id: a for a in self.acquisitions.get(cycle.id) or () if a.arm == Arm.INFORMATIVE}
        tree = load_tree(campaign.settings.tree)
        tallies = self.frozen.read(cycle, tree)
        voted = tallies.only([galaxy_id in drawn for galaxy_id in tallies.galaxy_ids])
        rule = campaign.settings.zooniverse.rule
        if rule is not None:
            voted = self.classifications.first_votes(campaign.id, voted.galaxy_ids, tree.n_answers, most=rule.min_votes)
        if len(voted.galaxy_ids) < MIN_GALAXIES:
            return None
        champion = self.models.get(cycle.champion_id)
        nll = mixture_nll(tree, self._concentrations(campaign, cycle, champion, voted), voted.counts).sum(axis=1)
        document = _estimate(nll, voted, drawn)
        statistics = CycleStatistics(cycle_id=cycle.id, cycle_number=cycle.number, kind="selected", document=document)
        self.snapshots.save_statistics(statistics, ())
        return document

    def _concentrations(self, campaign: CampaignRow, cycle: Cycle, champion: Model, voted: TallySet) -> FloatArray:
        shards = self.prediction.predict(campaign.settings, cycle.catalogue_id, champion, Scope.CATALOGUE)
        wanted = {galaxy_id: row for row, galaxy_id in enumerate(voted.galaxy_ids)}
        found = concat(list(self.prediction.draws(campaign.settings, shards, wanted.keys())))
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


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A model's posterior for the evaluation members that volunteers voted on, beside their votes."""

    posterior: Posterior
    tallies: TallySet


@dataclass(frozen=True, kw_only=True)
class JudgeModel:
    """Bring a model's posterior and the votes of one snapshot together."""

    catalogues: CatalogueStore
    prediction: PredictionService
    frozen: FrozenTallies

    def run(self, campaign: CampaignRow, cycle: Cycle, model: Model, tree: Tree) -> Judged:
        """Return posterior and votes of the same galaxies, in order of id; predicts what is not predicted yet.

        Raises
        ------
        BadVotes
            No member of the evaluation stream has a vote yet.
        """
        members = self.members(cycle, tree)
        if not members.galaxy_ids:
            raise BadVotes(f"no evaluation member has votes in cycle {cycle.number}", cycle=cycle.number)
        shards = self.prediction.predict(campaign.settings, cycle.catalogue_id, model, Scope.EVALUATION)
        posterior = concat(list(self.prediction.draws(campaign.settings, shards)))
        row_of = {galaxy_id: row for row, galaxy_id in enumerate(posterior.galaxy_ids)}
        rows = np.array([row_of[galaxy_id] for galaxy_id in members.galaxy_ids])
        return Judged(posterior=take(posterior, rows), tallies=members)

    def members(self, cycle: Cycle, tree: Tree) -> TallySet:
        """Return the votes of the evaluation stream in a cycle's snapshot."""
        tallies = self.frozen.read(cycle, tree)
        galaxies = self.catalogues.by_id(cycle.catalogue_id, tallies.galaxy_ids)
        return tallies.only([galaxy.evaluation for galaxy in galaxies])


@dataclass(frozen=True, kw_only=True)
class EvaluateModel:
    """Measure the candidate, and the champion again on the votes there are now; each once in a cycle."""

    models: ModelStore
    snapshots: SnapshotStore
    judge: JudgeModel
    catalogue: CatalogueService
    objects: ObjectStore

    def run(self, campaign: CampaignRow, cycle: Cycle) -> tuple[Evaluation, ...]:
        """Record and return the evaluations: the candidate's first, then the champion's if there is one.

        One that the cycle has already is returned as it is.
        """
        tree = load_tree(campaign.settings.tree)
        done = self.snapshots.evaluations_in(cycle.id)
        ids = [i for i in (cycle.candidate_id, cycle.champion_id) if i is not None]
        return tuple(
            done[i].evaluation if i in done else self._evaluate(campaign, cycle, self.models.get(i), tree) for i in ids
        )

    def assessment(self, campaign: CampaignRow, cycle: Cycle, model_id: int) -> Assessment:
        """Return a model's figures per galaxy in a cycle: those kept with its evaluation.

        They are computed where there are none: for a model that became the champion after the others were evaluated.
        """
        tree = load_tree(campaign.settings.tree)
        found = self.snapshots.evaluations_in(cycle.id).get(model_id)
        if found is not None and found.assessment is not None:
            return arrays.decode_assessment(self.objects.get(found.assessment), tree)
        judged = self.judge.run(campaign, cycle, self.models.get(model_id), tree)
        return assess(tree, judged.posterior, judged.tallies.counts)

    def _evaluate(self, campaign: CampaignRow, cycle: Cycle, model: Model, tree: Tree) -> Evaluation:
        judged = self.judge.run(campaign, cycle, model, tree)
        assessment = assess(tree, judged.posterior, judged.tallies.counts)
        rng = np.random.default_rng(seed_of(campaign.settings.seed, "evaluation", cycle.number))
        found = summarise(assessment, rng=rng)
        properties = self.catalogue.measure(campaign.settings, cycle.catalogue_id, judged.tallies, tree)
        slices = slice_metrics(assessment, properties, column=campaign.settings.evaluation.answer, rng=rng)
        found = dataclasses.replace(found, slices=slices)
        kept = self.objects.put(arrays.encode_assessment(assessment), kind="assessments", suffix=".safetensors")
        self.snapshots.save_evaluation(
            ModelEvaluation(
                cycle_id=cycle.id,
                cycle_number=cycle.number,
                model_id=model.id,
                evaluation=found,
                assessment=kept.key,
            )
        )
        return found
