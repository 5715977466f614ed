"""Tallies -> frozen training set -> candidate model, registered with its lineage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from alservice.campaigns.cycle import Cycle
from alservice.campaigns.store import CampaignRow
from alservice.catalogue.service import CatalogueService
from alservice.catalogue.store import CatalogueStore
from alservice.errors import BadVotes
from alservice.ids import seed_of
from alservice.learning.frozen import FrozenTallies
from alservice.network.architectures import NetworkConfig
from alservice.network.config import FitConfig, decay_of, precision_name
from alservice.network.files import ModelCard, to_bytes
from alservice.network.training import fit, origin_of, run_digest
from alservice.progress import Clock, Progress
from alservice.registry.records import Model, TrainingSnapshot
from alservice.registry.service import load_model
from alservice.registry.store import ModelStore, SnapshotStore
from alservice.science.tree import Tree, load_tree
from alservice.science.votes import TallySet
from alservice.storage import ObjectStore


@dataclass(frozen=True, kw_only=True)
class KeepCheckpoints:
    """The checkpoints of one run, under a name of its own in the object store.

    The name is the pointer: objects are complete or absent, a newer one is published before the older is deleted, and
    the one with most steps is the newest. A run that dies between the two leaves both, and the next one clears up.

    Parameters
    ----------
    run
        Names the run: lower-case letters, digits and single hyphens.
    """

    objects: ObjectStore
    run: str

    def newest(self) -> bytes | None:
        """Return the checkpoint with most steps behind it, if there is any.

        Raises
        ------
        DigestMismatch
            One is damaged; `forget` starts the run anew.
        """
        found = [self.objects.get(key) for key in self._keys()]
        return max(found, key=lambda checkpoint: origin_of(checkpoint)[0], default=None)

    def keep(self, checkpoint: bytes) -> None:
        """Store a checkpoint, then delete those before it."""
        stored = self.objects.put(checkpoint, kind=self._kind, suffix=".safetensors")
        for key in self._keys():
            if key != stored.key:
                self.objects.delete(key)

    def forget(self) -> None:
        """Delete all: the run is over."""
        for key in self._keys():
            self.objects.delete(key)

    @property
    def _kind(self) -> str:
        return f"checkpoints-{self.run}"

    def _keys(self) -> list[str]:
        return list(self.objects.keys(f"{self._kind}/"))


def due_every(interval: timedelta, clock: Clock) -> Callable[[int], bool]:
    """Return what tells `fit` that a checkpoint is due: this long after the last time that it said so."""
    last = clock()

    def is_due(_step: int) -> bool:
        nonlocal last
        now = clock()
        if now - last < interval:
            return False
        last = now
        return True

    return is_due


@dataclass(frozen=True, kw_only=True)
class TrainCandidate:
    """Train on every voted galaxy outside the evaluation stream."""

    catalogue: CatalogueService
    catalogues: CatalogueStore
    models: ModelStore
    snapshots: SnapshotStore
    frozen: FrozenTallies
    objects: ObjectStore
    device: str
    code_revision: str
    progress: Progress
    clock: Clock
    checkpoint_every: timedelta = timedelta(minutes=1)

    def run(self, campaign: CampaignRow, cycle: Cycle) -> Model:
        """Return the cycle's candidate, trained now unless it is registered already.

        Same snapshot, seed, code and thread count give the same bytes, also when training was killed on the way: it
        goes on from its newest checkpoint.

        Raises
        ------
        BadVotes
            No galaxy outside the evaluation stream has a vote.
        """
        if cycle.candidate_id is not None:
            return self.models.get(cycle.candidate_id)
        tree = load_tree(campaign.settings.tree)
        snapshot = self.snapshots.of_cycle(cycle.id)
        tallies = self._training_set(cycle, tree)
        if snapshot is None or not tallies.galaxy_ids:
            raise BadVotes(f"cycle {cycle.number} has no voted galaxy to train on", cycle=cycle.number)
        checkpoints = KeepCheckpoints(objects=self.objects, run=f"{campaign.settings.name}-{cycle.number}")
        card, data = self._fit(campaign, cycle, tree, tallies, snapshot, checkpoints)
        stored = self.objects.put(data, kind="models", suffix=".safetensors")
        model = self.models.save(
            cycle, key=stored.key, digest=stored.digest, snapshot_id=snapshot.id, card=card.document()
        )
        checkpoints.forget()
        return model

    def _training_set(self, cycle: Cycle, tree: Tree) -> TallySet:
        tallies = self.frozen.read(cycle, tree)
        galaxies = self.catalogues.by_id(cycle.catalogue_id, tallies.galaxy_ids)
        return tallies.only([not galaxy.evaluation for galaxy in galaxies])

    def _fit(
        self,
        campaign: CampaignRow,
        cycle: Cycle,
        tree: Tree,
        tallies: TallySet,
        snapshot: TrainingSnapshot,
        checkpoints: KeepCheckpoints,
    ) -> tuple[ModelCard, bytes]:
        decisions = campaign.settings
        images = self.catalogue.images_of(decisions, cycle.catalogue_id, tallies.galaxy_ids)
        config = FitConfig(
            network=NetworkConfig.of(
                decisions.training.network,
                channels=decisions.images.channels,
                image_px=decisions.images.size_px,
                field=decisions.images.field,
            ),
            steps=decisions.training.steps,
            weight_decay=decay_of(decisions.training.steps),
            batch=decisions.training.batch_galaxies,
            threads=decisions.training.threads,
            precision=precision_name("auto", self.device),
            seed=seed_of(decisions.seed, "training", cycle.number),
        )
        parent = self._parent(campaign, cycle)
        self.progress.start(f"train on {len(images)} galaxies", config.steps)
        initial = None if parent is None else self._weights(parent, tree)
        checkpoint = self._resumable(checkpoints, run_digest(images, tallies.counts, tree, config, initial))
        result = fit(
            images,
            tallies.counts,
            tree,
            config,
            device=self.device,
            progress=self._say,
            initial=initial,
            checkpoint=checkpoint,
            on_checkpoint=checkpoints.keep,
            is_due=due_every(self.checkpoint_every, self.clock),
        )
        self.progress.finish()
        card = ModelCard.of(
            tallies,
            config,
            tree,
            network=config.network,
            code_revision=self.code_revision,
            history=result.history,
            reducer=snapshot.reducer,
            n_inconsistent=snapshot.n_inconsistent,
            parent=None if parent is None else parent.digest,
        )
        return card, to_bytes(result.state, card)

    def _parent(self, campaign: CampaignRow, cycle: Cycle) -> Model | None:
        """Return the champion to start from, when the campaign's policy is a warm start."""
        if not campaign.settings.training.warm_start or cycle.champion_id is None:
            return None
        return self.models.get(cycle.champion_id)

    def _weights(self, parent: Model, tree: Tree) -> Mapping[str, Any]:
        network, _ = load_model(self.objects, parent, tree)
        return network.state_dict()

    def _resumable(self, checkpoints: KeepCheckpoints, run: str) -> bytes | None:
        """Return the newest checkpoint of this very run; one of other votes, seed or settings is of no use and goes."""
        checkpoint = checkpoints.newest()
        if checkpoint is None:
            return None
        step, digest = origin_of(checkpoint)
        if digest != run:
            checkpoints.forget()
            return None
        self.progress.advance(step)
        return checkpoint

    def _say(self, loss: float) -> None:
        self.progress.advance()
        self.progress.note(f"NLL {loss:.2f} nats per galaxy")
