"""Where a prediction comes from: catalogue row, model, its parents, the votes it learned from, who let it live."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from alservice.campaigns.cycle import Cycle
from alservice.campaigns.cycle_store import CycleStore
from alservice.campaigns.store import CampaignRow
from alservice.catalogue.store import CatalogueStore
from alservice.documents import document_of
from alservice.errors import DigestMismatch, NotFound
from alservice.ids import check_galaxy_id
from alservice.learning.frozen import FrozenTallies
from alservice.network.files import ModelCard
from alservice.prediction.scope import Scope
from alservice.registry.records import GateDecision, Model, Promotion
from alservice.registry.service import load_model
from alservice.registry.store import ModelStore, SnapshotStore
from alservice.science.tree import Tree, load_tree
from alservice.science.votes import TallySet
from alservice.states import ModelState
from alservice.storage import ObjectStore

if TYPE_CHECKING:
    from alservice.prediction.service import PredictionService

Role: TypeAlias = Literal["trained on", "evaluation member", "not voted on"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelLineage:
    """One model with all that made it.

    Parameters
    ----------
    digest
        Of weights and card.
    snapshot_digest, snapshot_votes
        Of the tallies frozen when the cycle's collecting ended, evaluation members included.
    data_digest
        Of the part of them that it was trained on; recomputed from the snapshot, not only read from the card.
    seed, code_revision, network, tree_hash
        The rest of what training depends on.
    parent_digest
        Of the model that training started from; None for a cold start.
    decision, promotions
        What the gate said of it, and each time it became the champion.
    """

    model_id: int
    digest: str
    state: ModelState
    cycle: int
    snapshot_key: str
    snapshot_digest: str
    snapshot_votes: int
    data_digest: str
    n_galaxies: int
    n_votes: int
    seed: int
    code_revision: str
    network: str
    tree_hash: str
    parent_digest: str | None
    decision: GateDecision | None
    promotions: tuple[Promotion, ...]

    def lines(self) -> Iterator[str]:
        """Yield the record for a terminal."""
        yield f"model {self.model_id} ({self.state}) of cycle {self.cycle}, sha256 {self.digest}"
        yield f"  network    {self.network}, tree {self.tree_hash[:12]}"
        yield f"  votes      snapshot {self.snapshot_digest}, {self.snapshot_votes:,} votes ({self.snapshot_key})"
        yield f"  trained on {self.data_digest}, {self.n_votes:,} votes on {self.n_galaxies:,} galaxies"
        yield f"  seed, code {self.seed}, {self.code_revision}"
        yield f"  parent     {self.parent_digest or 'none: cold start'}"
        yield f"  gate       {self.decision.verdict if self.decision else 'not judged'}"
        for promotion in self.promotions:
            yield f"  champion   {_day(promotion.at)} by {promotion.actor}, {promotion.kind}: {promotion.reason}"


@dataclass(frozen=True, kw_only=True, slots=True)
class GalaxyLineage:
    """One row of a catalogue of predictions.

    Parameters
    ----------
    catalogue_digest, image_key
        The galaxy's catalogue, and its original image by content.
    posterior_key
        The shard of the prediction, by content; None when the model has not predicted the galaxy yet.
    role
        What the galaxy's votes were to the model.
    votes
        On the galaxy in the model's snapshot.
    """

    galaxy_id: str
    catalogue_id: int
    catalogue_source: str
    catalogue_digest: str
    image_key: str
    posterior_key: str | None
    role: Role
    votes: int

    def lines(self) -> Iterator[str]:
        """Yield the record for a terminal."""
        source = f"catalogue {self.catalogue_id} ({self.catalogue_source}), sha256 {self.catalogue_digest}"
        yield f"galaxy {self.galaxy_id} of {source}"
        yield f"  image      {self.image_key}"
        yield f"  prediction {self.posterior_key or 'none by this model yet'}"
        yield f"  its votes  {self.votes} in the model's snapshot: {self.role}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Lineage:
    """A model and its parents, the nearest first; and the galaxy that was asked about."""

    galaxy: GalaxyLineage | None
    models: tuple[ModelLineage, ...]

    def text(self) -> str:
        """Return the record for a terminal."""
        lines = [] if self.galaxy is None else list(self.galaxy.lines())
        return "\n".join([*lines, *(line for model in self.models for line in model.lines())])


def model_documents(models: Sequence[Model], promotions: Sequence[Promotion]) -> Iterator[dict[str, Any]]:
    """Yield a JSON document per model: its state, its card without the training curve, its times as champion."""
    for model in models:
        card = {name: value for name, value in model.card.items() if name != "history"}
        yield {
            "model": model.id,
            "state": model.state,
            "cycle": model.cycle_number,
            "digest": model.digest,
            "created_at": model.created_at.isoformat(),
            "card": card,
            "promotions": [document_of(p) for p in promotions if p.model_id == model.id],
        }


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True, kw_only=True)
class TraceLineage:
    """Follow the records back, and recompute every digest on the way."""

    catalogues: CatalogueStore
    cycles: CycleStore
    models: ModelStore
    snapshots: SnapshotStore
    frozen: FrozenTallies
    objects: ObjectStore
    prediction: PredictionService

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
            raise NotFound(f"campaign {campaign.settings.name} has no {name}", model=wanted)
        by_digest = {model.digest: model for model in models.values()}
        chain = [models[wanted]]
        while (parent := ModelCard.from_document(chain[-1].card).parent) is not None:
            chain.append(by_digest[parent])
        tree = load_tree(campaign.settings.tree)
        return Lineage(
            galaxy=None if galaxy_id is None else self._galaxy(chain[0], galaxy_id, tree),
            models=tuple(self._model(campaign, model, tree) for model in chain),
        )

    def _model(self, campaign: CampaignRow, model: Model, tree: Tree) -> ModelLineage:
        cycle = self.cycles.get(model.cycle_id)
        snapshot = self.snapshots.of_cycle(cycle.id)
        if snapshot is None:
            raise NotFound(f"the tally snapshot of model {model.id} is gone", model=model.id)
        tallies = self.frozen.read(cycle, tree)
        _check(tallies.digest, snapshot.digest, what=f"the tally snapshot of cycle {cycle.number}")
        _, card = load_model(self.objects, model, tree)
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
        tallies = self.frozen.read(cycle, tree)
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
                if shard.n_galaxies and galaxy_id in self.prediction.stored.read(shard).galaxy_ids:
                    return shard.key
        return None

    def _trained_on(self, cycle: Cycle, tallies: TallySet) -> TallySet:
        galaxies = self.catalogues.by_id(cycle.catalogue_id, tallies.galaxy_ids)
        return tallies.only([not galaxy.evaluation for galaxy in galaxies])


def _check(found: str, recorded: str, *, what: str) -> None:
    if found != recorded:
        raise DigestMismatch(f"{what} is not what was recorded", found=found, recorded=recorded)
