"""Image shards x model -> prediction shards: flat memory, finished shards skipped, any executor may run any twice."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from alservice.campaigns.campaign import Campaign
from alservice.campaigns.store import CampaignStore
from alservice.catalogue.galaxies import Shard
from alservice.catalogue.service import CatalogueService, pack_name
from alservice.catalogue.store import CatalogueStore
from alservice.errors import NotFound
from alservice.prediction.elsewhere import Elsewhere
from alservice.prediction.overlap import predict_overlapped
from alservice.prediction.scope import Scope
from alservice.prediction.shard import ShardPredictor, ShardTask
from alservice.prediction.stored import Predictions
from alservice.progress import Progress
from alservice.registry.records import Model
from alservice.registry.store import ModelStore
from alservice.science.posterior import Posterior
from alservice.science.prediction import Prediction
from alservice.storage import ObjectStore

_LOOKED_AT: Final = 5
"""Newest models of a campaign that are asked for embeddings: of older ones a trunk hardly comes back."""


@dataclass(frozen=True, kw_only=True)
class PredictionService:
    """Predictions of a catalogue's galaxies, a model's shard by shard.

    Parameters
    ----------
    devices
        Where trunks run, side by side; a device named twice has two workers.
    elsewhere
        Who predicts in place of this process; what comes back is recorded here all the same.
    """

    campaigns: CampaignStore
    catalogue: CatalogueService
    catalogues: CatalogueStore
    models: ModelStore
    objects: ObjectStore
    devices: tuple[str, ...]
    progress: Progress
    elsewhere: Elsewhere | None = None

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
        """Return all prediction shards of a model, in catalogue order; those that exist are not computed again.

        So are those of image shards that another version of the catalogue has as well.
        """
        pack = pack_name(campaign.images)
        self.models.share_posterior_shards(model.id, catalogue_id, scope, pack)
        packs = self.catalogues.image_shards(catalogue_id, pack)
        finished = {s.index: s for s in self.models.posterior_shards(model.id, catalogue_id, scope)}
        todo = [pack for pack in packs if pack.index not in finished]
        if todo:
            self.progress.start(f"predict {scope}", len(packs))
            self.progress.advance(len(finished))
            for shard in self._predicted(campaign, catalogue_id, model, scope):
                self.models.save_posterior_shard(model.id, catalogue_id, scope, shard)
                finished[shard.index] = shard
                self.progress.advance()
            self.progress.finish()
        return tuple(finished[pack.index] for pack in packs)

    def _predicted(self, campaign: Campaign, catalogue_id: int, model: Model, scope: Scope) -> Iterator[Shard]:
        """Yield what is to be recorded, as it comes: from this process, or from workers elsewhere."""
        if self.elsewhere is None:
            predictors = [ShardPredictor.load(self.objects, model, campaign, device) for device in self.devices]
            tasks = self.tasks(campaign, catalogue_id, model, scope, trunk=predictors[0].recipe.trunk)
            return predict_overlapped(tasks, predictors)
        # Where there is no other model, there is no trunk that it may share with this one.
        is_first = len(self.models.list(model.campaign_id)) < 2
        trunk = None if is_first else self.elsewhere.trunk(model, campaign)
        tasks = self.tasks(campaign, catalogue_id, model, scope, trunk=trunk)
        return self.elsewhere.predict(tasks, model, campaign)

    def tasks(
        self,
        campaign: Campaign,
        catalogue_id: int,
        model: Model,
        scope: Scope = Scope.CATALOGUE,
        *,
        trunk: str | None = None,
    ) -> Iterator[ShardTask]:
        """Yield what is left to predict, in catalogue order.

        Parameters
        ----------
        trunk
            Digest of the model's trunk (`Recipe.trunk`): where an earlier model of the campaign had it too, its
            embeddings of a shard serve in place of the images. None to look at all images.
        """
        finished = {s.index for s in self.models.posterior_shards(model.id, catalogue_id, scope)}
        embedded = {} if trunk is None else self._embedded(catalogue_id, model, trunk)
        for pack in self.catalogues.image_shards(catalogue_id, pack_name(campaign.images)):
            if pack.index not in finished:
                wanted = self._wanted(campaign, catalogue_id, scope, pack)
                yield ShardTask(pack=pack, wanted=wanted, source=embedded.get(pack.index))

    @cached_property
    def stored(self) -> Predictions:
        """What was predicted, to be read."""
        return Predictions(objects=self.objects)

    def predictions(self, campaign: Campaign, shards: Sequence[Shard]) -> Iterator[Prediction]:
        """Yield the stored summaries one shard at a time, as `Predictions.predictions`."""
        return self.stored.predictions(campaign, shards)

    def draws(
        self, campaign: Campaign, shards: Sequence[Shard], galaxy_ids: Collection[str] | None = None
    ) -> Iterator[Posterior]:
        """Yield posterior draws one shard at a time, read or made again, as `Predictions.draws`."""
        return self.stored.draws(campaign, shards, galaxy_ids)

    def _wanted(self, campaign: Campaign, catalogue_id: int, scope: Scope, pack: Shard) -> frozenset[str]:
        size = campaign.images.shard_galaxies
        galaxies = self.catalogues.galaxies(catalogue_id, first_row=pack.index * size, limit=size)
        return frozenset(g.galaxy_id for g in galaxies if scope is Scope.CATALOGUE or g.evaluation)

    def _embedded(self, catalogue_id: int, model: Model, trunk: str) -> dict[int, str]:
        """Return shard to the key of a whole prediction of it by another model with the same trunk, newest first."""
        for other in self.models.list(model.campaign_id)[: -_LOOKED_AT - 1 : -1]:
            shards = (
                self.models.posterior_shards(other.id, catalogue_id, Scope.CATALOGUE) if other.id != model.id else ()
            )
            first = next((shard for shard in shards if shard.n_galaxies), None)
            found = None if first is None else self.stored.read(first)
            if isinstance(found, Prediction) and found.recipe.trunk == trunk:
                return {shard.index: shard.key for shard in shards if not shard.n_failed}
        return {}
