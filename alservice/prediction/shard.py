"""Image shard x model x policy -> prediction shard: one function, which any executor may run, twice as well."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from alservice.campaigns.campaign import Campaign
from alservice.catalogue.galaxies import Shard
from alservice.errors import BadInput, DigestMismatch
from alservice.ids import seed_of
from alservice.network.architectures import Network
from alservice.network.config import precision_name, resolve_precision
from alservice.network.draws import HeadSampler
from alservice.network.sampling import Embedder, trunk_digest
from alservice.prediction.scope import question_weights
from alservice.registry.records import Model
from alservice.registry.service import load_model
from alservice.science.information import joint_information
from alservice.science.prediction import Prediction, Recipe
from alservice.science.tree import load_tree
from alservice.shapes import FloatArray, UInt8Array
from alservice.storage import ObjectStore, arrays

VIEWS: Final = 8
"""Flips and quarter turns that an embedding is averaged over: it does not change with them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardTask:
    """One image shard to predict.

    Parameters
    ----------
    pack
        The images.
    wanted
        Galaxies to predict; others in the pack are passed over, and those that the pack lacks count as failed.
    source
        Key of an earlier prediction by a model with the same trunk, whose embeddings serve in place of the images;
        None to look at the images, which is done too where it lacks a wanted galaxy.
    """

    pack: Shard
    wanted: frozenset[str]
    source: str | None = None


class Batch(NamedTuple):
    """Some galaxies of a shard: their images (N, C, H, W), or their embeddings (N, E) float16 where these are known."""

    galaxy_ids: tuple[str, ...]
    images: UInt8Array | None
    embeddings: FloatArray | None


class ShardPredictor:
    """A model on one device, with all that a campaign asks of it: an image shard in, a stored prediction out.

    `read`, `embed` and `finish` are the three parts of a call: the first waits for storage, the second for the device,
    the third computes on a CPU and waits for storage. Each may run in a thread of its own; `embed` in one at a time.

    Parameters
    ----------
    objects
        Where packs are and predictions go.
    model
        The registered model that `network` is.
    network
        On `device`.
    """

    def __init__(self, objects: ObjectStore, model: Model, network: Network, campaign: Campaign, device: str) -> None:
        self._objects = objects
        self._tree = network.tree
        precision = precision_name(campaign.prediction.precision, device)
        self._worth = question_weights(campaign.acquisition, network.tree)
        self.recipe = Recipe(
            tree_hash=network.tree.hash,
            model=model.digest,
            model_key=model.key,
            trunk=trunk_digest(network, views=VIEWS, precision=precision),
            draws=campaign.prediction.draws,
            seed=seed_of(campaign.seed, "draws"),
            votes=float(campaign.acquisition.votes_per_galaxy),
            worth=tuple(self._worth.tolist()),
        )
        self._embedder = Embedder(network.eval(), views=VIEWS, dtype=resolve_precision(precision, device))
        self._sampler = HeadSampler(network, draws=self.recipe.draws, seed=self.recipe.seed)

    @classmethod
    def load(cls, objects: ObjectStore, model: Model, campaign: Campaign, device: str) -> ShardPredictor:
        """Return a predictor with the weights of a registered model, loaded to a device.

        Raises
        ------
        NotFound, DigestMismatch, BadInput
            The weights are gone, damaged, or of another tree.
        """
        network, _ = load_model(objects, model, load_tree(campaign.tree))
        return cls(objects, model, network.to(device), campaign, device)

    def __call__(self, task: ShardTask) -> Shard:
        """Predict one shard and store it; return what is to be recorded. The same task gives the same bytes."""
        batch = self.read(task)
        return self.finish(task, batch, self.embed(batch))

    def read(self, task: ShardTask) -> Batch:
        """Return the wanted galaxies of a shard, their digest checked.

        Raises
        ------
        NotFound, DigestMismatch, ObjectStoreUnavailable
            The object cannot be read as it was written.
        BadInput
            It holds something else.
        """
        if task.source is not None:
            known = self._read_embeddings(task.source, task.wanted)
            if len(known.galaxy_ids) == len(task.wanted):
                return known
        ids, images = arrays.unpack_images(self._objects.get(task.pack.key))
        rows = _rows(ids, task.wanted)
        return Batch(tuple(ids[row] for row in rows), images if len(rows) == len(ids) else images[rows], None)

    def embed(self, batch: Batch) -> FloatArray:
        """Return embeddings (N, E) float16: known ones as they are, others by the trunk on the device."""
        if batch.embeddings is not None:
            return batch.embeddings
        assert batch.images is not None  # noqa: S101 - a batch has one of the two
        return self._embedder.embed(batch.images)

    def predict(self, galaxy_ids: tuple[str, ...], embeddings: FloatArray) -> Prediction:
        """Return summaries and scores of embeddings (N, E) float16: nothing here looks at an image."""
        concentrations, moments = self._sampler.both(embeddings)
        scores = joint_information(self._tree, concentrations, self.recipe.votes, question_weights=self._worth)
        return Prediction(
            galaxy_ids=galaxy_ids,
            mean=moments.mean.astype(np.float16),
            sd=moments.sd.astype(np.float16),
            scores=scores.astype(np.float32),
            embeddings=embeddings,
            recipe=self.recipe,
        )

    def finish(self, task: ShardTask, batch: Batch, embeddings: FloatArray) -> Shard:
        """Predict, and store the prediction under its digest; return what is to be recorded of it."""
        prediction = self.predict(batch.galaxy_ids, embeddings)
        stored = self._objects.put(arrays.encode_prediction(prediction), kind="predictions", suffix=".parquet")
        n = len(batch.galaxy_ids)
        return Shard(index=task.pack.index, key=stored.key, n_galaxies=n, n_failed=len(task.wanted) - n)

    def _read_embeddings(self, key: str, wanted: Collection[str]) -> Batch:
        found = arrays.decode_prediction(self._objects.get(key))
        if not isinstance(found, Prediction):
            raise BadInput(f"{key} holds draws of an older release, and not by which trunk: images are needed", key=key)
        if found.recipe.trunk != self.recipe.trunk:
            raise DigestMismatch(
                f"the embeddings of {key} are of another trunk", found=found.recipe.trunk, wanted=self.recipe.trunk
            )
        rows = _rows(found.galaxy_ids, wanted)
        return Batch(tuple(found.galaxy_ids[row] for row in rows), None, found.embeddings[rows])


def _rows(ids: tuple[str, ...], wanted: Collection[str]) -> list[int]:
    return [row for row, galaxy_id in enumerate(ids) if galaxy_id in wanted]
