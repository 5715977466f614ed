"""A candidate beside the champion: what the two would ask volunteers about; nothing that is live looks at it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from alservice.acquisition.selections import SelectionOverlap, compare_selections
from alservice.acquisition.service import question_weights
from alservice.campaigns.cycle import Cycle
from alservice.campaigns.cycle_store import CatalogueStore, ModelStore, SnapshotStore
from alservice.campaigns.records import CampaignRow, CycleStatistics, Event, Model
from alservice.errors import BadInput, NotFound
from alservice.prediction.service import PredictCatalogue, Scope
from alservice.process import Clock
from alservice.science.posterior import Posterior
from alservice.science.tree import Tree, load_tree
from alservice.science.tree_information import tree_information
from alservice.shapes import FloatArray


@dataclass(frozen=True, kw_only=True)
class CompareShadow:
    """Predict the catalogue with a second model, and compare both models' scores."""

    catalogues: CatalogueStore
    models: ModelStore
    snapshots: SnapshotStore
    predict: PredictCatalogue
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
        tree = load_tree(campaign.campaign.tree)
        first, second = (np.concatenate(list(self._scores(campaign, cycle, m, tree))) for m in (champion, shadow))
        overlap = compare_selections(first, second, campaign.campaign.acquisition.batch_galaxies)
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
        shards = self.predict.run(campaign.campaign, cycle.catalogue_id, model, Scope.CATALOGUE)
        weights = question_weights(campaign.campaign.acquisition, tree)
        for posterior in self.predict.posteriors(shards):
            eligible = self._eligible(cycle, posterior)
            votes = campaign.campaign.acquisition.votes_per_galaxy
            yield tree_information(tree, posterior.concentrations[eligible], votes, weights)

    def _eligible(self, cycle: Cycle, posterior: Posterior) -> list[int]:
        galaxies = self.catalogues.by_id(cycle.catalogue_id, posterior.galaxy_ids)
        members = {galaxy.galaxy_id for galaxy in galaxies if galaxy.evaluation}
        return [row for row, galaxy_id in enumerate(posterior.galaxy_ids) if galaxy_id not in members]
