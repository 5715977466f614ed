"""One cycle's data against the campaign's first cycles: figures recorded, alarms in the audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from alservice.acquisition.service import question_weights
from alservice.campaigns.cycle import Cycle, CycleState
from alservice.campaigns.cycle_store import CatalogueStore, CycleStore, EventLog, ModelStore, SnapshotStore
from alservice.campaigns.records import CampaignRow, CycleStatistics, Event
from alservice.catalogue.measure_galaxies import MeasureGalaxies
from alservice.errors import NotFound
from alservice.ids import stable_fraction
from alservice.learning.drift import DriftFigure, DriftSample, compare_with_first
from alservice.learning.training import ReadSnapshot
from alservice.prediction.service import PredictCatalogue, Scope
from alservice.process import Clock
from alservice.science.posterior import Posterior, answer_probabilities, concat, take
from alservice.science.tree import Tree, load_tree
from alservice.science.tree_information import tree_information

SAMPLE = 400
"""Evaluation members, the same for every cycle of a catalogue, that images and scores are sampled on."""


@dataclass(frozen=True, kw_only=True)
class WatchDrift:
    """Describe a cycle's data, and compare them with the first cycles'."""

    catalogues: CatalogueStore
    cycles: CycleStore
    models: ModelStore
    snapshots: SnapshotStore
    events: EventLog
    predict: PredictCatalogue
    measure: MeasureGalaxies
    read_snapshot: ReadSnapshot
    clock: Clock
    actor: str

    def run(self, campaign: CampaignRow, cycle: Cycle) -> tuple[DriftFigure, ...]:
        """Return the figures of a cycle; its own sample, its figures and its alarms are recorded together.

        The first cycles of a campaign are what others are compared with, and have no figures.

        Raises
        ------
        NotFound
            The cycle has no model yet whose predictions could be described.
        """
        policy = campaign.campaign.drift
        now = self._describe(campaign, cycle)
        kept = [s for s in self.snapshots.statistics(campaign.id) if s.kind == "drift" and s.cycle_id != cycle.id]
        first = [DriftSample.from_document(s.document["sample"]) for s in kept[: policy.reference_cycles]]
        figures = compare_with_first(policy, now, first) if len(first) == policy.reference_cycles else ()
        document = {"sample": now.document(), "figures": [asdict(figure) for figure in figures]}
        alarms = [
            Event(
                campaign_id=campaign.id,
                cycle_id=cycle.id,
                at=self.clock(),
                actor=self.actor,
                kind="drift.alarm",
                detail=asdict(figure),
            )
            for figure in figures
            if figure.alarm
        ]
        statistics = CycleStatistics(cycle_id=cycle.id, cycle_number=cycle.number, kind="drift", document=document)
        self.snapshots.save_statistics(statistics, alarms)
        return figures

    def _describe(self, campaign: CampaignRow, cycle: Cycle) -> DriftSample:
        tree = load_tree(campaign.campaign.tree)
        posterior = self._sample(campaign, cycle)
        images = self.measure.images(campaign.campaign, cycle.catalogue_id, posterior.galaxy_ids)
        policy = campaign.campaign.acquisition
        weights = question_weights(policy, tree)
        scores = tree_information(tree, posterior.concentrations, policy.votes_per_galaxy, weights)
        samples = {**images, "expected information [nats]": scores}
        leading = answer_probabilities(tree, posterior.concentrations).mean(axis=1)[:, tree.slices[0]].max(axis=1)
        return DriftSample(
            samples={name: tuple(values[np.isfinite(values)].tolist()) for name, values in samples.items()},
            votes_per_hour=self._votes_per_hour(campaign, cycle),
            abstention=float((leading < campaign.campaign.drift.confident).mean()),
            labels=self._labels(campaign, cycle, tree),
        )

    def _sample(self, campaign: CampaignRow, cycle: Cycle) -> Posterior:
        model_id = cycle.champion_id if cycle.champion_id is not None else cycle.candidate_id
        if model_id is None:
            raise NotFound(f"cycle {cycle.number} has no model yet", cycle=cycle.number)
        model = self.models.get(model_id)
        shards = self.predict.run(campaign.campaign, cycle.catalogue_id, model, Scope.EVALUATION)
        members = concat(list(self.predict.posteriors(shards)))
        chance = [stable_fraction("drift", galaxy_id) for galaxy_id in members.galaxy_ids]
        return take(members, np.sort(np.argsort(chance)[:SAMPLE]))

    def _before(self, campaign: CampaignRow, cycle: Cycle) -> Cycle | None:
        """Return the cycle whose snapshot was the last before this one's."""
        earlier = [c for c in self.cycles.list(campaign.id) if c.number < cycle.number]
        return next((c for c in reversed(earlier) if self.snapshots.of_cycle(c.id) is not None), None)

    def _votes_per_hour(self, campaign: CampaignRow, cycle: Cycle) -> float | None:
        began = ended = None
        for event in self.events.list(campaign.id, limit=10_000):
            if event.cycle_id == cycle.id and event.kind == "cycle.moved":
                began = event.at if event.detail["to"] == CycleState.COLLECTING else began
                ended = event.at if event.detail["from"] == CycleState.COLLECTING else ended
        snapshot, before = self.snapshots.of_cycle(cycle.id), self._before(campaign, cycle)
        if began is None or ended is None or snapshot is None or ended <= began:
            return None
        earlier = None if before is None else self.snapshots.of_cycle(before.id)
        new_votes = snapshot.n_votes - (0 if earlier is None else earlier.n_votes)
        return new_votes / ((ended - began).total_seconds() / 3600)

    def _labels(self, campaign: CampaignRow, cycle: Cycle, tree: Tree) -> Mapping[str, tuple[int, ...]]:
        """Return the votes that are new since the snapshot before, on evaluation members, by question."""
        tallies = self.read_snapshot.run(cycle, tree)
        galaxies = self.catalogues.by_id(cycle.catalogue_id, tallies.galaxy_ids)
        members = tallies.only([galaxy.evaluation for galaxy in galaxies])
        new = members.counts.sum(axis=0)
        before = self._before(campaign, cycle)
        if before is not None:
            earlier = self.read_snapshot.run(before, tree)
            known = set(members.galaxy_ids)
            new = new - earlier.only([g in known for g in earlier.galaxy_ids]).counts.sum(axis=0)
        return {q.name: tuple(new[tree.slices[i]].tolist()) for i, q in enumerate(tree.questions)}
