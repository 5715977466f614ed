"""Shards predicted by workers of an engine: each opens the object store itself and loads the model once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Final

from alservice.campaigns.campaign import Campaign
from alservice.catalogue.galaxies import Shard
from alservice.engines import Engine
from alservice.network.config import resolve_device
from alservice.prediction.shard import ShardPredictor, ShardTask
from alservice.registry.records import Model
from alservice.storage.objects import open_objects

_AT_ONCE: Final = 3
"""Shards in hand of a worker: one is read, one computed, one scored and stored."""


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """An engine that predicts, and what its workers need to know: no secret, and no database.

    Parameters
    ----------
    objects
        Address of the object store, as `open_objects` takes it; credentials are those of each worker's machine.
    device
        As in the settings, and looked for where the worker is.
    """

    engine: Engine
    objects: str
    device: str

    def predict(self, tasks: Iterable[ShardTask], model: Model, campaign: Campaign) -> Iterator[Shard]:
        """Yield what is to be recorded of every task, in any order; each is stored when it is yielded.

        Raises
        ------
        RayUnavailable, RayWorkersLost
            As `Engine.map`.
        NotFound, DigestMismatch, BadInput, ObjectStoreUnavailable
            As a `ShardPredictor` does.
        """
        return self.engine.map(partial(_shards, self.objects, model, campaign, self.device), tasks, at_once=_AT_ONCE)

    def trunk(self, model: Model, campaign: Campaign) -> str:
        """Return the digest of a model's trunk as workers run it, on their device; raises what `predict` raises."""
        return next(self.engine.map(partial(_trunks, self.objects, campaign, self.device), [model]))


def _shards(objects: str, model: Model, campaign: Campaign, device: str) -> Callable[[ShardTask], Shard]:
    predictor = ShardPredictor.load(open_objects(objects), model, campaign, resolve_device(device))
    device_is_free = Lock()

    def predict(task: ShardTask) -> Shard:
        batch = predictor.read(task)
        with device_is_free:
            embeddings = predictor.embed(batch)
        return predictor.finish(task, batch, embeddings)

    return predict


def _trunks(objects: str, campaign: Campaign, device: str) -> Callable[[Model], str]:
    store, resolved = open_objects(objects), resolve_device(device)
    return lambda model: ShardPredictor.load(store, model, campaign, resolved).recipe.trunk
