"""Image shards x model -> posterior shards: flat memory, finished shards skipped, any executor may run any twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from alservice.campaigns.campaign import Campaign
from alservice.campaigns.store import CampaignStore
from alservice.catalogue.galaxies import Shard
from alservice.catalogue.service import CatalogueService, pack_name, read_shards
from alservice.catalogue.store import CatalogueStore
from alservice.errors import NotFound
from alservice.ids import seed_of
from alservice.network.architectures import Network
from alservice.network.sampling import sample_posterior
from alservice.progress import Progress
from alservice.registry.records import Model
from alservice.registry.service import load_model
from alservice.registry.store import ModelStore
from alservice.science.posterior import Posterior
from alservice.science.tree import Tree, load_tree
from alservice.storage import ObjectStore, arrays


class Scope(StrEnum):
    """Which galaxies a posterior covers."""

    CATALOGUE = "catalogue"
    EVALUATION = "evaluation"


@dataclass(frozen=True, kw_only=True)
class PredictionService:
    """Posteriors of a catalogue's galaxies, a model's shard by shard."""

    campaigns: CampaignStore
    catalogue: CatalogueService
    catalogues: CatalogueStore
    models: ModelStore
    objects: ObjectStore
    device: str
    progress: Progress

    def newest(self, name: str) -> tuple[int, int]:
        """Predict every galaxy of the newest catalogue with the champion; return how many were done, and failed.

        No cycle is touched, and shards that exist are kept: the next cycle finds them.
        """
        row = self.campaigns.get(name)
        champion, catalogue = self.models.champion(row.id), self.catalogues.newest(row.id)
        if champion is None or catalogue is None:
            missing = "champion" if catalogue is not None else "catalogue"
            raise NotFound(f"campaign {name} has no {missing} yet", campaign=name)
        self.catalogue.pack(catalogue, row.settings.images)
        shards = self.predict(row.settings, catalogue.id, champion)
        return sum(s.n_galaxies for s in shards), sum(s.n_failed for s in shards)

    def predict(
        self, campaign: Campaign, catalogue_id: int, model: Model, scope: Scope = Scope.CATALOGUE
    ) -> tuple[Shard, ...]:
        """Return all posterior shards of a model, in catalogue order; those that exist are not computed again."""
        packs = self.catalogues.image_shards(catalogue_id, pack_name(campaign.images))
        finished = {s.index: s for s in self.models.posterior_shards(model.id, catalogue_id, scope)}
        todo = [pack for pack in packs if pack.index not in finished]
        if todo:
            self.progress.start(f"predict {scope}", len(packs))
            self.progress.advance(len(finished))
            tree = load_tree(campaign.tree)
            network, _ = load_model(self.objects, model, tree)
            network.to(self.device)
            for pack in todo:
                shard = self._predict(campaign, catalogue_id, model, scope, tree, network, pack)
                self.models.save_posterior_shard(model.id, catalogue_id, scope, shard)
                finished[pack.index] = shard
                self.progress.advance()
            self.progress.finish()
        return tuple(finished[pack.index] for pack in packs)

    def posteriors(self, shards: Sequence[Shard]) -> Iterator[Posterior]:
        """Yield stored posteriors one shard at a time; shards without galaxies are passed over."""
        for shard in shards:
            if shard.n_galaxies:
                yield arrays.decode_posterior(self.objects.get(shard.key))

    def _predict(
        self,
        campaign: Campaign,
        catalogue_id: int,
        model: Model,
        scope: Scope,
        tree: Tree,
        network: Network,
        pack: Shard,
    ) -> Shard:
        galaxies = self.catalogues.galaxies(
            catalogue_id,
            first_row=pack.index * campaign.images.shard_galaxies,
            limit=campaign.images.shard_galaxies,
        )
        wanted = frozenset(g.galaxy_id for g in galaxies if scope is Scope.CATALOGUE or g.evaluation)
        _, ids, images = next(read_shards(self.objects, [pack], wanted))
        concentrations, embeddings = sample_posterior(
            network,
            images,
            draws=campaign.prediction.draws,
            seed=seed_of(campaign.seed, "draws"),
            device=self.device,
            precision=campaign.prediction.precision,
        )
        posterior = Posterior(
            galaxy_ids=ids,
            concentrations=concentrations,
            embeddings=embeddings,
            tree_hash=tree.hash,
            model=model.digest,
        )
        stored = self.objects.put(arrays.encode_posterior(posterior), kind="posteriors", suffix=".parquet")
        return Shard(index=pack.index, key=stored.key, n_galaxies=len(ids), n_failed=len(wanted) - len(ids))
