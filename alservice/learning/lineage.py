"""A model, or one row of its predictions -> votes, data, seed and code behind it, checked against what is stored."""

from __future__ import annotations

from dataclasses import dataclass

from alservice.campaigns.cycle import Cycle
from alservice.campaigns.cycle_store import CatalogueStore, CycleStore, ModelStore, SnapshotStore
from alservice.campaigns.records import CampaignRow, Model
from alservice.errors import DigestMismatch, NotFound
from alservice.ids import check_galaxy_id
from alservice.learning.lineage_core import GalaxyLineage, Lineage, ModelLineage, Role
from alservice.learning.training import ReadSnapshot
from alservice.network.files import ModelCard
from alservice.prediction.service import PredictCatalogue, Scope
from alservice.registry.load_model import LoadModel
from alservice.science.training_sets import TallySet
from alservice.science.tree import Tree, load_tree


@dataclass(frozen=True, kw_only=True)
class TraceLineage:
    """Follow the records back, and recompute every digest on the way."""

    catalogues: CatalogueStore
    cycles: CycleStore
    models: ModelStore
    snapshots: SnapshotStore
    read_snapshot: ReadSnapshot
    load_model: LoadModel
    predict: PredictCatalogue

    def run(self, campaign: CampaignRow, *, model_id: int | None = None, galaxy_id: str | None = None) -> Lineage:
        """Return the lineage of a model, the champion when none is named, and of a galaxy's prediction by it.

        Raises
        ------
        NotFound
            There is no such model or galaxy in the campaign, or no champion.
        BadInput
            What is given is no galaxy's id.
        DigestMismatch
            Stored weights or votes are not those that were recorded.
        """
        if galaxy_id is not None:
            check_galaxy_id(galaxy_id, where="galaxy")
        models = {model.id: model for model in self.models.list(campaign.id)}
        champion = self.models.champion(campaign.id)
        wanted = model_id if model_id is not None else champion.id if champion else None
        if wanted not in models:
            name = "champion" if wanted is None else f"model {wanted}"
            raise NotFound(f"campaign {campaign.campaign.name} has no {name}", model=wanted)
        by_digest = {model.digest: model for model in models.values()}
        chain = [models[wanted]]
        while (parent := ModelCard.from_document(chain[-1].card).parent) is not None:
            chain.append(by_digest[parent])
        tree = load_tree(campaign.campaign.tree)
        return Lineage(
            galaxy=None if galaxy_id is None else self._galaxy(chain[0], galaxy_id, tree),
            models=tuple(self._model(campaign, model, tree) for model in chain),
        )

    def _model(self, campaign: CampaignRow, model: Model, tree: Tree) -> ModelLineage:
        cycle = self.cycles.get(model.cycle_id)
        snapshot = self.snapshots.of_cycle(cycle.id)
        if snapshot is None:
            raise NotFound(f"the tally snapshot of model {model.id} is gone", model=model.id)
        tallies = self.read_snapshot.run(cycle, tree)
        _check(tallies.digest, snapshot.digest, what=f"the tally snapshot of cycle {cycle.number}")
        _, card = self.load_model.run(model, tree)
        trained = self._trained_on(cycle, tallies)
        _check(trained.digest, card.data_digest, what=f"the training set of model {model.id}")
        promotions = [p for p in self.models.promotions(campaign.id) if p.model_id == model.id]
        return ModelLineage(
            model_id=model.id,
            digest=model.digest,
            state=model.state,
            cycle=cycle.number,
            snapshot_key=snapshot.key,
            snapshot_digest=snapshot.digest,
            snapshot_votes=snapshot.n_votes,
            data_digest=trained.digest,
            n_galaxies=len(trained.galaxy_ids),
            n_votes=trained.n_votes,
            seed=card.seed,
            code_revision=card.code_revision,
            network=card.network.name,
            tree_hash=card.tree_hash,
            parent_digest=card.parent,
            decision=self.models.decision(cycle.id),
            promotions=tuple(promotions),
        )

    def _galaxy(self, model: Model, galaxy_id: str, tree: Tree) -> GalaxyLineage:
        cycle = self.cycles.get(model.cycle_id)
        catalogue = self.catalogues.newest(model.campaign_id) or self.catalogues.get(cycle.catalogue_id)
        galaxy = self.catalogues.by_id(catalogue.id, [galaxy_id])[0]
        tallies = self.read_snapshot.run(cycle, tree)
        votes = dict(zip(tallies.galaxy_ids, tallies.counts.sum(axis=1).tolist(), strict=True)).get(galaxy_id, 0)
        role: Role = "not voted on" if not votes else "evaluation member" if galaxy.evaluation else "trained on"
        return GalaxyLineage(
            galaxy_id=galaxy_id,
            catalogue_id=catalogue.id,
            catalogue_source=catalogue.source,
            catalogue_digest=catalogue.digest,
            image_key=galaxy.image_key,
            posterior_key=self._posterior_key(model, catalogue.id, galaxy_id),
            role=role,
            votes=votes,
        )

    def _posterior_key(self, model: Model, catalogue_id: int, galaxy_id: str) -> str | None:
        for scope in Scope:
            for shard in self.models.posterior_shards(model.id, catalogue_id, scope):
                if any(galaxy_id in posterior.galaxy_ids for posterior in self.predict.posteriors([shard])):
                    return shard.key
        return None

    def _trained_on(self, cycle: Cycle, tallies: TallySet) -> TallySet:
        galaxies = self.catalogues.by_id(cycle.catalogue_id, tallies.galaxy_ids)
        return tallies.only([not galaxy.evaluation for galaxy in galaxies])


def _check(found: str, recorded: str, *, what: str) -> None:
    if found != recorded:
        raise DigestMismatch(f"{what} is not what was recorded", found=found, recorded=recorded)
